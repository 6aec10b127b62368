"""Graphs of YOLOX: a box map, an objectness and scores per stride, decoded with an exponential or not at all."""

from dataclasses import replace

import numpy as np

from lib.data.input_form import InputForm
from lib.detector.families.yolox import Yolox
from lib.detector.head import BOX, EXPORTED, SINGLE
from lib.detector.output_spec import OutputSpec
from lib.graph.families import GraphFamily, register
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.map_place import PlacedMaps, WithObjectness
from lib.graph.surgery.moved_maps import Part, moved_maps, ordered_levels, parts_of, places_of
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, group_channels
from lib.graph.surgery.passes.cut_maps import cut_maps
from lib.graph.surgery.prepare.quantized_operators import Steps
from lib.step.errors import UserError

# https://github.com/Megvii-BaseDetection/YOLOX, yolox/data/data_augment.py. Since release 0.1.1 pixels are used as
# OpenCV reads them; before, they were normalized as in ValTransform(legacy=True).
INPUT = InputForm(channels="bgr", scale=1, letterbox="top_left")
LEGACY = InputForm("rgb", 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "top_left")
# The mean absolute value of the first convolution's weights tells them apart: pixels of 0 to 255 are about 57 times
# larger than normalized ones (255 times the std), and the weights smaller by as much. Measured: 0.0050 and 0.0053 in
# newer YOLOX-nano, 0.303 in a legacy one. The limit is the geometric mean.
LEGACY_WEIGHTS = 0.04


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph that has, per stride, separate maps: a box map of four channels, one of one, and scores."""
    levels = ordered_levels(graph, _in_order)
    if not levels:
        return None
    parts = parts_of(levels)
    spec = OutputSpec(graph.imgsz, EXPORTED, Yolox(tuple(levels)), parts[-1].count)
    moved = moved_maps(graph)
    if all(name in moved for name in graph.outputs):
        places = places_of(graph, moved, parts, probabilities=(False, True, True))
        return _with_input(graph, OutputForm(spec, read=PlacedMaps(places))) if places else None
    # YOLO26's oriented boxes have such maps too, with an angle in place of the objectness, but no exponential.
    if all(node.op_type != "Exp" for node in graph.model.graph.node):
        return None
    rows = BOX + 1 + spec.classes
    shapes = [graph.shape(name) for name in graph.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or rows not in shapes[0][1:]:
        raise UserError(
            f"the model has YOLOX's maps but decodes them to {shapes}; one output [1, N, {rows}] is expected"
        )
    return _with_input(graph, OutputForm(spec, read=WithObjectness(2 if shapes[0][2] == rows else 1)))


def _with_input(graph: Graph, form: OutputForm) -> OutputForm:
    """The form with the input of YOLOX's release that the first convolution's weights show; the newer if unknown."""
    weights = _first_weights(graph)
    if weights is None:
        return replace(form, input=INPUT, input_of="since release 0.1.1")
    size = float(np.abs(weights).mean())
    release, given = ("before", LEGACY) if size > LEGACY_WEIGHTS else ("since", INPUT)
    return replace(form, input=given, input_of=f"{release} release 0.1.1, by the size of its first weights, {size:.2g}")


def _first_weights(graph: Graph) -> np.ndarray | None:
    """The first convolution's weights with a batch normalization behind it; None if they are not constants."""
    node = next((node for node in graph.model.graph.node if node.op_type == "Conv"), None)
    if node is None:
        return None
    weights, maker = graph.constant(node.input[1]), graph.producer(node.input[1])
    if maker is not None and maker.op_type == "DequantizeLinear":
        numbers, scale = (graph.constant(name) for name in maker.input[:2])
        zero = graph.constant(maker.input[2]) if len(maker.input) > 2 else np.zeros((), np.uint8)
        if numbers is not None and scale is not None and zero is not None:
            weights = Steps(scale, zero, attribute(maker, "axis", 1)).values(numbers)
    behind = graph.consumers(node.output[0])
    if weights is not None and [reader.op_type for reader in behind] == ["BatchNormalization"]:
        factor, _, _, variance = (graph.constant(name) for name in behind[0].input[1:])
        if factor is not None and variance is not None:
            factor = factor / np.sqrt(variance + attribute(behind[0], "epsilon", 1e-5))
            weights = weights * factor.reshape(-1, 1, 1, 1)
    return weights


def find_maps(graph: Graph) -> list[Part]:
    """Box, objectness and scores of each stride."""
    return parts_of(ordered_levels(graph, _in_order))


def _in_order(parts: list[Part]) -> list[Part]:
    """Box, objectness and scores; empty if `parts` are anything else."""
    boxes = [part for part in parts if part.count == BOX and not part.sigmoids]
    others = [part for part in parts if part not in boxes[:1]]
    single = [part for part in others if part.count == 1]
    if len(parts) != 3 or not boxes or not single or any(part.sigmoids > 1 or part.softmaxes for part in parts):
        return []
    return [boxes[0], single[0], *(part for part in others if part is not single[0])]


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Passes that cut at the maps and group channels for INT8. Raises UserError for the head `single`."""
    if head == SINGLE:
        raise UserError("the head 'single' does not support YOLOX: its boxes need an exponential; use 'split'")
    return (cut_maps(find_maps), group_channels.PASS)


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """The head, strides and classes."""
    decoded = "decoded" if isinstance(form.read, WithObjectness) else "not decoded"
    return {
        "head": f"{form.spec.family.title}, {decoded}, strides {', '.join(map(str, form.spec.family.strides))}",
        "classes": str(form.spec.classes),
    }


register(GraphFamily(Yolox, recognize, passes, described))
