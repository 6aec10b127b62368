"""The split of a data set into calibration pool and evaluation set, which share no image."""

import csv
import random
from pathlib import Path

from lib.data.image_paths import image_paths
from lib.step.errors import UserError
from lib.step.files import require, whole

HEADER = ("image", "part")

CALIBRATION, EVALUATION = "calibration", "evaluation"
# What `evaluation.images` of the config means.
PARTS = {"heldout": (EVALUATION,), "all": (CALIBRATION, EVALUATION)}


def split(images: list[str], calibration: int, seed: int) -> dict[str, str]:
    """Assign each image to the calibration pool or the evaluation set: `{image: part}`, sorted, disjoint.

    The same `seed` and images give the same split. Raises UserError when nothing would be left to evaluate on.
    """
    images = sorted(images)
    if not 0 < calibration < len(images):
        raise UserError(
            f"split.calibration asks for {calibration} of {len(images)} images; each side needs at least one"
        )
    pool = set(shuffled(images, seed)[:calibration])
    return {image: CALIBRATION if image in pool else EVALUATION for image in images}


def shuffled(items: list[str], seed: int) -> list[str]:
    """`items` in an order that depends on nothing but them and `seed`; a longer cut begins with the shorter one."""
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
    again = f"delete {path} and run the step that makes it again"
    with open(require(path, "split"), encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    if not rows or rows[0] != HEADER or any(len(row) != 2 or row[1] not in PARTS["all"] for row in rows[1:]):
        raise UserError(f"{path} is damaged: it is no table of image,part; {again}")
    named, here = [name for name, _ in rows[1:]], [path.name for path in image_paths(images)]
    if sorted(named) != sorted(here):
        different = sorted(set(named) ^ set(here))
        raise UserError(
            f"{path} names {len(named)} images, {images} holds {len(here)}"
            f"{f' (one of them alone has {different[0]})' if different else ''}; {again}"
        )
    return sorted(name for name, part in rows[1:] if part in parts)
