"""Recognizes RTMDet's head (MMDetection) that decodes nothing but the unit: its box maps are in pixels.

Conv ─ scores [1, C, H, W] ─ Sigmoid? ─ Reshape, Transpose, Concat … ─ output
Conv ─ sides [1, 4, H, W] ── Mul stride ── Reshape, Transpose, Concat … ─ output

Cut before the Mul, the box maps are distances in strides. The graph does not show where in its cell an anchor point
is: the Mul shows RTMDet, whose points are the upper left corners (`MlvlPointGenerator` with `offset=0`, in
mmdet/models/dense_heads/rtmdet_head.py of https://github.com/open-mmlab/mmdetection). On 24 images of COCO, the surest
box of an RTMDet-nano for persons overlaps a label by 0.75 with points there, and by 0.59 with points in the middle.
"""

from dataclasses import dataclass, replace

import numpy as np

from lib.data.input_form import InputForm
from lib.detector.families.distances import Distances
from lib.detector.families.sides import SIDES
from lib.detector.head import EXPORTED
from lib.detector.output_spec import OutputSpec
from lib.graph.surgery.anchor_maps import stride_of
from lib.graph.surgery.came_split import before_bias
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import PlacedMaps
from lib.graph.surgery.moved_maps import Part, moved_maps, ordered_levels, parts_of, places_of
from lib.graph.surgery.output_form import OutputForm

# Of MMDetection's configurations; the values are for pixels as OpenCV reads them.
INPUT = InputForm("bgr", 1, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "top_left")


@dataclass(frozen=True)
class MapsInPixels(PlacedMaps):
    """An OutputForm's `read`: as PlacedMaps, with box maps in pixels."""

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C]."""
        maps = self.taken(spec, raw)
        maps[0::2] = [values / np.float32(stride) for values, stride in zip(maps[0::2], spec.family.strides)]
        return spec.family.decode_maps(maps, spec.imgsz)


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph with a class map per stride and a box map that is multiplied by it; None for others."""
    levels = _levels(graph)
    moved = moved_maps(graph)
    if len(levels) < 2 or not all(name in moved for name in graph.outputs):
        return None
    parts = parts_of(levels)
    places = places_of(graph, moved, parts, probabilities=(False, True))
    if not places:
        return None
    spec = OutputSpec(graph.imgsz, EXPORTED, Distances(tuple(levels), corner=True), parts[1].count)
    return OutputForm(spec, read=MapsInPixels(places), input=INPUT)


def find_maps(graph: Graph) -> list[Part]:
    """Box map, in strides, and class map of each stride."""
    parts = parts_of(_levels(graph))
    parts[0::2] = [replace(part, source=in_strides(graph, part.source)) for part in parts[0::2]]
    return parts


def in_strides(graph: Graph, name: str) -> str | None:
    """The convolution's map that is multiplied by its stride to make the map `name`; None for another map."""
    node = graph.producer(name)
    if node is None or node.op_type != "Mul":
        return None
    factors = [source for source in node.input if graph.constant(source) is not None]
    computed = [source for source in node.input if source not in factors]
    if len(factors) != 1 or len(computed) != 1 or set(graph.constant(factors[0]).ravel()) != {stride_of(graph, name)}:
        return None
    convolution = before_bias(graph, computed[0])
    return computed[0] if convolution is not None and convolution.op_type == "Conv" else None


def _levels(graph: Graph) -> dict[int, list[Part]]:
    """Box map and class map of each stride; empty if the graph has other maps."""

    def in_order(parts: list[Part]) -> list[Part]:
        boxes = [part for part in parts if _is_box(graph, part)]
        others = [part for part in parts if part not in boxes and part.sigmoids < 2 and not part.softmaxes]
        return [*boxes, *others] if len(boxes) == len(others) == 1 and len(parts) == 2 else []

    return ordered_levels(graph, in_order)


def _is_box(graph: Graph, part: Part) -> bool:
    whole = (part.first, part.count, graph.shape(part.source)[1]) == (0, len(SIDES), len(SIDES))
    return whole and part.activations == (0, 0) and in_strides(graph, part.source) is not None
