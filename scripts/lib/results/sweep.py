"""A sweep: its variants, and what is wrong with a config that asks for one."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

from lib.data.imgsz import parse_imgsz
from lib.data.sources import missing_checksum
from lib.step.config import form_problems, nearest
from lib.step.errors import UserError

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
    return sorted((Variant(*each) for each in product(model, imgsz, head, algorithm, max_images)), key=Variant.order)


def problems(config: dict, schema: dict) -> list[str]:
    """Every problem of `config`, a sentence each: first those of form, then (if there are none) those between keys."""
    return form_problems(config, schema) or list(dict.fromkeys(_relations(config)))


def _relations(config: dict):
    sweep, study = config["sweep"], config["calibration_study"]
    for key, names in (("sweep", sweep["model"]), ("calibration_study", [study["model"]])):
        for name in names:
            if name not in config["models"]:
                yield f"{key}.model names '{name}'{nearest(name, sorted(config['models']))}; describe it under models"
            else:
                yield from _model_problems(name, config["models"][name])
    for key, sizes in (("sweep", sweep["imgsz"]), ("calibration_study", [study["imgsz"]])):
        for size in sizes:
            try:
                spelling = str(parse_imgsz(size))
            except UserError as error:
                yield f"{key}.imgsz: {error}"
            else:
                if spelling != str(size):
                    yield f"{key}.imgsz: write {spelling} for the square '{size}'"
    pool = config["split"]["calibration"]
    for count in sweep["max_images"]:
        if count > pool:
            yield f"sweep.max_images asks for {count} calibration images, the pool (split.calibration) holds {pool}"
    for name, values in sweep.items():
        if len(set(map(str, values))) < len(values):
            yield f"sweep.{name} names a value twice: {', '.join(map(str, values))}"


def _model_problems(name: str, model: dict):
    if "cfg" in model:
        return
    if not model.get("sha256"):
        yield f"models.{name}: {missing_checksum(model['weights'])}"
    if "names" in model:
        yield f"models.{name}.names belongs to a Darknet model, one with cfg; a checkpoint holds its own names"
