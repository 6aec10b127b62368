"""Which images of a data set calibrate and which are evaluated on, by the parts that it comes in.

`train` is what a model was trained on: calibration images are drawn from it, and mAP is measured on `val` or `test`.
The file parts.csv says of each image that was kept which part of its source it is of.
"""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from lib.data.dataset import flat_names
from lib.data.formats.source import Item, Source
from lib.data.split import CALIBRATION, EVALUATION, read_split, shuffled
from lib.step.errors import UserError
from lib.step.files import whole

TRAIN = "train"
EVALUATED = ("val", "test")
HEADER = ("image", "part")


@dataclass(frozen=True)
class Wanted:
    """What a run wants of a data set: the part to evaluate on, how many images in the pool, drawn by which seed."""

    part: str
    pool: int
    seed: int


def kept(source: Source, calibration: Source | None, wanted: Wanted) -> Source:
    """The images of a data set that a run needs: the part to evaluate on, and the pool drawn from train.

    calibration: another source of the pool. Without it, and without the wanted part, the images are all kept for a
    split to be drawn: those of train, or all where there are no parts. Raises UserError when the pool is too small.
    """
    parts = Counter(item.part for item in source.items)
    if calibration is not None:
        held = _evaluated(source, wanted) or source.items
        pool = [item for item in calibration.items if item.part in ("", TRAIN)] or list(calibration.items)
        return _joined(source, held, pool, str(calibration.place), wanted, calibration)
    if set(parts) == {""}:
        return source
    held, pool = _evaluated(source, wanted), [item for item in source.items if item.part == TRAIN]
    if not held:
        others = [part for part in EVALUATED if parts[part]]
        note = f"; it has {others[0]}: set evaluation.part to it" if others else ""
        if not pool:
            raise UserError(f"{source.place} has no part '{wanted.part}'{note}")
        remark = (
            f"WARNING: {source.place.name} has no part '{wanted.part}'{note}; the held-out images are drawn from its "
            "train part, so a model may have been trained on them"
        )
        return replace(source, items=tuple(pool), remarks=(*source.remarks, remark))
    if not pool or {item.image for item in pool} <= {item.image for item in held}:
        remark = (
            f"WARNING: train and {wanted.part} of {source.place.name} are the same images: a model was trained on them"
        )
        trained = tuple(replace(item, part=TRAIN if pool else item.part) for item in held)
        return replace(source, items=trained, remarks=(*source.remarks, *([remark] if pool else [])))
    return _joined(source, held, pool, f"train of {source.place}", wanted, None)


def _evaluated(source: Source, wanted: Wanted) -> tuple[Item, ...]:
    return tuple(item for item in source.items if item.part == wanted.part)


def _joined(
    source: Source, held: tuple[Item, ...], pool: list[Item], where: str, wanted: Wanted, other: Source | None
) -> Source:
    """The images to evaluate on, with a pool drawn from those of `pool`, from `where`, that are not among them."""
    remarks = [*source.remarks, *(other.remarks if other else ())]
    evaluated = {item.image.resolve() for item in held}
    free = [item for item in pool if item.image.resolve() not in evaluated]
    if len(free) < len(pool):
        remarks.append(
            f"WARNING: {len(pool) - len(free)} images of {where} are evaluated on too; none of them calibrates"
        )
    if len(free) < wanted.pool:
        raise UserError(f"split.calibration asks for {wanted.pool} images, {where} holds {len(free)}; ask for fewer")
    # By name, so that a folder that was unpacked elsewhere gives the same draw.
    named = flat_names(replace(source, items=tuple(free), renames=True))
    drawn = [named[name] for name in shuffled(list(named), wanted.seed)[: wanted.pool]]
    # What another source says of its images is of its own classes, and is not asked for.
    pooled = [replace(item, part=CALIBRATION, label=None) if other else item for item in drawn]
    return replace(source, items=(*held, *pooled), remarks=tuple(remarks), renames=True)


def write_parts(path, parts: dict[str, str]) -> None:
    """Write parts.csv: columns image, part; the part is empty where the source has none."""
    with whole(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(sorted(parts.items()))


def read_parts(path: Path) -> dict[str, str]:
    """The part of each image, `{image: part}`; of none where there is no such file. Raises UserError when damaged."""
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    if not rows or rows[0] != HEADER or any(len(row) != 2 for row in rows):
        raise UserError(
            f"{path} is damaged: it is no table of image,part; delete it and run the step that makes it again"
        )
    return dict(rows[1:])


def evaluated_part(dataset: Path) -> str:
    """The part that the held-out images of a data set's folder are of; empty where its source had no parts."""
    parts = read_parts(dataset / "parts.csv")
    held = read_split(dataset / "split.csv", (EVALUATION,), dataset / "images") if any(parts.values()) else []
    return ", ".join(sorted({parts[name] for name in held} - {""}))


def pool_of(parts: dict[str, str]) -> list[str] | None:
    """The images that calibrate, where parts.csv decides it; None where a split has to be drawn."""
    kinds = set(parts.values())
    if CALIBRATION in kinds:
        return [name for name, part in parts.items() if part == CALIBRATION]
    if TRAIN in kinds and len(kinds) > 1:
        return [name for name, part in parts.items() if part == TRAIN]
    return None
