"""The split of a data set into calibration pool and evaluation set, which share no image."""

import csv
import random

from lib.step.errors import UserError
from lib.step.files import whole

CALIBRATION, EVALUATION = "calibration", "evaluation"
# What `evaluation.images` of the config means.
PARTS = {"heldout": (EVALUATION,), "all": (CALIBRATION, EVALUATION)}


def split(pictures: list[str], calibration: int, seed: int) -> dict[str, str]:
    """Assign each picture to the calibration pool or the evaluation set: `{picture: part}`, sorted, disjoint.

    The same `seed` and pictures give the same split. Raises UserError when nothing would be left to evaluate on.
    """
    pictures = sorted(pictures)
    if not 0 < calibration < len(pictures):
        raise UserError(
            f"split.calibration asks for {calibration} of {len(pictures)} pictures; each side needs at least one"
        )
    pool = set(shuffled(pictures, seed)[:calibration])
    return {picture: CALIBRATION if picture in pool else EVALUATION for picture in pictures}


def shuffled(items: list[str], seed: int) -> list[str]:
    """`items` in an order that depends on nothing but them and `seed`; a longer cut begins with the shorter one."""
    items = sorted(items)
    random.Random(seed).shuffle(items)
    return items


def write_split(path, parts: dict[str, str]) -> None:
    """Write `split.csv`: columns image, part."""
    with whole(path) as part, open(part, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "part"])
        writer.writerows(parts.items())


def read_split(path, parts: tuple[str, ...]) -> list[str]:
    """The pictures of the named parts in a `split.csv`, sorted."""
    with open(path, newline="") as file:
        return sorted(row["image"] for row in csv.DictReader(file) if row["part"] in parts)
