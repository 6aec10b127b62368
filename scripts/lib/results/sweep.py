"""The variants of a sweep."""

import re
from collections.abc import Iterable
from dataclasses import make_dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from lib.data.imgsz import parse_imgsz
from lib.detector.head import AS_IS, CLASSIFY, SINGLE, SPLIT, TASK_OF_SINGLE
from lib.step.errors import UserError
from lib.step.typed_json import from_json


class Variant(NamedTuple):
    """One combination of a sweep; `imgsz` as in file names."""

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
        """The path of this variant's files below the folders `rknn`, `metrics`, `layers` and others of a run."""
        return Path(self.model, self.imgsz, self.head, f"{self.algorithm}-{self.max_images}")

    @classmethod
    def from_path(cls, path: str) -> "Variant":
        """The variant whose `path` is given. Raises UserError for anything else."""
        match = re.fullmatch(r"([^/]+)/([^/]+)/([^/]+)/([^/]+)-(\d+)", path)
        if not match:
            raise UserError(f"{path} is not a variant; write MODEL/IMGSZ/HEAD/ALGORITHM-MAX_IMAGES")
        return cls(*match.groups()[:-1], int(match[5]))


def variants(model, imgsz, head, algorithm, max_images) -> list[Variant]:
    """All variants of a sweep, each argument a list, sorted."""
    return sorted(map(Variant._make, product(model, imgsz, head, algorithm, max_images)), key=Variant.order)


def asked(args) -> list[Variant]:
    """The variants that the options of `sweep_arguments` and `also_argument` name, sorted, without duplicates."""
    swept = variants(args.model, args.imgsz, args.head, args.algorithm, args.max_images)
    return sorted({*swept, *map(Variant.from_path, args.also)}, key=Variant.order)


def analysed(chosen: Iterable[Variant], layers: dict[str, list]) -> list[Variant]:
    """Those of the variants that the config's `layers` names; a missing or empty list names none."""
    wanted = [set(map(str, layers.get(key) or ())) if layers else set() for key in Variant._fields]
    return [variant for variant in chosen if all(str(value) in values for value, values in zip(variant, wanted))]


def studied(study: dict, task: str) -> dict:
    """A study's block of the config, for a task: `single` is only for boxes, so other tasks get `split` instead.

    A classifier gets `as_is`, the only head that it has.
    """
    if task == TASK_OF_SINGLE:
        return study
    head = study["head"]
    if isinstance(head, list):
        return study | {"head": [each for each in head if each != SINGLE] or [SPLIT]}
    if task == CLASSIFY:
        return study | {"head": AS_IS}
    return study | {"head": SPLIT if head == SINGLE else head}


def built(run: Path, sweep: dict[str, list], models: Iterable[str]) -> list[Variant]:
    """Variants of `models` that were judged and evaluated in the folder `run` and are not in a sweep, sorted."""
    known = {variant.path() for variant in variants(*(map(str, sweep[key]) for key in Variant._fields))}
    paths = [path.parent.relative_to(run / "rknn") for path in (run / "rknn").glob("*/*/*/*/verdict.json")]
    return sorted(
        (
            Variant.from_path(path.as_posix())
            for path in paths
            if path not in known and path.parts[0] in models and (run / "metrics" / f"{path}.json").is_file()
        ),
        key=Variant.order,
    )
