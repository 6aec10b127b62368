"""Data sets in Ultralytics' layout: `images/…/NAME.jpg` beside `labels/…/NAME.txt`, `class cx cy w h` a line.

Here they are kept flat: `DATASET/images/NAME.jpg`, `DATASET/labels/NAME.txt` (empty for a background image).
Layout: https://docs.ultralytics.com/datasets/detect/
"""

import csv
import math
import random
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from lib.errors import UserError
from lib.files import require, whole

PICTURES = (".jpg", ".jpeg", ".png")
CALIBRATION, EVALUATION = "calibration", "evaluation"
# What `evaluation.images` of the config means.
PARTS = {"heldout": (EVALUATION,), "all": (CALIBRATION, EVALUATION)}
BORDER_TOLERANCE = 1e-3  # of the picture's side; labels are rounded to a few digits


def read_names(names: list[str]) -> list[str]:
    """Class names as given: the names themselves, or one file with a name a line.

    Raises UserError when a name is missing, empty or there twice.
    """
    if len(names) == 1 and Path(names[0]).is_file():
        names = Path(names[0]).read_text().splitlines()
        names = names[: len(names) - (bool(names) and not names[-1].strip())]
    names = [name.strip() for name in names]
    if not names or not all(names) or len(set(names)) != len(names):
        raise UserError(f"class names must be distinct and not empty, one a line in a file or one an argument: {names}")
    return names


def picture_paths(folder: Path) -> list[Path]:
    """Every picture below `folder` (jpg, jpeg, png in any case), sorted by its path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())


def read_picture(path) -> np.ndarray:
    """A picture as uint8 RGB [height, width, 3], turned as its EXIF says.

    Raises UserError naming the file when it cannot be decoded.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except (OSError, cv2.error):
        picture = None
    if picture is None:
        raise UserError(f"picture {path} cannot be decoded; replace it or take it out of the data set")
    return np.ascontiguousarray(picture[:, :, ::-1])


def read_labels(path: Path, classes: int) -> np.ndarray:
    """Boxes of one label file as float64 [n, 5]: class, then cx, cy, w, h as fractions of the picture's sides.

    Raises UserError naming file and line for a line that is not five numbers, a class outside 0..classes-1, or a box
    that is empty or leaves the picture.
    """
    boxes = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            box = [float(word) for word in line.split()]
        except ValueError:
            box = []
        where = f"label {path}, line {number} ('{line.strip()[:60]}')"
        if len(box) != 5 or not all(map(math.isfinite, box)):
            raise UserError(f"{where} is not five numbers 'class cx cy w h'")
        if box[0] != int(box[0]) or not 0 <= box[0] < classes:
            raise UserError(f"{where}: class {box[0]:g} is not in 0..{classes - 1}; the data set has {classes} names")
        boxes.append(box)
        _, cx, cy, w, h = box
        edges = (cx - w / 2, cy - h / 2, 1 - cx - w / 2, 1 - cy - h / 2)
        if w <= 0 or h <= 0 or min(edges) < -BORDER_TOLERANCE:
            raise UserError(f"{where}: the box is empty or leaves the picture; numbers are fractions of its sides")
    return np.array(boxes, dtype=np.float64).reshape(-1, 5)


def boxes_in_pixels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels [n, 5] as `read_labels` gives them, as class, x1, y1, x2, y2 in pixels of a picture `size` (w, h)."""
    centre, half = labels[:, 1:3] * size, labels[:, 3:5] * size / 2
    return np.concatenate([labels[:, :1], centre - half, centre + half], axis=1)


def read_boxes(dataset: Path, picture: str, size: tuple[int, int], classes: int) -> np.ndarray:
    """A picture's labelled boxes [n, 5] as class, x1, y1, x2, y2 in its pixels; `size` is its width and height."""
    return boxes_in_pixels(read_labels(dataset / "labels" / f"{Path(picture).stem}.txt", classes), size)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into `folder`. Raises UserError, before anything is written, for a member that would leave it."""
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/"))
                is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
                if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or is_link:
                    raise UserError(
                        f"archive {archive} is refused: its member '{member.filename}' would leave the folder"
                    )
            file.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"archive {archive} is no readable zip ({error})") from None


class Gathered(NamedTuple):
    """What a data set holds: pictures, how many of them are background only, boxes, and labels without a picture."""

    pictures: int
    background: int
    boxes: int
    orphans: tuple[str, ...]


def gather(source: Path, images: Path, labels: Path, classes: int) -> Gathered:
    """Copy the pictures and labels below `source` into two new flat folders, every label checked.

    Raises UserError when there is no `images` folder or it is empty, two pictures share a name, or a label is broken.
    """
    found = _images_folder(source)
    pictures = picture_paths(found)
    if not pictures:
        raise UserError(f"{found} holds no picture (jpg, jpeg, png)")
    label_root = found.parent / "labels"
    wanted = {}
    for picture in pictures:
        if picture.stem in wanted:
            raise UserError(
                f"two pictures are called '{picture.stem}': {wanted[picture.stem]} and {picture}; rename one"
            )
        wanted[picture.stem] = picture
    images.mkdir()
    labels.mkdir()
    background = boxes = 0
    for stem, picture in wanted.items():
        label = label_root / picture.relative_to(found).with_suffix(".txt")
        count = len(read_labels(label, classes)) if label.exists() else 0
        boxes += count
        background += not count
        shutil.copyfile(picture, images / picture.name)
        target = labels / f"{stem}.txt"
        shutil.copyfile(label, target) if label.exists() else target.touch()
    orphans = tuple(path.name for path in sorted(label_root.rglob("*.txt")) if path.stem not in wanted)
    return Gathered(len(wanted), background, boxes, orphans)


def _images_folder(source: Path) -> Path:
    candidates = [source / "images", *sorted(path for path in source.rglob("images") if path != source / "images")]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise UserError(f"{source} holds no folder 'images'; the layout is images/NAME.jpg beside labels/NAME.txt")


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


def labelled_pictures(dataset: Path, classes: int) -> list[str]:
    """The evaluation pictures that have a label, sorted. Raises UserError for a broken label, as `read_labels` does."""
    pictures = read_split(require(dataset / "split.csv", "split"), (EVALUATION,))
    return [name for name in pictures if len(read_labels(dataset / "labels" / f"{Path(name).stem}.txt", classes))]
