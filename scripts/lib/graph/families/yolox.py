"""Graphs of YOLOX: a box map, an objectness and scores per stride, decoded with an exponential or not at all."""

from lib.data.input_form import InputForm
from lib.detector.families.yolox import Yolox
from lib.detector.head import BOX, EXPORTED, SINGLE
from lib.detector.output_spec import OutputSpec
from lib.graph.families import GraphFamily, register
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import PlacedMaps, WithObjectness
from lib.graph.surgery.moved_maps import Part, moved_maps, ordered_levels, parts_of, places_of
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, group_channels
from lib.graph.surgery.passes.cut_maps import cut_maps
from lib.step.errors import UserError

# https://github.com/Megvii-BaseDetection/YOLOX, yolox/data/data_augment.py, preproc: pixels are used as OpenCV reads
# them.
INPUT = InputForm(channels="bgr", scale=1, letterbox="top_left")


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
        return OutputForm(spec, read=PlacedMaps(places), input=INPUT) if places else None
    # YOLO26's oriented boxes have such maps too, with an angle in place of the objectness, but no exponential.
    if all(node.op_type != "Exp" for node in graph.model.graph.node):
        return None
    rows = BOX + 1 + spec.classes
    shapes = [graph.shape(name) for name in graph.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or rows not in shapes[0][1:]:
        raise UserError(
            f"the model has YOLOX's maps but decodes them to {shapes}; one output [1, N, {rows}] is expected"
        )
    return OutputForm(spec, read=WithObjectness(2 if shapes[0][2] == rows else 1), input=INPUT)


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
