"""The variants of a sweep."""

from dataclasses import make_dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from lib.data.imgsz import parse_imgsz
from lib.step.typed_json import from_json


class Variant(NamedTuple):
    """One combination of a sweep; `imgsz` as it stands in file names."""

    model: str
    imgsz: str
    head: str
    algorithm: str
    max_images: int

    @classmethod
    def from_json(cls, value, where) -> "Variant":
        """The variant that `to_json` wrote. Raises UserError, as typed_json does, for anything else."""
        keys = make_dataclass(cls.__name__, cls.__annotations__.items())
        return cls(**vars(from_json(keys, value, where)))

    def to_json(self) -> dict:
        """The variant as JSON's own types."""
        return self._asdict()

    def order(self):
        """The key that tables are sorted by: sizes by their area."""
        size = parse_imgsz(self.imgsz, multiples_of=1)
        return (self.model, size.area, size.width, self.head, self.algorithm, self.max_images)

    def title(self) -> str:
        """The variant in words."""
        return f"{self.model} {self.imgsz} {self.head}, {self.algorithm}, {self.max_images} calibration images"

    def path(self) -> Path:
        """Where this variant's files lie below `quantized`, `rknn`, `metrics` and `layers` of a run."""
        return Path(self.model, self.imgsz, self.head, f"{self.algorithm}-{self.max_images}")


def variants(model, imgsz, head, algorithm, max_images) -> list[Variant]:
    """All variants of a sweep, each argument a list, sorted."""
    return sorted(map(Variant._make, product(model, imgsz, head, algorithm, max_images)), key=Variant.order)
