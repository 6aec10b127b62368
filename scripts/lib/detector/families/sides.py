"""What the families share that predict, at a point of a cell, how far the four sides of the box are from it.

Per stride s there are two maps: box [1, K, H/s, W/s], of which a family makes left, top, right, bottom in strides, and
scores [1, C, H/s, W/s]. Predictions stand stride by stride, in a stride row by row.
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import Family, OutputMap, cells, cells_first, span

STRIDES = (8, 16, 32)
SIDES = ("left", "top", "right", "bottom")
REAL = "real = (stored - zero_point) * scale, with each output's own two"
MIDDLE = 0.5  # of a cell, where its point lies in most models


@dataclass(frozen=True)
class Sides(Family):
    """strides: those of its maps, the finest first."""

    strides: tuple[int, ...] = STRIDES

    @property
    @abstractmethod
    def bins(self) -> int:
        """How many logits tell of a side; 0 where the map holds the distance itself."""

    @property
    def offset(self) -> float:
        """Where the point of a cell lies, in strides from its upper left corner."""
        return MIDDLE

    @property
    def box_channels(self) -> int:
        """K, the channels of a box map."""
        return len(SIDES) * max(self.bins, 1)

    def maps(self, classes: int) -> tuple[OutputMap, ...]:
        """Box map and scores of each stride."""
        return tuple(
            OutputMap(role, stride, channels)
            for stride in self.strides
            for role, channels in (("box", self.box_channels), ("scores", classes))
        )

    def points(self, imgsz: ImageSize) -> int:
        """One a cell."""
        return sum(height * width for height, width in (cells(imgsz, stride) for stride in self.strides))

    def centres(self, imgsz: ImageSize) -> tuple[np.ndarray, np.ndarray]:
        """Points of all cells in units of their stride, float32 [N, 2] as x, y, and the stride of each, [N, 1]."""
        points, strides = [], []
        for stride in self.strides:
            height, width = cells(imgsz, stride)
            x, y = np.meshgrid(np.arange(width) + self.offset, np.arange(height) + self.offset)
            points.append(np.stack([x.ravel(), y.ravel()], axis=1))
            strides.append(np.full((x.size, 1), stride))
        return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)

    @abstractmethod
    def distances(self, sides: np.ndarray) -> np.ndarray:
        """Left, top, right, bottom in strides, float32 [N, 4], of the box maps' values [N, K]."""

    def decode_maps(self, maps: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """Boxes by the distances from the cells' points; scores as they are."""
        points, strides = self.centres(imgsz)
        distances = self.distances(cells_first(maps[0::2]))
        low, high = points - distances[:, :2], points + distances[:, 2:]
        return np.concatenate([(low + high) / 2 * strides, (high - low) * strides, cells_first(maps[1::2])], axis=1)

    def order_line(self) -> str:
        """Stride by stride."""
        listed = ", then ".join(map(str, self.strides))
        return f"n = anchor point: cells row by row, of stride {listed}"

    def box_lines(self) -> list[str]:
        """From distances to boxes and scores, as contract_lines ends."""
        x, y = (f"{axis} + {self.offset:g}" for axis in "xy")
        return [
            f"x1 = ({x} - distance[0]) * stride; y1 = ({y} - distance[1]) * stride, for the cell in column x, row y",
            f"x2 = ({x} + distance[2]) * stride; y2 = ({y} + distance[3]) * stride",
            "score of class c = real value of channel c of the scores, a probability already: no sigmoid",
        ]

    @abstractmethod
    def box_meaning(self) -> dict[str, str]:
        """What the channels of a box map hold."""

    def map_meaning(self, output: OutputMap) -> dict:
        """Sides, or scores."""
        if output.role == "box":
            return {"channels": self.box_meaning()}
        return {"channels": {span(0, output.channels): "score of that class"}}
