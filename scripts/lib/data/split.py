"""Splits a data set into the calibration pool and the evaluation set, which share no image."""

import csv
import random
from pathlib import Path

from lib.data.image_paths import image_paths
from lib.step.errors import UserError
from lib.step.files import require, whole

HEADER = ("image", "part")

CALIBRATION, EVALUATION = "calibration", "evaluation"
# The parts that each value of `evaluation.images` in the config stands for.
PARTS = {"heldout": (EVALUATION,), "all": (CALIBRATION, EVALUATION)}


def split(images: list[str], calibration: int, seed: int) -> dict[str, str]:
    """Assign each image to the calibration pool or the evaluation set: `{image: part}`, sorted, disjoint.

    The same `seed` and images give the same split. Raises UserError when nothing would be left to evaluate on.
    """
    images = sorted(images)
    if not 0 < calibration < len(images):
        most = f"; set it to {len(images) - 1} or less" if len(images) > 1 else ""
        raise UserError(
            f"split.calibration asks for {calibration} of {len(images)} images; each side needs at least one{most}"
        )
    pool = set(shuffled(images, seed)[:calibration])
    return {image: CALIBRATION if image in pool else EVALUATION for image in images}


def shuffled(items: list[str], seed: int) -> list[str]:
    """`items` in an order that depends only on them and `seed`; the first n of it begin with the first n - 1."""
    items = sorted(items)
    random.Random(seed).shuffle(items)
    return items


def write_split(path, parts: dict[str, str]) -> None:
    """Write `split.csv`: columns image, part."""
    with whole(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(parts.items())


def read_split(path: Path, parts: tuple[str, ...], images: Path) -> list[str]:
    """The images of the named parts in a `split.csv`, sorted.

    Raises UserError when it is missing or damaged, or does not name every image of the folder `images` once.
    """
    remedy = f"delete {path} and run again"
    with open(require(path, "split"), encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    if not rows or rows[0] != HEADER or any(len(row) != 2 or row[1] not in PARTS["all"] for row in rows[1:]):
        raise UserError(f"{path} is damaged: it is not a table of image,part; {remedy}")
    named, here = [name for name, _ in rows[1:]], [path.name for path in image_paths(images)]
    if sorted(named) != sorted(here):
        different = sorted(set(named) ^ set(here))
        raise UserError(
            f"{path} lists {len(named)} images, but {images} has {len(here)}"
            f"{f' ({different[0]} is in only one of them)' if different else ''}; {remedy}"
        )
    return sorted(name for name, part in rows[1:] if part in parts)
