"""A centre relative to the cell, a size and an objectness, without anchors (YOLOX).

YOLOX, Ge et al. 2021, https://arxiv.org/abs/2107.08430, section 2.2; its formulas as in
https://github.com/Megvii-BaseDetection/YOLOX (yolox/models/yolo_head.py, decode_outputs). In cell (i, j) of a stride:

  cx = (i + tx) * stride        w = stride * exp(tw)        cy and h likewise
  score of a class = s(objectness) * s(class)               s: sigmoid

A stride with C classes has three maps, the last two after the sigmoid:

  box [1, 4, H/s, W/s] as tx, ty, tw, th        objectness [1, 1, H/s, W/s]        scores [1, C, H/s, W/s]

The exponential is unbounded, so widths and heights are limited to twice the input's: a box with its centre in the image
already covers the whole image at that size. Objectness below 0, which is possible in INT8, counts as 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import Family, Limit, OutputMap, cells, register, span
from lib.detector.families.sides import REAL, STRIDES

MOST_LEVELS = 6  # the most that decode.h supports
_BOX = (
    "tx: centre of the box right of the cell's left edge, in strides",
    "ty: centre of the box below the cell's upper edge, in strides",
    "tw: natural logarithm of the width in strides",
    "th: natural logarithm of the height in strides",
)
MOST_SIDES = 2  # a box's largest width and height, in widths and heights of the input


@register
@dataclass(frozen=True)
class Yolox(Family):
    """strides: the strides of its maps, the finest first."""

    name: ClassVar[str] = "yolox"
    title: ClassVar[str] = "centre and size of boxes, with an objectness (YOLOX)"
    c_header: ClassVar[str] = "yolox.h"
    c_shared: ClassVar[tuple[str, ...]] = (
        "anchors.h",
    )  # for objectness and scores, which are the same as there with one anchor per cell
    strides: tuple[int, ...] = STRIDES

    def maps(self, classes: int) -> tuple[OutputMap, ...]:
        """Box, objectness and scores of each stride."""
        return tuple(
            OutputMap(role, stride, channels)
            for stride in self.strides
            for role, channels in (("box", 4), ("objectness", 1), ("scores", classes))
        )

    def points(self, imgsz: ImageSize) -> int:
        """N: one prediction per cell."""
        return sum(height * width for height, width in (cells(imgsz, stride) for stride in self.strides))

    def decode_maps(self, maps: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """Stride by stride."""
        levels = (maps[place : place + 3] for place in range(0, len(maps), 3))
        # exp of a large logit is infinite; `limited` limits it.
        with np.errstate(over="ignore"):
            return np.concatenate([_decode(stride, *level) for stride, level in zip(self.strides, levels)])

    def limited(self, predictions: np.ndarray, imgsz: ImageSize) -> np.ndarray:
        """Predictions with no box larger than twice the input."""
        bounded = predictions.copy()
        bounded[:, 2:4] = np.minimum(predictions[:, 2:4], MOST_SIDES * np.array(imgsz, np.float32))
        return bounded

    def order_line(self) -> str:
        """Stride by stride."""
        return f"n = index of the cell: the cells of stride {', then '.join(map(str, self.strides))}, row by row"

    def contract_lines(self) -> list[str]:
        """The steps from maps to boxes."""
        return [
            REAL,
            "tx, ty, tw, th = real values of channels 0 to 3 of the box map",
            "cx = (x + tx) * stride; cy = (y + ty) * stride, for the cell in column x, row y",
            f"w = stride * exp(tw), at most {MOST_SIDES} * the input's width; h = stride * exp(th), at most "
            f"{MOST_SIDES} * the input's height",
            "score of class c = max(0, real value of the objectness) * real value of channel c of the scores, both 0 "
            "to 1; the model has applied the sigmoids, so apply no sigmoid",
        ]

    def map_meaning(self, output: OutputMap) -> dict:
        """The quantities in the channels."""
        if output.role == "box":
            return {"channels": {str(place): meaning for place, meaning in enumerate(_BOX)}}
        if output.role == "objectness":
            return {"channels": {"0": "objectness, 0 to 1"}}
        meaning = "score of the class with the number of the channel, 0 to 1; multiply it by the objectness"
        return {"channels": {span(0, output.channels): meaning}}

    def limits(self, head: str) -> tuple[Limit, ...]:
        """Strides."""
        return (Limit(len(self.strides), MOST_LEVELS, "strides"),)


def _decode(stride: int, box: np.ndarray, objectness: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Predictions float32 [H*W, 4+C] from a stride's maps, rounded only once, as in decode.h, whose exp differs."""
    _, _, height, width = box.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    cell = np.stack([x.ravel(), y.ravel()], axis=1)
    box, objectness, scores = (values[0].reshape(values.shape[1], -1).T for values in (box, objectness, scores))
    box = box.astype(np.float64)
    quantities = (cell + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
    products = np.maximum(objectness, 0).astype(np.float64) * scores
    return np.concatenate([*quantities, products], axis=1).astype(np.float32)
