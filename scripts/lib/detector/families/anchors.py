"""Boxes as multiples of anchors, with an objectness (YOLOv3 to v7, and Darknet's [yolo] layers).

YOLOv3, Redmon and Farhadi 2018, https://arxiv.org/abs/1804.02767, section 2.1; `scale_x_y` and `new_coords` as in
https://github.com/AlexeyAB/darknet (src/yolo_layer.c). In cell (i, j) of a layer, for an anchor of width aw:

  cx = (i + (s(tx) - 0.5) * scale_x_y + 0.5) * stride        w = aw * exp(tw)        cy and h likewise
  score of a class = s(objectness) * s(class)                s: sigmoid

With `new_coords` the network itself applies s to everything, and w = aw * (2 * s(tw))^2. Objectness below 0, which is
possible in INT8, counts as 0. Widths and heights are limited to the input's: the exponential is unbounded and would
use up all of INT8's range.

A layer with A anchors and C classes has three maps, with channels ordered first by quantity, then by anchor.

  box         [1, 4*A, H/s, W/s]   tx of every anchor, ty of every anchor, tw, th
  objectness  [1, A,   H/s, W/s]
  scores      [1, C*A, H/s, W/s]   the first class of every anchor, the second …
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import Family, Level, Limit, OutputMap, cells, register, span
from lib.detector.families.sides import REAL
from lib.step.typed_json import JsonRecord, from_json, to_json

CONTRACT_KEY = "rv1106.darknet"  # the key in model.json's metadata that holds the layers as JSON
MOST_LAYERS, MOST_ANCHORS = 6, 16  # layers, and anchors per layer, that decode.h and anchors.h support


@dataclass(frozen=True)
class AnchorLayer:
    """One layer with anchors: its stride, its anchors (width, height) in input pixels, its options."""

    stride: int
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float = 1.0
    new_coords: bool = False

    def cells(self, imgsz: ImageSize) -> tuple[int, int]:
        """Height and width of its maps."""
        return cells(imgsz, self.stride)

    def points(self, imgsz: ImageSize) -> int:
        """The number of predictions: one per anchor and cell."""
        height, width = self.cells(imgsz)
        return len(self.anchors) * height * width

    def cell_offsets(self, imgsz: ImageSize) -> np.ndarray:
        """i and j of every prediction, float32 [2, A, H/s, W/s]."""
        height, width = self.cells(imgsz)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        return np.stack([x, y])[:, None].repeat(len(self.anchors), axis=1)

    def anchor_sizes(self) -> np.ndarray:
        """aw and ah of every anchor, float32 [2, A, 1, 1]."""
        return np.array(self.anchors, np.float32).T[:, :, None, None]

    def maps(self, classes: int) -> tuple[OutputMap, OutputMap, OutputMap]:
        """Box, objectness and scores."""
        count = len(self.anchors)
        return (
            OutputMap("box", self.stride, 4 * count),
            OutputMap("objectness", self.stride, count),
            OutputMap("scores", self.stride, classes * count),
        )


@dataclass(frozen=True)
class _ContractLayer(JsonRecord):
    """A layer as in model.json's metadata."""

    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float
    new_coords: bool


@register
@dataclass(frozen=True)
class Anchors(Family):
    """layers: the layers with anchors, each with its own stride, in the order of their predictions."""

    name: ClassVar[str] = "anchors"
    title: ClassVar[str] = "anchors"
    c_header: ClassVar[str] = "anchors.h"
    layers: tuple[AnchorLayer, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """The stride of each layer."""
        return tuple(layer.stride for layer in self.layers)

    def maps(self, classes: int) -> tuple[OutputMap, ...]:
        """Three per layer: the box map as the network gives it, and objectness and scores after a sigmoid."""
        return tuple(output for layer in self.layers for output in layer.maps(classes))

    def points(self, imgsz: ImageSize) -> int:
        """N: one prediction per anchor and cell of each layer."""
        return sum(layer.points(imgsz) for layer in self.layers)

    def decode_maps(self, maps: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """Layer by layer."""
        # exp of a large logit is infinite; `limited` limits sizes to the input's.
        with np.errstate(over="ignore"):
            return np.concatenate(
                [_decode_layer(layer, imgsz, *maps[3 * i : 3 * i + 3]) for i, layer in enumerate(self.layers)]
            ).astype(np.float32)

    def limited(self, predictions: np.ndarray, imgsz: ImageSize) -> np.ndarray:
        """Predictions with no box larger than the input."""
        bounded = predictions.copy()
        bounded[:, 2:4] = np.minimum(predictions[:, 2:4], np.array(imgsz, np.float32))
        return bounded

    def order_line(self) -> str:
        """Layer by layer."""
        return "n = index of the prediction: layer by layer, in each layer anchor by anchor, for each anchor row by row"

    def contract_lines(self) -> list[str]:
        """The steps from maps to boxes."""
        return [
            REAL,
            "A = number of the layer's anchors; of anchor k: tx, ty, tw, th = real values of channels k, A + k, "
            "2 A + k, 3 A + k of the box map",
            "cx = (x + (s(tx) - 0.5) * scale_x_y + 0.5) * stride; cy = (y + (s(ty) - 0.5) * scale_x_y + 0.5) * stride, "
            "for the cell in column x, row y; s = sigmoid, or with new_coords s(t) = t",
            "w = anchor width * e(tw), at most the input's width; h = anchor height * e(th), at most the input's "
            "height; e = exp, or with new_coords e(t) = (2 t)^2",
            "score of class c = max(0, real value of channel k of the objectness) * real value of channel A c + k of "
            "the scores, both 0 to 1; the model has applied the sigmoids, so apply no sigmoid",
        ]

    def map_meaning(self, output: OutputMap) -> dict:
        """The quantities of the anchors and, for a box map, the layer's options."""
        [layer] = (layer for layer in self.layers if layer.stride == output.stride)
        count = len(layer.anchors)
        if output.role == "box":
            channels = {
                span(count * place, count): f"{name} of anchor (channel % {count})"
                for place, name in enumerate(("tx", "ty", "tw", "th"))
            }
            facts = {"anchors": layer.anchors, "scale_x_y": layer.scale_x_y, "new_coords": layer.new_coords}
            return {"channels": channels, **facts}
        if output.role == "objectness":
            return {"channels": {span(0, count): "objectness of the anchor with the number of the channel, 0 to 1"}}
        meaning = (
            f"score of class floor(channel / {count}) for anchor (channel % {count}), 0 to 1; multiply it by the "
            "objectness of the anchor"
        )
        return {"channels": {span(0, output.channels): meaning}}

    def limits(self, head: str) -> tuple[Limit, ...]:
        """The limits on layers, and on anchors per layer."""
        anchors = max((len(layer.anchors) for layer in self.layers), default=0)
        return (
            Limit(len(self.layers), MOST_LAYERS, "[yolo] layers"),
            Limit(anchors, MOST_ANCHORS, "anchors in a [yolo] layer"),
        )

    def contract_metadata(self, classes: int) -> dict[str, str]:
        """The layers as JSON, each with the number of classes."""
        layers = [
            _ContractLayer(layer.stride, layer.anchors, classes, layer.scale_x_y, layer.new_coords)
            for layer in self.layers
        ]
        return {CONTRACT_KEY: json.dumps(to_json(layers))}

    @classmethod
    def from_contract(
        cls, shapes: list[tuple[int, ...]], strides: tuple[int, ...], metadata: dict[str, str]
    ) -> "Anchors":
        """The family from `contract_metadata`. Raises UserError for other entries, ValueError if they are not JSON."""
        layers = from_json(tuple[_ContractLayer, ...], json.loads(metadata.get(CONTRACT_KEY, "")), CONTRACT_KEY)
        return cls(
            tuple(AnchorLayer(layer.stride, layer.anchors, layer.scale_x_y, layer.new_coords) for layer in layers)
        )

    def levels(self) -> tuple[Level, ...]:
        """One level per layer."""
        return tuple(Level(layer.stride, len(layer.anchors)) for layer in self.layers)

    def c_details(self) -> tuple[tuple, ...]:
        """The options of each layer, and its anchors as the float32 values that `decode_maps` multiplies by."""
        return tuple(
            (
                int(layer.new_coords),
                float(layer.scale_x_y),
                tuple(tuple(map(np.float32, side)) for side in layer.anchors),
            )
            for layer in self.layers
        )


def _decode_layer(layer: AnchorLayer, imgsz: ImageSize, box, objectness, scores) -> np.ndarray:
    """Predictions float64 [A*H*W, 4+C], so that decode.h, whose exp differs, rounds to the same float32."""
    box, objectness, scores = (
        values.reshape(-1, len(layer.anchors), *layer.cells(imgsz)).astype(np.float64)
        for values in (box, objectness, scores)
    )
    if layer.new_coords:
        shift, size = box[:2], (2 * box[2:]) ** 2
    else:
        shift, size = 1 / (1 + np.exp(-box[:2])), np.exp(box[2:])
    centre = (layer.cell_offsets(imgsz) + ((shift - 0.5) * layer.scale_x_y + 0.5)) * layer.stride
    quantities = np.concatenate([centre, size * layer.anchor_sizes(), np.maximum(objectness, 0) * scores])
    return quantities.reshape(len(quantities), -1).T
