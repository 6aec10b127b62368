"""Recognizes heads with anchors that score classes once per cell, for all its anchors: Yolo-FastestV2.

Conv 4A ─ Sigmoid ─┐
Conv A  ─ Sigmoid ─┼ Concat ─ Transpose to [1, H, W, 5A+C] ─ output        per stride; not decoded
Conv C  ─ Softmax ─┘

Its training form is known too, whose outputs are the three maps of each stride straight from the convolutions.

Channels as in https://github.com/dog-qiuqiu/Yolo-FastestV2 (utils/utils.py, handel_preds): in the box map x, y, w, h of
the first anchor, then of the second …; the rest is YOLOv5's arithmetic on sigmoids.
"""

from dataclasses import dataclass

import numpy as np

from lib.data.input_form import InputForm
from lib.detector.families.anchors import Anchors
from lib.detector.head import BOX, EXPORTED
from lib.detector.output_spec import OutputSpec
from lib.graph.anchor_option import ASK, anchor_layers
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import MapPlace
from lib.graph.surgery.moved_maps import Part, moved_maps, ordered_levels, parts_of, places_of
from lib.graph.surgery.output_form import OutputForm
from lib.step.errors import Incomplete

ANCHORS = 3  # of the published models; only so many make maps without sigmoids recognizable
INPUT = InputForm(channels="bgr", letterbox="stretch")  # sample/ncnn/src/yolo-fastestv2.cpp in that repository


@dataclass(frozen=True)
class SharedClasses:
    """An OutputForm's `read`: box, objectness and scores of each layer are at `places`.

    logits: the scores still need the softmax.
    """

    places: tuple[MapPlace, ...]
    logits: bool = False

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C]."""
        maps = []
        for number, layer in enumerate(spec.family.layers):
            count = len(layer.anchors)
            box, objectness, scores = layer.maps(spec.classes)
            once = type(scores)(scores.role, scores.stride, spec.classes)
            places = self.places[3 * number : 3 * number + 3]
            taken = [place.taken(raw, output, spec.imgsz) for place, output in zip(places, (box, objectness, once))]
            if self.logits:
                taken[2] = _softmax(taken[2])
            maps += [taken[0][:, by_quantity(count)], taken[1], np.repeat(taken[2], count, axis=1)]
        return spec.family.decode_maps(maps, spec.imgsz)


def recognize(graph: Graph) -> OutputForm | None:
    """The form of such a graph; None for others. Raises Incomplete when its metadata has no suitable anchors."""
    levels = ordered_levels(graph, _in_order)
    moved = moved_maps(graph)
    if not levels or not all(name in moved for name in graph.outputs):
        return None
    parts = parts_of(levels)
    places = places_of(graph, moved, parts, probabilities=(True, True, False))
    if not places:
        return None
    layers, anchors = anchor_layers(graph.model, tuple(levels)), parts[1].count
    if not layers:
        read = f"{parts[2].count} classes"
        raise Incomplete(
            f"the model's boxes ({read}) are not decoded, and the file does not contain its anchors; {ASK}"
        )
    if len(layers[0].anchors) != anchors or not layers[0].new_coords:
        raise Incomplete(f"the model has {anchors} anchors per stride, for sigmoids; the given ones are different")
    spec = OutputSpec(graph.imgsz, EXPORTED, Anchors(layers), parts[2].count)
    return OutputForm(spec, read=SharedClasses(places, not parts[2].softmaxes), input=INPUT)


def find_maps(graph: Graph) -> list[Part]:
    """Box, objectness and scores of each stride."""
    return parts_of(ordered_levels(graph, _in_order))


def by_quantity(anchors: int) -> np.ndarray:
    """The channels of a box map in the family's order: x of every anchor first, then y, w, h."""
    return np.arange(BOX * anchors).reshape(anchors, BOX).T.ravel()


def _in_order(parts: list[Part]) -> list[Part]:
    """Box, objectness and scores; empty if `parts` are something else."""
    if len(parts) == 3 and not any(sum(part.activations) for part in parts):
        return parts if [part.count for part in parts[:2]] == [BOX * ANCHORS, ANCHORS] else []
    scores = [part for part in parts if part.activations == (0, 1)]
    others = sorted((part for part in parts if part.activations == (1, 0)), key=lambda part: -part.count)
    if len(parts) != 3 or len(scores) != 1 or len(others) != 2:
        return []
    box, objectness = others
    return [box, objectness, *scores] if box.count == BOX * objectness.count else []


def _softmax(logits: np.ndarray) -> np.ndarray:
    """The softmax over the channels of a map [1, C, H, W], float32."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
