"""Labels in Ultralytics' layout: one `class cx cy w h` per line, as fractions of the image's sides.

Layout: https://docs.ultralytics.com/datasets/detect/. A line of ours may end in `crowd` or `difficult`: what is
detected there counts neither way.
"""

import math
import re
from pathlib import Path

import numpy as np

from lib.data.dataset import FOR_A_DETECTOR, CheckedLabel
from lib.data.formats.source import CROWD, DIFFICULT
from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_DIFFICULT, Instances
from lib.step.errors import UserError
from lib.step.files import read_text, require

# Python's float() also takes 0_1, which is 1, and the digits of other scripts.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
MARKS = {"": 0, DIFFICULT: IGNORED_DIFFICULT, CROWD: IGNORED_CROWD}
BORDER_TOLERANCE = 1e-3  # of the image's side; labels are rounded to a few digits


def parse_labels(path: Path, classes: int) -> tuple[np.ndarray, int]:
    """Boxes of one label file as float64 [n, 5]: class, then cx, cy, w, h as fractions of the image's sides.

    A polygon, `class x1 y1 x2 y2 …` of three points or more, counts as its bounding box; the second value is how many
    there were. Raises UserError naming file and line for a line that is neither, a class outside 0..classes-1, or a
    box that is empty or leaves the image, and for a file that is missing or no text.
    """
    rows = [row for row, _ in _rows(path, classes)]
    return _boxes(rows), sum(map(_is_polygon, rows))


def _rows(path: Path, classes: int) -> list[tuple[list[float], str]]:
    """The numbers of each line of a label file that holds some, checked, and its mark. Raises as `parse_labels`."""
    rows = []
    for number, line in enumerate(read_text(require(path, "label")).splitlines(), start=1):
        if line.strip():
            words = line.split()
            mark = words.pop() if words[-1] in MARKS and len(words) == 6 else ""
            row = [float(word) if NUMBER.fullmatch(word) else math.nan for word in words]
            _check_row(row, classes, f"label {path}, line {number} ('{line.strip()[:60]}')")
            rows.append((row, mark))
    return rows


def _check_row(row: list[float], classes: int, where: str) -> None:
    # What may be a polygon is judged by all lines of the data set (CheckedLabel.keypoints); this cannot be one.
    if len(row) > 5 and not _is_whole_polygon(row) and _may_be_keypoints(row):
        raise UserError(f"{where} is a box and keypoints, a label for pose; {FOR_A_DETECTOR}")
    if not (len(row) == 5 or _is_polygon(row)) or not all(map(math.isfinite, row)):
        raise UserError(f"{where} is not five numbers 'class cx cy w h', nor a polygon 'class x1 y1 x2 y2 x3 y3 …'")
    if row[0] != int(row[0]) or not 0 <= row[0] < classes:
        raise UserError(f"{where}: class {row[0]:g} is not in 0..{classes - 1}; the data set has {classes} names")
    if not _in_image(*_box(row)[1:]):
        raise UserError(f"{where}: the box is empty or leaves the image; numbers are fractions of its sides")


def _in_image(cx: float, cy: float, w: float, h: float) -> bool:
    edges = (cx - w / 2, cy - h / 2, 1 - cx - w / 2, 1 - cy - h / 2)
    return w > 0 and h > 0 and min(edges) >= -BORDER_TOLERANCE


def _is_polygon(row: list[float]) -> bool:
    return len(row) >= 7 and len(row) % 2 == 1


def _is_whole_polygon(row: list[float]) -> bool:
    return _is_polygon(row) and _in_image(*_box(row)[1:])


def _box(row: list[float]) -> list[float]:
    """class, cx, cy, w, h of a row; of a polygon, of the box around it."""
    return [row[0], *_around(row[1::2], row[2::2])] if _is_polygon(row) else row


def _may_be_keypoints(row: list[float]) -> bool:
    """Whether the numbers of a row may be a label for pose: a box in the image and the keypoints in it.

    Those are x and y each, or x, y and how visible the point is (0, 1, 2); 0, 0 is a point that is not labelled.
    Layout: https://docs.ultralytics.com/datasets/pose/
    """
    cx, cy, w, h = row[1:5]
    across, down = w / 2 + BORDER_TOLERANCE, h / 2 + BORDER_TOLERANCE
    return _in_image(cx, cy, w, h) and any(
        all((x, y) == (0, 0) or (abs(x - cx) <= across and abs(y - cy) <= down) for x, y in points)
        for points in _keypoints(row)
    )


def _keypoints(row: list[float]):
    """The points of each reading of a row as a box and keypoints."""
    if (len(row) - 5) % 2 == 0:
        yield list(zip(row[5::2], row[6::2]))
    if (len(row) - 5) % 3 == 0 and set(row[7::3]) <= {0, 1, 2}:
        yield list(zip(row[5::3], row[6::3]))


def _boxes(rows: list[list[float]]) -> np.ndarray:
    return np.array([_box(row) for row in rows], dtype=np.float64).reshape(-1, 5)


def _around(xs: list[float], ys: list[float]) -> tuple[float, float, float, float]:
    """cx, cy, w, h of the box around points."""
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text stays where it is plain: boxes alone, none of them twice, in ASCII.

    Lines are duplicates where Ultralytics (`verify_image_label`) drops them: of the same numbers in float32. Two
    polygons with the same box around them are two objects. Raises UserError as `parse_labels` does.
    """
    rows = _rows(path, classes)
    distinct = {}
    for row, mark in rows:
        distinct.setdefault((*np.float32(row), mark), (row, mark))
    kept, duplicates = [row for row, _ in distinct.values()], len(rows) - len(distinct)
    marks = [mark for _, mark in distinct.values()]
    polygons = sum(map(_is_polygon, kept))
    text = None
    if not kept:
        text = ""
    elif polygons or duplicates or not path.read_bytes().isascii():
        lines = (f"{int(kind)} {' '.join(map(repr, map(float, box)))}" for kind, *box in _boxes(kept))
        text = "".join(f"{line} {mark}".rstrip() + "\n" for line, mark in zip(lines, marks))
    keypoints = sum(_is_polygon(row) and _may_be_keypoints(row) for row in kept)
    lengths = frozenset(len(row) for row in kept if _is_polygon(row))
    ignored = sum(map(bool, marks))
    return CheckedLabel(len(kept) - ignored, polygons, text, duplicates, keypoints, lengths, ignored)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The boxes of a label file in pixels of its image `size` (width, height). Raises as `parse_labels`.

    Where some are crowds or difficult, extras[IGNORED] says which.
    """
    rows = _rows(path, classes)
    labels = _boxes([row for row, _ in rows])
    marks = np.array([MARKS[mark] for _, mark in rows], np.uint8)
    centre, half = labels[:, 1:3] * size, labels[:, 3:5] * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    extras = {IGNORED: marks} if marks.any() else {}
    return Instances(boxes, np.ones(len(labels)), labels[:, 0].astype(int), extras)
