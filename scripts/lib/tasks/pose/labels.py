"""Labels in this program's layout: `class cx cy w h x1 y1 v1 x2 y2 v2 …`; all but class and v are fractions of sides.

It is Ultralytics' layout with three values per keypoint (https://docs.ultralytics.com/datasets/pose/): v is 0 for a
keypoint that is not labelled, 1 for a hidden one, 2 for a visible one. One more number at the end is the object's area
as a fraction of the image's, if it is known. A mark may follow, as in lib.tasks.label_rows.
"""

import math
from pathlib import Path

import numpy as np

from lib.data.checked_labels import CheckedLabel
from lib.detector.instances import IGNORED, IGNORED_UNLABELLED, Instances
from lib.step.errors import UserError
from lib.tasks.label_rows import (
    OUTSIDE,
    ROUNDING,
    Row,
    box_inside,
    checked,
    clipped,
    demand_class,
    demand_fractions,
    distinct,
    fitted,
    marks_of,
    outside,
    rows_of,
)
from lib.tasks.pose.keypoints import KEYPOINTS, VALUES
from lib.tasks.pose.overlap import AREA

BOX = 5  # numbers before the keypoints: class, cx, cy, w, h
VISIBILITIES = (0, 1, 2)
LAYOUT = "class cx cy w h x1 y1 v1 x2 y2 v2 …"


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds, without duplicates.

    What is outside the image is cut, labelled keypoints a little outside are moved to its edge, and a box without area
    is dropped. Raises UserError, naming file and line, for a line that is not a box with keypoints, a class outside
    0..classes-1, a box whose centre is outside the image or that is larger than it, a labelled keypoint further
    outside, or a number of keypoints that differs from the first line's, and for a file that is missing or not text.
    """
    rows = _rows(path, classes)
    kept, cut, _ = fitted(distinct(rows), box_inside)
    points = sum(value > 0 for row in kept if not row.mark for value in row.numbers[BOX + 2 :: VALUES])
    moved = sum(len(_stray(row.numbers)) for row in kept)
    return checked(path, rows, _inside, lambda numbers: numbers[1:BOX])._replace(points=points, cut=cut, moved=moved)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The boxes and keypoints of a label file in pixels of its image `size` (width, height). Raises as `check_label`.

    extras: keypoints, float64 [n, K, 3]: x, y, and 0, 1 or 2; AREA if it is known; IGNORED if some do not count.
    """
    rows = fitted(_rows(path, classes), _inside).rows
    numbers = np.array([row.numbers for row in rows], np.float64).reshape(len(rows), -1 if rows else BOX)
    count = (numbers.shape[1] - BOX) // VALUES
    centre, half = numbers[:, 1:3] * size, numbers[:, 3:BOX] * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    keypoints = numbers[:, BOX : BOX + VALUES * count].reshape(len(rows), count, VALUES) * (*size, 1)
    areas = {AREA: numbers[:, -1] * math.prod(size)} if (numbers.shape[1] - BOX) % VALUES else {}
    marks = marks_of(rows).get(IGNORED, np.zeros(len(rows), np.uint8))
    marks[(marks == 0) & ~(keypoints[:, :, 2] > 0).any(axis=1)] = IGNORED_UNLABELLED
    extras = {KEYPOINTS: keypoints} | areas | ({IGNORED: marks} if marks.any() else {})
    return Instances(boxes, np.ones(len(rows)), numbers[:, 0].astype(int), extras)


def _rows(path: Path, classes: int) -> list[Row]:
    rows = rows_of(path)
    for row in rows:
        _check_row(row, classes)
        if len(row.numbers) != len(rows[0].numbers):
            counts = [(len(other.numbers) - BOX) // VALUES for other in (row, rows[0])]
            raise UserError(
                f"{row.where} has {counts[0]} keypoints, the first line {counts[1]}; all need the same number"
            )
    return rows


def _check_row(row: Row, classes: int) -> None:
    numbers, beyond = row.numbers, len(row.numbers) - BOX
    if beyond == 0 and all(map(math.isfinite, numbers)):
        raise UserError(f"{row.where} is a box without keypoints, for the task detect; a label for pose is '{LAYOUT}'")
    if beyond < VALUES or beyond % VALUES > 1 or not all(map(math.isfinite, numbers)):
        raise UserError(f"{row.where} is not a label for pose, numbers '{LAYOUT}'")
    demand_class(row, classes)
    demand_fractions(row, "box", numbers[1:BOX])
    for x, y, visibility in zip(*(numbers[BOX + value :: VALUES] for value in range(VALUES))):
        if visibility not in VISIBILITIES:
            raise UserError(f"{row.where}: {visibility:g} is not a visibility; a keypoint's is 0, 1 or 2")
        if visibility and outside(x, y) > OUTSIDE:
            raise UserError(
                f"{row.where}: keypoint {x:g} {y:g} leaves the image by more than {100 * OUTSIDE:g} %; numbers are "
                "fractions of its sides"
            )
    if beyond % VALUES and not 0 < numbers[-1] <= 1:
        raise UserError(f"{row.where}: the last number, {numbers[-1]:g}, is not an area as a fraction of the image's")


def _inside(numbers: list[float]) -> list[float] | None:
    """The numbers of a line with its box cut at the image's edges and its labelled keypoints moved there; as Inside."""
    numbers = box_inside(numbers)
    if numbers is None:
        return None
    numbers = list(numbers)
    for place in _stray(numbers):
        numbers[place : place + 2] = clipped(numbers[place : place + 2])
    return numbers


def _stray(numbers: list[float]) -> list[int]:
    """The places, in the numbers of a line, of the labelled keypoints that are outside the image."""
    places = range(BOX, len(numbers) - VALUES + 1, VALUES)
    return [place for place in places if numbers[place + 2] and outside(*numbers[place : place + 2]) > ROUNDING]
