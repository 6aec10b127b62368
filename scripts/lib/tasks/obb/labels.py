"""Labels in Ultralytics' layout: one `class x1 y1 x2 y2 x3 y3 x4 y4` per line, corners as fractions of the sides.

Layout: https://docs.ultralytics.com/datasets/obb/. As in Ultralytics, the object is the rectangle of least area around
the corners. In labels that this program wrote, a line may end in `crowd` or `difficult`, as in lib.tasks.detect.labels.
"""

import math
from pathlib import Path

import numpy as np

from lib.data.checked_labels import CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.tasks.detect.labels import box_of
from lib.tasks.label_rows import Row, checked, demand_class, marks_of, rows_of
from lib.tasks.obb.rectangles import boxes_around, of_corners

NUMBERS = 9
LAYOUT = "class x1 y1 x2 y2 x3 y3 x4 y4"
# As Ultralytics (ultralytics/data/utils.py, `verify_image_label`): of the box around the corners, centre and sides must
# be fractions of the image's sides, to this tolerance. The corners may be outside: a rotated box that an edge cuts has
# some there.
BORDER_TOLERANCE = 0.01
THINNEST = 1e-5  # fraction of the image's side; anything thinner is four corners on a line, widened by rounding


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text is kept if no line is there twice and it is ASCII.

    As in Ultralytics, lines with the same numbers in float32 are duplicates. Raises UserError, naming file and line,
    for a line that is not a rotated box, a class outside 0..classes-1, a box whose centre is outside the image or that
    is larger than the image, or corners that enclose nothing, and for a file that is missing or not text.
    """
    return checked(path, _rows(path, classes), list)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The rotated boxes of a label file in pixels of its image `size` (width, height). Raises as `check_label`.

    Where some are crowds or difficult, extras[IGNORED] says which.
    """
    rows = _rows(path, classes)
    numbers = np.array([row.numbers for row in rows], np.float64).reshape(-1, NUMBERS)
    rotated = of_corners(numbers[:, 1:].reshape(-1, 4, 2) * size)
    extras = {"rotated": rotated} | marks_of(rows)
    boxes = np.clip(boxes_around(rotated), 0, (*size, *size))
    return Instances(boxes, np.ones(len(rows)), numbers[:, 0].astype(int), extras)


def _rows(path: Path, classes: int) -> list[Row]:
    """The lines of a label file that are not empty, checked. Raises as `check_label`."""
    rows = rows_of(path, may_be_marked=lambda count: count == NUMBERS)
    for row in rows:
        _check_row(row, classes)
    return rows


def _check_row(line: Row, classes: int) -> None:
    row, where = line.numbers, line.where
    if not all(map(math.isfinite, row)):
        raise UserError(f"{where} is not nine numbers '{LAYOUT}'")
    if len(row) == 5:
        raise UserError(f"{where} is a box without an angle, for the task detect; a rotated box is '{LAYOUT}'")
    if len(row) != NUMBERS:
        raise UserError(
            f"{where} has {len(row)} numbers; a rotated box has nine, '{LAYOUT}' (keypoints and other polygons are for "
            "the tasks pose and segment)"
        )
    demand_class(line, classes)
    around = box_of(row)[1:]
    if min(around) < -BORDER_TOLERANCE or max(around) > 1 + BORDER_TOLERANCE:
        raise UserError(
            f"{where}: the box's centre is outside the image, or the box is larger than the image; numbers are "
            "fractions of its sides"
        )
    if min(of_corners(np.reshape(row[1:], (1, 4, 2)))[0, 2:4]) < THINNEST:
        raise UserError(f"{where}: the four corners are on one line, so the box is empty")
