"""FP32 throughout: half-precision constants and tensors are widened, and casts between the two are removed.

    float16 or bfloat16 weights, tensors ─ Cast ─ …        →        float32 weights, tensors ─ …

The toolkit quantizes from FP32. Every stored value stays the same, but the arithmetic is more precise, so results
differ by the rounding of FP16. (BF16, which onnxruntime does not support on a CPU, is widened before anything runs.)
"""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.graph.surgery.proof import HALF_TOLERANCE

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether anything is stored or computed in half precision."""
    return holds(graph.model, HALF)


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Widen constants, inputs and outputs; drop casts that no longer change anything."""
    widen(graph.model)
    graph.tidy()
    drop_idle_casts(graph)


def holds(model: onnx.ModelProto, kinds) -> bool:
    """Whether anything is stored or computed in one of these element types."""
    graph = model.graph
    return (
        any(tensor.type.tensor_type.elem_type in kinds for tensor in (*graph.input, *graph.output))
        or any(tensor.data_type in kinds for tensor in graph.initializer)
        or any(_holds(node, kinds) for node in graph.node)
    )


def widen(model: onnx.ModelProto) -> None:
    """Half-precision constants, inputs and outputs of the model itself in float32."""
    graph = model.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in HALF:
                attribute.i = TensorProto.FLOAT
    for tensor in (*graph.input, *graph.output):
        if tensor.type.tensor_type.elem_type in HALF:
            tensor.type.tensor_type.elem_type = TensorProto.FLOAT


def drop_idle_casts(graph: Graph) -> None:
    """Bypass every Cast to the type that its input already has."""
    for node in [node for node in graph.model.graph.node if node.op_type == "Cast"]:
        if graph.dtype(node.input[0]) == graph.dtype(node.output[0]) and node.output[0] not in graph.outputs:
            graph.bypass(node)


def _holds(node: onnx.NodeProto, kinds) -> bool:
    if node.op_type == "Cast":
        return any(attribute.name == "to" and attribute.i in kinds for attribute in node.attribute)
    return any(
        attribute.t.data_type in kinds for attribute in node.attribute if attribute.type == AttributeProto.TENSOR
    )


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type not in HALF:
        return
    values = numpy_helper.to_array(tensor)
    if tensor.data_type == TensorProto.BFLOAT16:
        # onnx gives its bits as integers: the upper half of a float32's.
        bits = np.atleast_1d(values.astype(np.uint32)) << 16
        wide = bits.view(np.float32).reshape(values.shape)
    else:
        wide = values.astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


PASS = Pass("float32_weights", needed, rewrite, tolerance=HALF_TOLERANCE)
