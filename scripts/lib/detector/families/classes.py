"""Classifiers: one output [1, C, 1, 1] with a value for each class of the whole image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import Family, Limit, OutputMap, register, span
from lib.detector.head import BOX

CLASSES = "classes"


@register
@dataclass(frozen=True)
class Classes(Family):
    """One prediction: its box is the whole input, and its scores are the softmax of the values.

    strides: one, the longer side of the input, so that one cell covers it.
    """

    name: ClassVar[str] = CLASSES
    title: ClassVar[str] = "one value for each class of the whole image"
    c_header: ClassVar[str] = "classify.h"
    strides: tuple[int, ...]

    def maps(self, classes: int) -> tuple[OutputMap, ...]:
        """The only output."""
        return (OutputMap(CLASSES, self.strides[0], classes),)

    def points(self, imgsz: ImageSize) -> int:
        """One: the image."""
        return 1

    def decode_maps(self, maps: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """The whole input as a box, and the probability of each class."""
        values = maps[0].ravel().astype(np.float64)
        powers = np.exp(values - values.max())
        whole = np.array([imgsz.width / 2, imgsz.height / 2, *imgsz])
        return np.concatenate([whole, powers / powers.sum()]).astype(np.float32).reshape(1, BOX + len(values))

    def order_line(self) -> str:
        """The classes' order."""
        return "channel c of the output is the value of class c, in the order of `classes`"

    def contract_lines(self) -> list[str]:
        """From values to probabilities."""
        return [
            "value = (stored - zero_point) * scale",
            "probability of class c = exp(value of c) / sum of exp(value) over all classes, if the values are logits",
        ]

    def map_meaning(self, output: OutputMap) -> dict:
        """Channels are classes."""
        return {"channels": {span(0, output.channels): "value of the class with the number of the channel, a logit"}}

    def limits(self, head: str) -> tuple[Limit, ...]:
        """None."""
        return ()
