"""Labels in Ultralytics' layout: one `class cx cy w h` per line, as fractions of the image's sides.

Layout: https://docs.ultralytics.com/datasets/detect/. A line of ours may end in `crowd` or `difficult`: what is
detected there counts neither way.
"""

import math
from pathlib import Path

import numpy as np

from lib.data.dataset import FOR_A_DETECTOR, CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.tasks.label_rows import Row, demand_class, distinct, marks_of, rows_of

BORDER_TOLERANCE = 1e-3  # of the image's side; labels are rounded to a few digits


def _rows(path: Path, classes: int) -> list[Row]:
    """The lines of a label file that hold some numbers, checked. Raises as `check_label`."""
    rows = rows_of(path, may_be_marked=lambda count: count == 5)
    for row in rows:
        _check_row(row, classes)
    return rows


def _check_row(row: Row, classes: int) -> None:
    numbers, where = row.numbers, row.where
    # What may be a polygon is judged by all lines of the data set (CheckedLabel.keypoints); this cannot be one.
    if is_box_and_keypoints(numbers):
        raise UserError(f"{where} is a box and keypoints, a label for pose; {FOR_A_DETECTOR}")
    if not (len(numbers) == 5 or is_polygon(numbers)) or not all(map(math.isfinite, numbers)):
        raise UserError(f"{where} is not five numbers 'class cx cy w h', nor a polygon 'class x1 y1 x2 y2 x3 y3 …'")
    demand_class(row, classes)
    if not in_image(*box_of(numbers)[1:]):
        raise UserError(f"{where}: the box is empty or leaves the image; numbers are fractions of its sides")


def is_box_and_keypoints(row: list[float]) -> bool:
    """Whether the numbers of a row are a label for pose, and no polygon in the image."""
    return len(row) > 5 and not _is_whole_polygon(row) and _may_be_keypoints(row)


def in_image(cx: float, cy: float, w: float, h: float) -> bool:
    """Whether a box has an area and lies in the image, to rounding."""
    edges = (cx - w / 2, cy - h / 2, 1 - cx - w / 2, 1 - cy - h / 2)
    return w > 0 and h > 0 and min(edges) >= -BORDER_TOLERANCE


def is_polygon(row: list[float]) -> bool:
    """Whether a row has as many numbers as a class and three points or more."""
    return len(row) >= 7 and len(row) % 2 == 1


def _is_whole_polygon(row: list[float]) -> bool:
    return is_polygon(row) and in_image(*box_of(row)[1:])


def box_of(row: list[float]) -> list[float]:
    """class, cx, cy, w, h of a row; of a polygon, of the box around it."""
    return [row[0], *_around(row[1::2], row[2::2])] if is_polygon(row) else row


def _may_be_keypoints(row: list[float]) -> bool:
    """Whether the numbers of a row may be a label for pose: a box in the image and the keypoints in it.

    Those are x and y each, or x, y and how visible the point is (0, 1, 2); 0, 0 is a point that is not labelled.
    Layout: https://docs.ultralytics.com/datasets/pose/
    """
    cx, cy, w, h = row[1:5]
    across, down = w / 2 + BORDER_TOLERANCE, h / 2 + BORDER_TOLERANCE
    return in_image(cx, cy, w, h) and any(
        all((x, y) == (0, 0) or (abs(x - cx) <= across and abs(y - cy) <= down) for x, y in points)
        for points in _keypoints(row)
    )


def _keypoints(row: list[float]):
    """The points of each reading of a row as a box and keypoints."""
    if (len(row) - 5) % 2 == 0:
        yield list(zip(row[5::2], row[6::2]))
    if (len(row) - 5) % 3 == 0 and set(row[7::3]) <= {0, 1, 2}:
        yield list(zip(row[5::3], row[6::3]))


def _around(xs: list[float], ys: list[float]) -> tuple[float, float, float, float]:
    """cx, cy, w, h of the box around points."""
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text stays where it is plain: boxes alone, none of them twice, in ASCII.

    A polygon, `class x1 y1 x2 y2 …` of three points or more, counts as the box around it. Lines are duplicates where
    Ultralytics (`verify_image_label`) drops them: of the same numbers in float32. Two polygons with the same box around
    them are two objects. Raises UserError naming file and line for a line that is neither box nor polygon, a class
    outside 0..classes-1, or a box that is empty or leaves the image, and for a file that is missing or no text.
    """
    rows = _rows(path, classes)
    remaining = distinct(rows)
    kept, duplicates = [row.numbers for row in remaining], len(rows) - len(remaining)
    polygons = sum(map(is_polygon, kept))
    text = None
    if not kept:
        text = ""
    elif polygons or duplicates or not path.read_bytes().isascii():
        text = "".join(row._replace(numbers=box_of(row.numbers)).line for row in remaining)
    keypoints = sum(is_polygon(row) and _may_be_keypoints(row) for row in kept)
    lengths = frozenset(len(row) for row in kept if is_polygon(row))
    ignored = sum(bool(row.mark) for row in remaining)
    return CheckedLabel(len(kept) - ignored, polygons, text, duplicates, keypoints, lengths, ignored)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The boxes of a label file in pixels of its image `size` (width, height). Raises as `check_label`.

    Where some are crowds or difficult, extras[IGNORED] says which.
    """
    rows = _rows(path, classes)
    labels = np.array([box_of(row.numbers) for row in rows], np.float64).reshape(-1, 5)
    centre, half = labels[:, 1:3] * size, labels[:, 3:5] * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return Instances(boxes, np.ones(len(labels)), labels[:, 0].astype(int), marks_of(rows))
