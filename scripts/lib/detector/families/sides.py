"""The common part of families that predict the distances of a box's four sides from a cell's anchor point.

Per stride s there are two maps: box [1, K, H/s, W/s], from which a family computes left, top, right, bottom in strides,
and scores [1, C, H/s, W/s]. Predictions are ordered stride by stride, and row by row within a stride.
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import Family, OutputMap, cells, cells_first, span
from lib.step.typed_json import omitted_if_none

STRIDES = (8, 16, 32)
SIDES = ("left", "top", "right", "bottom")
REAL = "real = (stored - zero_point) * scale, with the zero_point and scale of the output"
MIDDLE = 0.5  # the anchor point of most models: the middle of the cell
CONTRACT_KEY, CORNER = "rv1106.points", "corner"  # a key of model.json's metadata, and its value


@dataclass(frozen=True)
class Sides(Family):
    """strides: the strides of its maps, the finest first.

    corner: whether a cell's anchor point is its upper left corner (NanoDet-Plus, RTMDet), not its middle.
    """

    strides: tuple[int, ...] = STRIDES
    corner: bool | None = omitted_if_none(kw_only=True)

    @property
    @abstractmethod
    def bins(self) -> int:
        """The number of logits per side; 0 if the map holds the distance itself."""

    @property
    def offset(self) -> float:
        """The anchor point's distance from the cell's upper left corner, in strides."""
        return 0.0 if self.corner else MIDDLE

    @property
    def box_channels(self) -> int:
        """K, the number of channels of a box map."""
        return len(SIDES) * max(self.bins, 1)

    def maps(self, classes: int) -> tuple[OutputMap, ...]:
        """Box map and scores of each stride."""
        return tuple(
            OutputMap(role, stride, channels)
            for stride in self.strides
            for role, channels in (("box", self.box_channels), ("scores", classes))
        )

    def points(self, imgsz: ImageSize) -> int:
        """N: one prediction per cell."""
        return sum(height * width for height, width in (cells(imgsz, stride) for stride in self.strides))

    def centres(self, imgsz: ImageSize) -> tuple[np.ndarray, np.ndarray]:
        """Anchor points of all cells, in units of their stride, float32 [N, 2] (x, y), and the strides, [N, 1]."""
        points, strides = [], []
        for stride in self.strides:
            height, width = cells(imgsz, stride)
            x, y = np.meshgrid(np.arange(width) + self.offset, np.arange(height) + self.offset)
            points.append(np.stack([x.ravel(), y.ravel()], axis=1))
            strides.append(np.full((x.size, 1), stride))
        return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)

    @abstractmethod
    def distances(self, sides: np.ndarray) -> np.ndarray:
        """Left, top, right, bottom in strides, float32 [N, 4], from the box maps' values [N, K]."""

    def decode_maps(self, maps: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """Boxes from the distances to the anchor points; scores unchanged."""
        points, strides = self.centres(imgsz)
        distances = self.distances(cells_first(maps[0::2]))
        low, high = points - distances[:, :2], points + distances[:, 2:]
        return np.concatenate([(low + high) / 2 * strides, (high - low) * strides, cells_first(maps[1::2])], axis=1)

    def order_line(self) -> str:
        """The order of predictions: stride by stride."""
        listed = ", then ".join(map(str, self.strides))
        return f"n = index of the anchor point: the cells of stride {listed}, row by row"

    def box_lines(self) -> list[str]:
        """The steps from distances to boxes and scores, with which contract_lines ends."""
        x, y = (f"{axis} + {self.offset:g}" for axis in "xy")
        return [
            f"x1 = ({x} - distance[0]) * stride; y1 = ({y} - distance[1]) * stride, for the cell in column x, row y",
            f"x2 = ({x} + distance[2]) * stride; y2 = ({y} + distance[3]) * stride",
            "score of class c = real value of channel c of the scores, 0 to 1; the model has applied the sigmoid, so "
            "apply no sigmoid",
        ]

    def contract_metadata(self, classes: int) -> dict[str, str]:
        """The position of the anchor points, if it is not the middle of cells."""
        return {CONTRACT_KEY: CORNER} if self.corner else {}

    @classmethod
    def from_contract(
        cls, shapes: list[tuple[int, ...]], strides: tuple[int, ...], metadata: dict[str, str]
    ) -> "Sides":
        """The family with the anchor points of `contract_metadata`."""
        return cls(strides, corner=True if metadata.get(CONTRACT_KEY) == CORNER else None)

    def c_details(self) -> tuple[tuple, ...]:
        """The anchor point's offset, if it is not the middle; the same for each level."""
        return ((np.float32(self.offset),),) * len(self.strides) if self.corner else ()

    @abstractmethod
    def box_meaning(self) -> dict[str, str]:
        """The meaning of a box map's channels."""

    def map_meaning(self, output: OutputMap) -> dict:
        """The meaning of the channels: sides, or scores."""
        if output.role == "box":
            return {"channels": self.box_meaning()}
        return {"channels": {span(0, output.channels): "score of the class with the number of the channel, 0 to 1"}}
