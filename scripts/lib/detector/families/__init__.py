"""One file per family: what its maps hold, how they become boxes and scores, and what a bundle says about them.

A file here is found automatically: it registers its `Family`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar, NamedTuple

import numpy as np

from lib.data.imgsz import ImageSize
from lib.step.errors import UserError
from lib.step.typed_json import JsonRecord

# The end of the role of a map that repeats another map's values in finer steps: its range is -1 to 1 in INT8.
FINER = "_fine"


@dataclass(frozen=True)
class OutputMap(JsonRecord):
    """An output of the head `split`, a feature map [1, channels, H/stride, W/stride].

    role: what it holds: box, objectness, scores, or a map that a task adds.
    """

    role: str
    stride: int
    channels: int

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return f"{self.role}_{self.stride}"

    @property
    def is_finer(self) -> bool:
        """Whether it repeats another map's values in finer steps."""
        return self.role.endswith(FINER)

    def shape(self, imgsz: ImageSize) -> tuple[int, int, int, int]:
        """Its shape for an input of `imgsz`."""
        return 1, self.channels, *cells(imgsz, self.stride)


class Level(NamedTuple):
    """The maps of one stride (input pixels per cell) or of one layer with anchors, and the predictions per cell."""

    stride: int
    per_cell: int


class Limit(NamedTuple):
    """How many of `what` a model has, and how many the C decoder supports."""

    count: int
    most: int
    what: str


class Family(JsonRecord, ABC):
    """How a detector's maps become boxes and scores. Each family is a frozen dataclass of what differs between models.

    name: its name in files. title: what its box maps hold, in words. c_header: the file in lib/bundle that decodes its
    maps on the board and defines `rv1106_{name}`. c_shared: headers of other families that it includes.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    c_header: ClassVar[str]
    c_shared: ClassVar[tuple[str, ...]] = ()
    strides: tuple[int, ...]  # of its maps, in their order; a field or a property

    @abstractmethod
    def maps(self, classes: int) -> tuple[OutputMap, ...]:
        """The outputs of the head `split`, in their order."""

    @abstractmethod
    def points(self, imgsz: ImageSize) -> int:
        """N, the number of predictions."""

    @abstractmethod
    def decode_maps(self, maps: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """Predictions float32 [N, 4+C] (cx, cy, w, h in input pixels, scores) from outputs as `maps()` lists them."""

    def limited(self, predictions: np.ndarray, imgsz: ImageSize) -> np.ndarray:
        """Predictions [N, 4+C] limited to the bounds of the family, if its formulas have none."""
        return predictions

    @abstractmethod
    def order_line(self) -> str:
        """The sentence of the contract that gives the order of the predictions n."""

    @abstractmethod
    def contract_lines(self) -> list[str]:
        """From the real values of the head `split` to boxes and scores, one sentence per step."""

    @abstractmethod
    def map_meaning(self, output: OutputMap) -> dict:
        """What the contract says about a map: `channels` by number, and what else is needed to decode it."""

    @abstractmethod
    def limits(self, head: str) -> tuple[Limit, ...]:
        """The quantities of a model with that `head` that the C decoder limits."""

    def contract_metadata(self, classes: int) -> dict[str, str]:
        """What `from_contract` needs besides shapes; empty for most families."""
        return {}

    @classmethod
    def from_contract(
        cls, shapes: list[tuple[int, ...]], strides: tuple[int, ...], metadata: dict[str, str]
    ) -> "Family":
        """The family of a bundle's model, from its outputs' shapes and strides and `contract_metadata`."""
        return cls(strides=strides)

    def levels(self) -> tuple[Level, ...]:
        """The levels, in the order of their predictions."""
        return tuple(Level(stride, 1) for stride in self.strides)

    def c_details(self) -> tuple[tuple, ...]:
        """The fields of the C header's `rv1106_{name}_details` for each level; empty for most families."""
        return ()

    def to_json(self) -> dict:
        """The name and the fields, as JSON's own types."""
        return {"name": self.name, **super().to_json()}

    @classmethod
    def from_json(cls, value, where) -> "Family":
        """The family that `to_json` wrote. Raises UserError as lib.step.typed_json does."""
        if not isinstance(value, dict) or "name" not in value:
            raise UserError(f"{where} does not name a family of detectors")
        parts = {key: part for key, part in value.items() if key != "name"}
        return super(Family, get(value["name"])).from_json(parts, where)


_families: dict[str, type[Family]] = {}


def register(family: type[Family]) -> type[Family]:
    """Register a family under its name; a decorator. Raises ValueError when another family has that name."""
    if family.name in _families:
        raise ValueError(f"two families are called '{family.name}'")
    _families[family.name] = family
    return family


def get(name: str) -> type[Family]:
    """The family of that name. Raises UserError when there is none."""
    if name not in _families:
        raise UserError(f"there is no family '{name}' of detectors; the families are {', '.join(names())}")
    return _families[name]


def names() -> list[str]:
    """The names of all families, sorted."""
    return sorted(_families)


def cells(imgsz: ImageSize, stride: int) -> tuple[int, int]:
    """Height and width of the maps of a stride; padded convolutions round half of an odd side up."""
    return -(-imgsz.height // stride), -(-imgsz.width // stride)


def cells_first(maps: list[np.ndarray]) -> np.ndarray:
    """Feature maps [1, K, H, W] of all strides, joined as float32 [N, K]."""
    return np.concatenate([values.reshape(values.shape[1], -1).T for values in maps]).astype(np.float32)


def span(first: int, count: int) -> str:
    """A range of channels as a contract writes it: `0 to 15`."""
    return f"{first} to {first + count - 1}"


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
