"""Recognizes other authors' heads with a DFL: GFL heads as exported from NanoDet, NanoDet-Plus and PicoDet.

Conv ─ scores ─ Sigmoid ─ Reshape, Transpose, Concat … ─ output      each flattened, joined or not, under any name
Conv ─ logits ─────────── Reshape, Transpose, Concat … ─ output      of 4*R bins; both may come from one Conv with a
Split

The graph decodes nothing, so it does not show where in its cell an anchor point is. In NanoDet-Plus, which has a fourth
stride and no hard swish, it is the upper left corner; in NanoDet (https://github.com/RangiLyu/nanodet,
nanodet_plus_head.py and gfl_head.py in nanodet/model/head) and in PicoDet (`cell_offset: 0.5` in the configurations of
https://github.com/PaddlePaddle/PaddleDetection) it is the middle.
"""

from functools import partial

from lib.data.input_form import InputForm
from lib.detector.families.dfl import MOST_BINS, Dfl
from lib.detector.families.sides import SIDES
from lib.detector.head import EXPORTED
from lib.detector.output_spec import OutputSpec
from lib.graph.class_names import distinct_names
from lib.graph.onnx_file import metadata
from lib.graph.surgery.came_split import before_bias
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import PlacedMaps
from lib.graph.surgery.moved_maps import Part, moved_maps, ordered_levels, parts_of, places_of
from lib.graph.surgery.output_form import OutputForm

# From the authors' configurations; NanoDet's values are for pixels as OpenCV reads them.
NANODET = InputForm("bgr", 1, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "stretch")
PICODET = InputForm("rgb", 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "stretch")
PICODET_OPERATORS = {"HardSwish", "HardSigmoid"}
USUAL_BINS = (8, 16, 17)  # used if neither sigmoids nor names distinguish box maps from scores


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph whose outputs are only rearranged maps of a GFL head; None for others."""
    levels = _levels(graph)
    moved = moved_maps(graph)
    if not levels or not all(name in moved for name in graph.outputs):
        return None
    parts = parts_of(levels)
    places = places_of(graph, moved, parts, probabilities=(False, True))
    if not places:
        return None
    operators = {node.op_type for node in graph.model.graph.node}
    picodet = bool(operators & PICODET_OPERATORS)
    corner = True if len(levels) == 4 and not picodet else None
    family = Dfl(tuple(levels), parts[0].count // len(SIDES), corner=corner)
    spec = OutputSpec(graph.imgsz, EXPORTED, family, parts[1].count)
    return OutputForm(spec, read=PlacedMaps(places), input=PICODET if picodet else NANODET)


def find_maps(graph: Graph) -> list[Part]:
    """Box map and scores of each stride."""
    return parts_of(_levels(graph))


def _levels(graph: Graph) -> dict[int, list[Part]]:
    """Box map and scores of each stride; empty if the graph has other maps."""
    classes = len(distinct_names(metadata(graph.model)))
    return ordered_levels(graph, partial(_in_order, graph, classes=classes))


def _in_order(graph: Graph, parts: list[Part], classes: int) -> list[Part]:
    """Box map and scores; empty if `parts` are something else, or ambiguous. classes: their number, 0 if not known."""
    if len(parts) != 2 or any(part.sigmoids > 1 or part.softmaxes for part in parts):
        return []
    pairs = [pair for pair in (parts, parts[::-1]) if _is_box(pair[0]) and _is_convolution(graph, pair[1])]
    for is_more_likely in (
        lambda pair: pair[1].sigmoids == 1,
        lambda pair: pair[1].count == classes,
        lambda pair: pair[0].count // len(SIDES) in USUAL_BINS,
    ):
        if len(pairs) > 1:
            pairs = [pair for pair in pairs if is_more_likely(pair)] or pairs
    return pairs[0] if len(pairs) == 1 else []


def _is_convolution(graph: Graph, part: Part) -> bool:
    """Whether a map is a convolution's; else a box map times its stride, beside 80 scores, passes for 4 scores."""
    node = before_bias(graph, part.source)
    return node is not None and node.op_type == "Conv"


def _is_box(part: Part) -> bool:
    bins, rest = divmod(part.count, len(SIDES))
    return not rest and 2 <= bins <= MOST_BINS and not part.sigmoids
