"""Distances of a box's sides, directly and without a DFL (YOLO26, RTMDet): a box map is [1, 4, H/s, W/s]."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lib.detector.families import Limit, register
from lib.detector.families.sides import REAL, SIDES, Sides


@register
@dataclass(frozen=True)
class Distances(Sides):
    """One channel per side."""

    name: ClassVar[str] = "distances"
    title: ClassVar[str] = "distances from an anchor point to the sides of the box, without a DFL"
    c_header: ClassVar[str] = "distances.h"
    bins: ClassVar[int] = 0

    def distances(self, sides: np.ndarray) -> np.ndarray:
        """The values themselves."""
        return sides

    def contract_lines(self) -> list[str]:
        """The steps from distances to boxes."""
        return [
            REAL,
            "distance[k] = real value of channel k of the box map, in strides; k = left, top, right, bottom",
            *self.box_lines(),
        ]

    def box_meaning(self) -> dict[str, str]:
        """One channel per side."""
        return {
            str(side): f"distance from the anchor point to the {name} side, in strides"
            for side, name in enumerate(SIDES)
        }

    def limits(self, head: str) -> tuple[Limit, ...]:
        """None."""
        return ()
