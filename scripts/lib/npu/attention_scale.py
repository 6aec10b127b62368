"""For rknn-toolkit2 2.5.0: moves an attention's scale after its first product, where that version expects it.

    q ─ Mul scale ─ Transpose ─┐                         q ─ Transpose ─┐
                               MatMul ─ Softmax    →                    MatMul ─ Mul scale ─ Softmax
                           k ──┘                                    k ──┘

Its rule fuse_exmatmul_add_mul_exsoftmax13_exmatmul_to_sdpa reads what is between the product and the softmax, and fails
with `IndexError: list index out of range` if nothing is: in YOLO11 and YOLO26, whose queries are scaled before. A
scalar factor may be on either side of a matrix product, so the graph computes the same.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lib.npu.toolkit_versions import SCALE_BEHIND
from lib.step.errors import ToolkitError
from lib.step.onnxruntime_session import session_on_one_thread

# Fraction of an output's largest value: float32's own rounding through a whole network.
TOLERANCE = 1e-4


def with_scale_behind(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A copy of `model` with each such scale after its product; None if there is no such scale.

    The copy is compared with the model on noise. Raises ToolkitError when they differ by more than rounding.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    moved = [node for node in list(graph.node) if _before_softmax(graph, node) and _move(graph, node)]
    if not moved:
        return None
    onnx.checker.check_model(changed)
    _demand_same(model, changed)
    return changed


def _before_softmax(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    readers = [other.op_type for other in graph.node if set(node.output) & set(other.input)]
    return node.op_type == "MatMul" and readers == ["Softmax"]


def _move(graph: onnx.GraphProto, product: onnx.NodeProto) -> bool:
    """Move the scale from before a MatMul to after it; return whether there was one."""
    for name in product.input:
        reader, node = product, _producer(graph, name)
        if node is not None and node.op_type == "Transpose":
            reader, node = node, _producer(graph, node.input[0])
        scale = _scale(graph, node)
        if scale is None:
            continue
        [scaled] = [name for name in node.input if name != scale]
        reader.input[list(reader.input).index(node.output[0])] = scaled
        output = product.output[0]
        product.output[0] = f"{output}/unscaled"
        behind = helper.make_node("Mul", [product.output[0], scale], [output], f"{product.name}/scaled")
        graph.node.insert(list(graph.node).index(product) + 1, behind)
        if not any(node.output[0] in other.input for other in graph.node):
            graph.node.remove(node)
        return True
    return False


def _producer(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    return next((node for node in graph.node if name in node.output), None)


def _scale(graph: onnx.GraphProto, node: onnx.NodeProto | None) -> str | None:
    """The name of the scalar that a Mul multiplies by; None for any other node."""
    if node is None or node.op_type != "Mul":
        return None
    sizes = {tensor.name: numpy_helper.to_array(tensor).size for tensor in graph.initializer}
    return next((name for name in node.input if sizes.get(name) == 1), None)


def _demand_same(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    sessions = [session_on_one_thread(model.SerializeToString()) for model in (before, after)]
    [given] = sessions[0].get_inputs()
    noise = np.random.default_rng(0).random(given.shape, np.float32)
    for one, other in zip(*(session.run(None, {given.name: noise}) for session in sessions)):
        difference = float(np.abs(one - other).max())
        if difference > TOLERANCE * max(1.0, float(np.abs(one).max())):
            raise ToolkitError(
                f"the graph that was changed for rknn-toolkit2 {SCALE_BEHIND} computes something else, by "
                f"{difference:.2g}; use another version (toolkit)"
            )
