"""The head `split` for an export from PyTorch with anchors: the last convolution of each stride becomes three.

                                                                  ┬ Conv ─ Sigmoid ─ box_S         [1, 4*A, H/S, W/S]
… ─ Conv [1, A*(5+C), H/S, W/S] ─ Reshape ─ … ─ output    →    … ─┼ Conv ─ Sigmoid ─ objectness_S  [1, A,   H/S, W/S]
                                                                  ┴ Conv ─ Sigmoid ─ scores_S      [1, C*A, H/S, W/S]

The filters are the same, but sorted: each quantity has its own map and, when quantized, its own range. Box maps whose
sizes are exponentials get no sigmoid.
"""

import numpy as np
import onnx

from lib.detector.families.anchors import AnchorLayer
from lib.detector.head import BOX, SPLIT
from lib.graph.surgery.anchor_maps import channel_constant, head_maps
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always
from lib.step.errors import UserError


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Make the maps of every layer the outputs. Raises UserError when a convolution has groups."""
    spec, outputs = form.spec, {}
    for layer, name in zip(spec.family.layers, head_maps(graph), strict=True):
        node, kernel, bias = _convolution(graph, name)
        _add_maps(graph, layer, spec.classes, node, kernel, bias)
        outputs |= {output.name: output.shape(spec.imgsz) for output in layer.maps(spec.classes)}
    graph.set_outputs(outputs)


def _convolution(graph: Graph, tensor: str) -> tuple[onnx.NodeProto, np.ndarray, np.ndarray]:
    """The convolution that makes a map, and its weights and bias with the channel constants after it folded in."""
    node = graph.producer(tensor)
    if node.op_type == "Conv":
        kernel = graph.constant(node.input[1])
        bias = graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(kernel), np.float32)
        if kernel is None or bias is None or attribute(node, "group", 1) != 1:
            raise UserError(f"the convolution '{node.name}' before the boxes has groups, or weights that are computed")
        return node, kernel, bias
    before = next(name for name in node.input if graph.constant(name) is None)
    convolution, kernel, bias = _convolution(graph, before)
    constant = channel_constant(graph, node, before)
    if node.op_type == "Mul":
        return convolution, kernel * constant[:, None, None, None], bias * constant
    return convolution, kernel, bias + constant


def _add_maps(graph: Graph, layer: AnchorLayer, classes: int, node: onnx.NodeProto, kernel, bias) -> None:
    # The order of the filters is [anchor, quantity]; that of the maps [quantity, anchor].
    order = np.arange(len(kernel)).reshape(len(layer.anchors), -1).T
    attributes = {entry.name: attribute(node, entry.name) for entry in node.attribute}
    for output, filters in zip(layer.maps(classes), (order[:BOX], order[BOX : BOX + 1], order[BOX + 1 :])):
        chosen = filters.ravel()
        is_probability = layer.new_coords or output.role != "box"
        name = f"{output.name}/logits" if is_probability else output.name
        graph.add("Conv", [node.input[0], kernel[chosen], bias[chosen]], name, **attributes)
        if is_probability:
            graph.add("Sigmoid", [name], output.name)


def changed(form: OutputForm) -> OutputForm:
    """The head is `split`."""
    return form.with_head(SPLIT)


PASS = Pass("anchors_maps", always, rewrite, changed)
