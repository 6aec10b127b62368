"""FP32 throughout: half-precision constants and tensors are widened, casts between the two fall away.

    float16 weights, tensors ─ Cast ─ …        →        float32 weights, tensors ─ …

The toolkit quantizes from FP32. Every stored value stays the same; the arithmetic gains digits, so results differ by
the rounding of FP16.
"""

import numpy as np
from onnx import AttributeProto, TensorProto, numpy_helper

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.graph.surgery.proof import HALF_TOLERANCE


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether anything is stored or computed in half precision."""
    model = graph.model.graph
    typed = (*model.input, *model.output)
    return (
        any(tensor.type.tensor_type.elem_type == TensorProto.FLOAT16 for tensor in typed)
        or any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.initializer)
        or any(_casts_to_half(node) for node in model.node)
    )


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Widen constants, inputs and outputs; drop casts that became idle."""
    model = graph.model.graph
    for tensor in model.initializer:
        _widen(tensor)
    for node in model.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for tensor in (*model.input, *model.output):
        if tensor.type.tensor_type.elem_type == TensorProto.FLOAT16:
            tensor.type.tensor_type.elem_type = TensorProto.FLOAT
    graph.tidy()
    for node in [node for node in model.node if node.op_type == "Cast"]:
        if graph.dtype(node.input[0]) == graph.dtype(node.output[0]) and node.output[0] not in graph.outputs:
            graph.bypass(node)


def _casts_to_half(node) -> bool:
    return node.op_type == "Cast" and any(attribute.i == TensorProto.FLOAT16 for attribute in node.attribute)


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


PASS = Pass("float32_weights", needed, rewrite, tolerance=HALF_TOLERANCE)
