"""Labels in Ultralytics' layout: one polygon `class x1 y1 x2 y2 x3 y3 …` per line, as fractions of the image's sides.

Layout: https://docs.ultralytics.com/datasets/segment/. An object of several parts is one polygon whose parts are joined
by lines there and back. In labels that this program wrote, a line may end in `crowd` or `difficult`: a detection there
is neither right nor wrong.
"""

import math
from pathlib import Path

import numpy as np

from lib.data.checked_labels import CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.tasks.detect.labels import box_of, is_box_and_keypoints, is_polygon
from lib.tasks.label_rows import Row, checked, demand_class, demand_fractions, fitted, marks_of, polygon_inside, rows_of
from lib.tasks.segment.masks import MASK, as_rows, of_polygon

LAYOUT = "'class x1 y1 x2 y2 x3 y3 …'"


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. What is outside the image is cut, and a polygon without area is dropped.

    Raises UserError, naming file and line, for a line that is not a polygon, a class outside 0..classes-1, or a polygon
    whose box has its centre outside the image or is larger than it, and for a file that is missing or not text.
    """
    return checked(path, _rows(path, classes), polygon_inside, lambda numbers: box_of(numbers)[1:])


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The objects of a label file in its image of `size` (width, height): masks, and the boxes around the polygons.

    Where some are crowds or difficult, extras[IGNORED] says which. Raises as `check_label`.
    """
    rows = fitted(_rows(path, classes), polygon_inside).rows
    polygons = [np.reshape(row.numbers[1:], (-1, 2)) * size for row in rows]
    boxes = np.array([(*points.min(axis=0), *points.max(axis=0)) for points in polygons]).reshape(-1, 4)
    kinds = np.array([int(row.numbers[0]) for row in rows], int)
    masks = as_rows([of_polygon(points, size) for points in polygons])
    return Instances(boxes, np.ones(len(rows)), kinds, {MASK: masks} | marks_of(rows))


def _rows(path: Path, classes: int) -> list[Row]:
    """The lines of a label file, checked. Raises as `check_label`."""
    rows = rows_of(path)
    for row in rows:
        _check_row(row, classes)
    return rows


def _check_row(row: Row, classes: int) -> None:
    numbers = row.numbers
    if len(numbers) == 5 and all(map(math.isfinite, numbers)):
        raise UserError(f"{row.where} is a box, a label for the task detect; a mask's label is a polygon {LAYOUT}")
    if is_box_and_keypoints(numbers):
        raise UserError(
            f"{row.where} is a box with keypoints, a label for the task pose; a mask's label is a polygon {LAYOUT}"
        )
    if not is_polygon(numbers) or not all(map(math.isfinite, numbers)):
        raise UserError(f"{row.where} is not a polygon {LAYOUT} of three or more points")
    demand_class(row, classes)
    demand_fractions(row, "polygon", box_of(numbers)[1:])
