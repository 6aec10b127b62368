"""Distances of a box's sides as bins (YOLOv8, v9, v10, 11, 12, v5u: 16 bins per side; NanoDet, PicoDet: 8).

Generalized Focal Loss, Li et al. 2020, https://arxiv.org/abs/2006.04388, eq. 3 to 6: a side's distance is the mean of
its bins 0..R-1, weighted by the softmax of their logits, in units of the stride. A box map is [1, 4*R, H/s, W/s].
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lib.detector.families import Limit, register, span
from lib.detector.families.sides import REAL, SIDES, Sides
from lib.detector.head import SPLIT

BINS = 16
MOST_BINS = 32  # the most that dfl.h supports


@register
@dataclass(frozen=True)
class Dfl(Sides):
    """bins: R."""

    name: ClassVar[str] = "dfl"
    title: ClassVar[str] = "distances from an anchor point to the sides of the box, as bins (DFL)"
    c_header: ClassVar[str] = "dfl.h"
    bins: int = BINS

    def distances(self, sides: np.ndarray) -> np.ndarray:
        """The mean bin of each side, from logits [N, 4*R]."""
        return mean_bins(sides)

    def contract_lines(self) -> list[str]:
        """The steps from logits to boxes."""
        return [
            REAL,
            "R = number of bins: channels of the box map / 4",
            "side k of left, top, right, bottom: p = softmax of the real values of channels R k to R k + R - 1",
            "distance[k] = sum of bin * p[bin] over bin = 0 to R - 1, in strides",
            *self.box_lines(),
        ]

    def box_meaning(self) -> dict[str, str]:
        """R channels per side."""
        return {
            span(self.bins * side, self.bins): f"distance to the {name} side, logits of bins 0 to {self.bins - 1}"
            for side, name in enumerate(SIDES)
        }

    def limits(self, head: str) -> tuple[Limit, ...]:
        """The limit on bins, if the maps are outputs of the model."""
        return (Limit(self.bins, MOST_BINS, "bins per side"),) if head == SPLIT else ()

    @classmethod
    def from_contract(cls, shapes: list[tuple[int, ...]], strides: tuple[int, ...], metadata: dict[str, str]) -> "Dfl":
        """The family, with bins from the first map's channels; the head `single` has no such map."""
        bins = shapes[0][1] // len(SIDES) if len(shapes) > 1 else BINS
        return replace(super().from_contract(shapes, strides, metadata), bins=bins)


def mean_bins(logits: np.ndarray) -> np.ndarray:
    """Distances float32 [n, 4] (left, top, right, bottom; in strides) of box logits [n, 4*R].

    The sum is in float64, so that decode.h on the board, which adds in another order, rounds to the same float32.
    """
    bins = logits.reshape(len(logits), len(SIDES), -1).astype(np.float64)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    return (weights @ np.arange(bins.shape[2], dtype=np.float64) / weights.sum(axis=2)).astype(np.float32)
