"""Labels of our own layout: `class cx cy w h x1 y1 v1 x2 y2 v2 …`, all but class and v as fractions of the sides.

It is Ultralytics' of three values per keypoint (https://docs.ultralytics.com/datasets/pose/): v is 0 for a keypoint
that is not labelled, 1 for one that is hidden, 2 for one that is seen. A line may go on with `area=A`, the object's
area as a fraction of the image's where it is known, and with `crowd` or `difficult`, as in lib.tasks.detect.labels.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.dataset import CheckedLabel
from lib.detector.instances import IGNORED, Instances
from lib.step.errors import UserError
from lib.step.files import read_text, require
from lib.tasks.detect.labels import BORDER_TOLERANCE, MARKS, NUMBER
from lib.tasks.pose.keypoints import KEYPOINTS, VALUES
from lib.tasks.pose.overlap import AREA, AREA_OF_BOX

BOX = 5  # numbers before the keypoints: class, cx, cy, w, h
AREA_WORD = "area="
VISIBILITIES = (0, 1, 2)


class _Row(NamedTuple):
    """One line: its numbers, the area as a fraction of the image's (None where it is not told), and its mark."""

    numbers: list[float]
    area: float | None
    mark: str


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds. Its own text stays where it is plain: none of its lines twice, in ASCII.

    Lines are duplicates where Ultralytics drops them: of the same numbers in float32. Raises UserError naming file and
    line for a line that is no box with keypoints, a class outside 0..classes-1, a box or a labelled keypoint outside
    the image, or another number of keypoints than the first line's, and for a file that is missing or no text.
    """
    rows = _rows(path, classes)
    distinct = {}
    for row in rows:
        distinct.setdefault((*np.float32(row.numbers), row.mark), row)
    kept, duplicates = list(distinct.values()), len(rows) - len(distinct)
    text = None
    if not kept:
        text = ""
    elif duplicates or not path.read_bytes().isascii():
        text = "".join(f"{_line(row)}\n" for row in kept)
    ignored = sum(bool(row.mark) for row in kept)
    return CheckedLabel(len(kept) - ignored, 0, text, duplicates, ignored=ignored)


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The boxes and keypoints of a label file in pixels of its image `size` (width, height). Raises as `check_label`.

    extras: keypoints, float64 [n, K, 3]: x, y, and 0, 1 or 2. AREA, where some are known. IGNORED, where some are
    crowds or difficult.
    """
    rows = _rows(path, classes)
    numbers = np.array([row.numbers for row in rows], np.float64).reshape(len(rows), -1)
    numbers = numbers if rows else np.zeros((0, BOX))
    centre, half = numbers[:, 1:3] * size, numbers[:, 3:5] * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    extras = {KEYPOINTS: numbers[:, BOX:].reshape(len(rows), -1, VALUES) * (*size, 1)} if rows else {}
    if not rows:
        extras = {KEYPOINTS: np.zeros((0, 0, VALUES))}
    if any(row.area is not None for row in rows):
        usual = AREA_OF_BOX * (2 * half).prod(axis=1)
        known = [np.nan if row.area is None else row.area * size[0] * size[1] for row in rows]
        extras[AREA] = np.where(np.isnan(known), usual, known)
    marks = np.array([MARKS[row.mark] for row in rows], np.uint8)
    extras |= {IGNORED: marks} if marks.any() else {}
    return Instances(boxes, np.ones(len(rows)), numbers[:, 0].astype(int), extras)


def _rows(path: Path, classes: int) -> list[_Row]:
    rows = []
    for number, line in enumerate(read_text(require(path, "label")).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"label {path}, line {number} ('{line.strip()[:60]}')"
        words = line.split()
        mark = words.pop() if words[-1] in MARKS else ""
        area = _number(words.pop().removeprefix(AREA_WORD)) if words and words[-1].startswith(AREA_WORD) else None
        row = _Row(list(map(_number, words)), area, mark)
        _check_row(row, classes, where)
        if rows and len(row.numbers) != len(rows[0].numbers):
            counts = [(len(other.numbers) - BOX) // VALUES for other in (row, rows[0])]
            raise UserError(f"{where} has {counts[0]} keypoints, the first of the file {counts[1]}; all need as many")
        rows.append(row)
    return rows


def _number(word: str) -> float:
    return float(word) if NUMBER.fullmatch(word) else math.nan


def _check_row(row: _Row, classes: int, where: str) -> None:
    numbers = row.numbers
    if len(numbers) == BOX and all(map(math.isfinite, numbers)):
        raise UserError(f"{where} is a box without keypoints, a label for the task detect")
    if len(numbers) <= BOX or (len(numbers) - BOX) % VALUES or not all(map(math.isfinite, numbers)):
        raise UserError(f"{where} is not 'class cx cy w h' and x, y, visibility of each keypoint, all of them numbers")
    if row.area is not None and not 0 <= row.area <= 1 + BORDER_TOLERANCE:
        raise UserError(f"{where}: the area is no fraction of the image's")
    if numbers[0] != int(numbers[0]) or not 0 <= numbers[0] < classes:
        raise UserError(f"{where}: class {numbers[0]:g} is not in 0..{classes - 1}; the data set has {classes} names")
    cx, cy, w, h = numbers[1:BOX]
    if not (w > 0 and h > 0 and _inside(cx - w / 2, cy - h / 2) and _inside(cx + w / 2, cy + h / 2)):
        raise UserError(f"{where}: the box is empty or leaves the image; numbers are fractions of its sides")
    for x, y, visibility in zip(*(numbers[BOX + value :: VALUES] for value in range(VALUES))):
        if visibility not in VISIBILITIES:
            raise UserError(f"{where}: the visibility {visibility:g} of a keypoint is not 0, 1 or 2")
        if visibility and not _inside(x, y):
            raise UserError(
                f"{where}: the keypoint {x:g} {y:g} lies outside the image; numbers are fractions of its sides"
            )


def _inside(x: float, y: float) -> bool:
    return min(x, y, 1 - x, 1 - y) >= -BORDER_TOLERANCE


def _line(row: _Row) -> str:
    kind, *numbers = row.numbers
    words = [str(int(kind)), *map(repr, numbers)]
    words += [f"{AREA_WORD}{row.area!r}"] if row.area is not None else []
    return " ".join([*words, row.mark]).rstrip()
