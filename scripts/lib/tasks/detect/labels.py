"""Labels in Ultralytics' layout: one `class cx cy w h` per line, as fractions of the image's sides.

Layout: https://docs.ultralytics.com/datasets/detect/. In labels that this program wrote, a line may end in `crowd`
or `difficult`: a detection there is neither right nor wrong.
"""

import math
from pathlib import Path

import numpy as np

from lib.data.checked_labels import FOR_A_DETECTOR, CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.tasks.label_rows import (
    ROUNDING,
    Row,
    box_inside,
    demand_class,
    demand_fractions,
    distinct,
    fitted,
    is_near,
    marks_of,
    polygon_inside,
    rows_of,
)


def _rows(path: Path, classes: int) -> list[Row]:
    """The lines of a label file that are not empty, checked. Raises as `check_label`."""
    rows = rows_of(path, may_be_marked=lambda count: count == 5)
    for row in rows:
        _check_row(row, classes)
    return rows


def _inside(numbers: list[float]) -> list[float] | None:
    return polygon_inside(numbers) if is_polygon(numbers) else box_inside(numbers)


def _check_row(row: Row, classes: int) -> None:
    numbers, where = row.numbers, row.where
    # Rows that may be polygons are judged together (CheckedLabel.keypoints); this row cannot be a polygon.
    if is_box_and_keypoints(numbers):
        raise UserError(f"{where} is a box with keypoints, a label for pose; {FOR_A_DETECTOR}")
    if not (len(numbers) == 5 or is_polygon(numbers)) or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"{where} is not five numbers 'class cx cy w h', nor a polygon 'class x1 y1 x2 y2 x3 y3 …'{_advice(row)}"
        )
    demand_class(row, classes)
    demand_fractions(row, "box" if len(numbers) == 5 else "polygon", box_of(numbers)[1:])


def _advice(row: Row) -> str:
    """The end of the refusal of a row, for mistakes that tools and people make."""
    is_number = [math.isfinite(number) for number in row.numbers]
    if all(is_number) and len(is_number) == 6:
        return "; leave out the sixth number, such as a confidence or the number of a track"
    if len(is_number) == 5 and is_number == [False, True, True, True, True]:
        return "; write the number of the class instead of its name"
    return "; write spaces instead of commas" if "," in row.where.partition("('")[2] else ""


def is_box_and_keypoints(row: list[float]) -> bool:
    """Whether the numbers of a row are a label for pose and not a polygon inside the image."""
    return len(row) > 5 and not _is_whole_polygon(row) and _may_be_keypoints(row)


def is_polygon(row: list[float]) -> bool:
    """Whether a row's count of numbers is that of a class and three or more points."""
    return len(row) >= 7 and len(row) % 2 == 1


def _is_whole_polygon(row: list[float]) -> bool:
    return is_polygon(row) and is_near(box_of(row)[1:])


def box_of(row: list[float]) -> list[float]:
    """class, cx, cy, w, h of a row; for a polygon, of the box around it."""
    return [row[0], *_around(row[1::2], row[2::2])] if is_polygon(row) else row


def _may_be_keypoints(row: list[float]) -> bool:
    """Whether the numbers of a row may be a label for pose: a box in the image and the keypoints in it.

    A keypoint is x and y, or x, y and visibility (0, 1, 2); 0, 0 is a keypoint that is not labelled.
    Layout: https://docs.ultralytics.com/datasets/pose/
    """
    cx, cy, w, h = row[1:5]
    across, down = w / 2 + ROUNDING, h / 2 + ROUNDING
    return is_near((cx, cy, w, h)) and any(
        all((x, y) == (0, 0) or (abs(x - cx) <= across and abs(y - cy) <= down) for x, y in points)
        for points in _keypoints(row)
    )


def _keypoints(row: list[float]):
    """For each way to read a row as a box with keypoints, its keypoints."""
    if (len(row) - 5) % 2 == 0:
        yield list(zip(row[5::2], row[6::2]))
    if (len(row) - 5) % 3 == 0 and set(row[7::3]) <= {0, 1, 2}:
        yield list(zip(row[5::3], row[6::3]))


def _around(xs: list[float], ys: list[float]) -> tuple[float, float, float, float]:
    """cx, cy, w, h of the box around points, as fractions of the image's sides."""
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text is kept if it is only boxes in the image, none of them twice, in ASCII.

    A polygon, `class x1 y1 x2 y2 …` of three or more points, counts as its bounding box. As in Ultralytics
    (`verify_image_label`), lines with the same numbers in float32 are duplicates. Two polygons with the same box around
    them are two objects. What is outside the image is cut, and what has no area is dropped. Raises UserError, naming
    file and line, for a line that is neither box nor polygon, a class outside 0..classes-1, a box (or one around a
    polygon) whose centre is outside the image or that is larger than it, and for a file that is missing or not text.
    """
    rows = _rows(path, classes)
    once = distinct(rows)
    remaining, cut, empty = fitted(once, _inside)
    numbers, duplicates = [row.numbers for row in remaining], len(rows) - len(once)
    polygons = sum(map(is_polygon, numbers))
    text = None
    if not numbers:
        text = ""
    elif polygons or duplicates or cut or empty or not path.read_bytes().isascii():
        text = "".join(row._replace(numbers=box_of(row.numbers)).line for row in remaining)
    keypoints = sum(is_polygon(row) and _may_be_keypoints(row) for row in numbers)
    lengths = frozenset(len(row) for row in numbers if is_polygon(row))
    ignored = sum(bool(row.mark) for row in remaining)
    objects = len(numbers) - ignored
    far = sum(not is_near(box_of(row.numbers)[1:]) for row in once)
    return CheckedLabel(objects, polygons, text, duplicates, keypoints, lengths, ignored, cut=cut, empty=empty, far=far)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The boxes of a label file in pixels of its image `size` (width, height). Raises as `check_label`.

    Where some are crowds or difficult, extras[IGNORED] says which.
    """
    rows = fitted(_rows(path, classes), _inside).rows
    labels = np.array([box_of(row.numbers) for row in rows], np.float64).reshape(-1, 5)
    centre, half = labels[:, 1:3] * size, labels[:, 3:5] * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return Instances(boxes, np.ones(len(labels)), labels[:, 0].astype(int), marks_of(rows))
