"""Labels in Ultralytics' layout: one `class x1 y1 x2 y2 x3 y3 x4 y4` per line, corners as fractions of the sides.

Layout: https://docs.ultralytics.com/datasets/obb/. The object is the rectangle of least area around the corners, as
Ultralytics makes it of them. A line of ours may end in `crowd` or `difficult`, as in lib.tasks.detect.labels.
"""

import math
from pathlib import Path

import numpy as np

from lib.data.dataset import CheckedLabel
from lib.detector.instances import IGNORED, Instances
from lib.step.errors import UserError
from lib.step.files import read_text, require
from lib.tasks.detect.labels import MARKS, NUMBER
from lib.tasks.obb.rectangles import boxes_around, of_corners

NUMBERS = 9
LAYOUT = "class x1 y1 x2 y2 x3 y3 x4 y4"
# Ultralytics' (`verify_image_label`): corners of what an edge of the image cuts may lie so far outside.
BORDER_TOLERANCE = 0.01
THINNEST = 1e-5  # of the image's side; thinner ones are four corners on a line, which rounding gives a width


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text stays where it is plain: none of its lines twice, in ASCII.

    Lines are duplicates where Ultralytics drops them: of the same numbers in float32. Raises UserError naming file and
    line for a line that is no rotated box, a class outside 0..classes-1, or corners that leave the image or enclose
    nothing, and for a file that is missing or no text.
    """
    rows = _rows(path, classes)
    distinct = {}
    for row, mark in rows:
        distinct.setdefault((*np.float32(row), mark), (row, mark))
    duplicates = len(rows) - len(distinct)
    text = None
    if not rows:
        text = ""
    elif duplicates or not path.read_bytes().isascii():
        lines = (f"{int(row[0])} {' '.join(map(repr, row[1:]))} {mark}".rstrip() for row, mark in distinct.values())
        text = "".join(f"{line}\n" for line in lines)
    ignored = sum(bool(mark) for _, mark in distinct.values())
    return CheckedLabel(len(distinct) - ignored, 0, text, duplicates, ignored=ignored)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The rotated boxes of a label file in pixels of its image `size` (width, height). Raises as `check_label`.

    Where some are crowds or difficult, extras[IGNORED] says which.
    """
    rows = _rows(path, classes)
    numbers = np.array([row for row, _ in rows], np.float64).reshape(-1, NUMBERS)
    rotated = of_corners(numbers[:, 1:].reshape(-1, 4, 2) * size)
    marks = np.array([MARKS[mark] for _, mark in rows], np.uint8)
    extras = {"rotated": rotated} | ({IGNORED: marks} if marks.any() else {})
    boxes = np.clip(boxes_around(rotated), 0, (*size, *size))
    return Instances(boxes, np.ones(len(rows)), numbers[:, 0].astype(int), extras)


def _rows(path: Path, classes: int) -> list[tuple[list[float], str]]:
    """The numbers of each line of a label file that holds some, checked, and its mark. Raises as `check_label`."""
    rows = []
    for number, line in enumerate(read_text(require(path, "label")).splitlines(), start=1):
        if line.strip():
            words = line.split()
            mark = words.pop() if words[-1] in MARKS and len(words) == NUMBERS + 1 else ""
            row = [float(word) if NUMBER.fullmatch(word) else math.nan for word in words]
            _check_row(row, classes, f"label {path}, line {number} ('{line.strip()[:60]}')")
            rows.append((row, mark))
    return rows


def _check_row(row: list[float], classes: int, where: str) -> None:
    if not all(map(math.isfinite, row)):
        raise UserError(f"{where} is not nine numbers '{LAYOUT}'")
    if len(row) == 5:
        raise UserError(f"{where} is a box without an angle, for the task detect; a rotated box is '{LAYOUT}'")
    if len(row) != NUMBERS:
        raise UserError(
            f"{where} has {len(row)} numbers; a rotated box has nine, '{LAYOUT}' (keypoints and other polygons are for "
            "the tasks pose and segment)"
        )
    if row[0] != int(row[0]) or not 0 <= row[0] < classes:
        raise UserError(f"{where}: class {row[0]:g} is not in 0..{classes - 1}; the data set has {classes} names")
    if min(row[1:]) < -BORDER_TOLERANCE or max(row[1:]) > 1 + BORDER_TOLERANCE:
        raise UserError(f"{where}: a corner leaves the image; numbers are fractions of its sides")
    if min(of_corners(np.reshape(row[1:], (1, 4, 2)))[0, 2:4]) < THINNEST:
        raise UserError(f"{where}: the four corners lie on a line, so the box is empty")
