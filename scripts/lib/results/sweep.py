"""The variants of a sweep."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

from lib.data.imgsz import parse_imgsz


class Variant(NamedTuple):
    """One combination of a sweep; `imgsz` as it stands in file names."""

    model: str
    imgsz: str
    head: str
    algorithm: str
    max_images: int

    def order(self):
        """The key that tables are sorted by: sizes by their area."""
        size = parse_imgsz(self.imgsz)
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
