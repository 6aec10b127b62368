"""Which images of a data set are for calibration and which for evaluation, by its parts (train, val, test).

A model was trained on `train`: calibration images are drawn from it, and mAP is measured on `val` or `test`. The file
parts.csv gives the source's part of each image that was kept.
"""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from lib.data.dataset import flat_names
from lib.data.formats.source import EVALUATED, TRAIN, Item, Source
from lib.data.split import CALIBRATION, EVALUATION, read_split, shuffled
from lib.step.errors import UserError
from lib.step.files import whole

HEADER = ("image", "part")


@dataclass(frozen=True)
class Wanted:
    """What a run needs from a data set: the part to evaluate on, the number of images in the pool, the draw's seed."""

    part: str
    pool: int
    seed: int


def kept(source: Source, calibration: Source | None, wanted: Wanted) -> Source:
    """The images of a data set that a run needs: the part to evaluate on, and the pool drawn from train.

    calibration: another source for the pool. Without it, and without the wanted part, images are kept for a split to be
    drawn later: those of train, or all where there are no parts. Raises UserError when the pool is too small.
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
        note = f"; it has {others[0]}: set evaluation.part to {others[0]}" if others else ""
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
            f"WARNING: {len(pool) - len(free)} images of {where} are also in the evaluation set; they are not used for "
            "calibration"
        )
    if len(free) < wanted.pool:
        raise UserError(f"split.calibration asks for {wanted.pool} images, but {where} has {len(free)}; ask for fewer")
    # Sorted by name, so that a data set unpacked elsewhere gives the same draw.
    named = flat_names(replace(source, items=tuple(free), renames=True))
    drawn = [named[name] for name in shuffled(list(named), wanted.seed)[: wanted.pool]]
    # Another source's labels are for its own classes, and are not needed.
    pooled = [replace(item, part=CALIBRATION, label=None) if other else item for item in drawn]
    return replace(source, items=(*held, *pooled), remarks=tuple(remarks), renames=True)


def write_parts(path, parts: dict[str, str]) -> None:
    """Write parts.csv: columns image, part; the part is empty where the source has none."""
    with whole(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(sorted(parts.items()))


def read_parts(path: Path) -> dict[str, str]:
    """The part of each image, `{image: part}`; empty without such a file. Raises UserError for a damaged one."""
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    if not rows or rows[0] != HEADER or any(len(row) != 2 for row in rows):
        raise UserError(f"{path} is damaged: it is not a table of image,part; delete it and run again")
    return dict(rows[1:])


def evaluated_part(dataset: Path) -> str:
    """The part that the held-out images of a data set's folder come from; empty where its source had no parts."""
    parts = read_parts(dataset / "parts.csv")
    held = read_split(dataset / "split.csv", (EVALUATION,), dataset / "images") if any(parts.values()) else []
    return ", ".join(sorted({parts[name] for name in held} - {""}))


def pool_of(parts: dict[str, str]) -> list[str] | None:
    """The calibration images, where parts.csv decides them; None where a split has to be drawn."""
    kinds = set(parts.values())
    if CALIBRATION in kinds:
        return [name for name, part in parts.items() if part == CALIBRATION]
    if TRAIN in kinds and len(kinds) > 1:
        return [name for name, part in parts.items() if part == TRAIN]
    return None
