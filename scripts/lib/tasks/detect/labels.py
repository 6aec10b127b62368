"""Labels in Ultralytics' layout: one `class cx cy w h` per line, as fractions of the image's sides.

Layout: https://docs.ultralytics.com/datasets/detect/
"""

import math
from pathlib import Path

import numpy as np

from lib.data.dataset import CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.step.files import read_text, require

BORDER_TOLERANCE = 1e-3  # of the image's side; labels are rounded to a few digits


def parse_labels(path: Path, classes: int) -> tuple[np.ndarray, int]:
    """Boxes of one label file as float64 [n, 5]: class, then cx, cy, w, h as fractions of the image's sides.

    A polygon, `class x1 y1 x2 y2 …` of three points or more, counts as its bounding box; the second value is how many
    there were. Raises UserError naming file and line for a line that is neither, a class outside 0..classes-1, or a
    box that is empty or leaves the image, and for a file that is missing or no text.
    """
    boxes, polygons = [], 0
    for number, line in enumerate(read_text(require(path, "label")).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            box = [float(word) for word in line.split()]
        except ValueError:
            box = []
        where = f"label {path}, line {number} ('{line.strip()[:60]}')"
        if len(box) >= 7 and len(box) % 2 and all(map(math.isfinite, box)):
            polygons += 1
            box = [box[0], *_around(box[1::2], box[2::2])]
        if len(box) != 5 or not all(map(math.isfinite, box)):
            raise UserError(f"{where} is not five numbers 'class cx cy w h', nor a polygon 'class x1 y1 x2 y2 x3 y3 …'")
        if box[0] != int(box[0]) or not 0 <= box[0] < classes:
            raise UserError(f"{where}: class {box[0]:g} is not in 0..{classes - 1}; the data set has {classes} names")
        boxes.append(box)
        _, cx, cy, w, h = box
        edges = (cx - w / 2, cy - h / 2, 1 - cx - w / 2, 1 - cy - h / 2)
        if w <= 0 or h <= 0 or min(edges) < -BORDER_TOLERANCE:
            raise UserError(f"{where}: the box is empty or leaves the image; numbers are fractions of its sides")
    return np.array(boxes, dtype=np.float64).reshape(-1, 5), polygons


def _around(xs: list[float], ys: list[float]) -> tuple[float, float, float, float]:
    """cx, cy, w, h of the box around points."""
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text stays where it is plain: boxes alone, in ASCII.

    Raises UserError as `parse_labels` does.
    """
    boxes, polygons = parse_labels(path, classes)
    text = None
    if not len(boxes):
        text = ""
    elif polygons or not path.read_bytes().isascii():
        text = "".join(f"{int(kind)} {' '.join(map(repr, map(float, box)))}\n" for kind, *box in boxes)
    return CheckedLabel(len(boxes), polygons, text)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The boxes of a label file in pixels of its image `size` (width, height). Raises as `parse_labels`."""
    labels, _ = parse_labels(path, classes)
    centre, half = labels[:, 1:3] * size, labels[:, 3:5] * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return Instances(boxes, np.ones(len(labels)), labels[:, 0].astype(int))
