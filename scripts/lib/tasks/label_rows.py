"""The lines of a label file in Ultralytics' layouts: numbers and, in labels that this program wrote, perhaps a mark.

Layouts: https://docs.ultralytics.com/datasets/. The mark `crowd` or `difficult` ends the line: a
detection there is neither right nor wrong.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.checked_labels import CheckedLabel
from lib.data.foreign import KITTI, is_kitti
from lib.data.formats import dota
from lib.data.formats.source import CROWD, DIFFICULT
from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_DIFFICULT
from lib.step.errors import UserError
from lib.step.files import read_text, require

# Fractions of the image's side. Labels are rounded to a few digits, so what is outside by no more than ROUNDING is kept
# as it is. Many tools let an object be drawn a few pixels beyond the edge: OUTSIDE is Ultralytics' tolerance
# (ultralytics/data/utils.py, `verify_image_label`) for a keypoint, and for the centre and the size of a box.
ROUNDING, OUTSIDE = 1e-3, 0.01
# Python's float() also accepts 0_1, as 1, and the digits of other scripts.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
MARKS = {"": 0, DIFFICULT: IGNORED_DIFFICULT, CROWD: IGNORED_CROWD}
# From a line's numbers to those of what is in the image, equal ones where nothing is cut; None without area.
Inside = Callable[[list[float]], list[float] | None]
BoxOf = Callable[[list[float]], Sequence[float]]  # from a line's numbers to cx, cy, w, h


class Row(NamedTuple):
    """One line: its numbers, NaN for a word that is not a number; its mark, a key of MARKS; its name in messages."""

    numbers: list[float]
    mark: str
    where: str

    @property
    def line(self) -> str:
        """The line as text, with its numbers in Python's spelling."""
        return f"{int(self.numbers[0])} {' '.join(map(repr, map(float, self.numbers[1:])))} {self.mark}".rstrip() + "\n"


def rows_of(path: Path, may_be_marked: Callable[[int], bool] = lambda count: True) -> list[Row]:
    """The lines of a label file that are not empty; `may_be_marked`: whether a line of `count` numbers may have a mark.

    Raises UserError for a file that is missing or not text, or in DOTA's layout.
    """
    rows = []
    for number, line in enumerate(read_text(require(path, "label")).splitlines(), start=1):
        if line.strip():
            words = line.split()
            where = f"label {path}, line {number} ('{line.strip()[:60]}')"
            if dota.is_line(words):
                raise UserError(
                    f"{where} is DOTA's layout, '{dota.LAYOUT}'; name the folder with dataset: {{dota: FOLDER}}"
                )
            if is_kitti(words):
                raise UserError(f"{where} is one of {KITTI}")
            mark = words.pop() if words[-1] in MARKS and may_be_marked(len(words) - 1) else ""
            numbers = [float(word) if NUMBER.fullmatch(word) else math.nan for word in words]
            rows.append(Row(numbers, mark, where))
    return rows


def demand_class(row: Row, classes: int) -> None:
    """Raises UserError when a line's first number is not a class 0..classes-1."""
    kind = row.numbers[0]
    if kind != int(kind) or not 0 <= kind < classes:
        raise UserError(f"{row.where}: class {kind:g} is not in 0..{classes - 1}; the data set has {classes} names")


def demand_fractions(row: Row, kind: str, box: Sequence[float]) -> None:
    """Raises UserError for an object whose `box` (cx, cy, w, h) has its centre outside the image, or is larger than it.

    As in Ultralytics (`verify_image_label`), the object, a `kind`, may extend beyond the image by any length.
    """
    cx, cy, w, h = box
    if min(w, h) < 0 or outside(cx, cy, w, h) > OUTSIDE:
        raise UserError(
            f"{row.where}: the {kind} leaves the image by more than {100 * OUTSIDE:g} %, or its size is negative; "
            "numbers are fractions of the image's sides"
        )


def is_near(box: Sequence[float]) -> bool:
    """Whether a box (cx, cy, w, h) leaves the image by no more than OUTSIDE; it may have no area."""
    cx, cy, w, h = box
    return min(w, h) >= 0 and outside(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) <= OUTSIDE


def distinct(rows: list[Row]) -> list[Row]:
    """The rows without repetitions.

    As in Ultralytics (`verify_image_label`), rows with the same numbers in float32 are duplicates.
    """
    first = {}
    for row in rows:
        first.setdefault((*np.float32(row.numbers), row.mark), row)
    return list(first.values())


class Fitted(NamedTuple):
    """Lines whose objects are in the image. cut: how many were cut. empty: classes of those without area, dropped."""

    rows: list[Row]
    cut: int = 0
    empty: tuple[int, ...] = ()


def fitted(rows: list[Row], inside: Inside) -> Fitted:
    """Checked `rows`, with what is outside the image cut at its edges, and without objects of no area."""
    pairs = [(row, inside(row.numbers)) for row in rows]
    return Fitted(
        [row._replace(numbers=numbers) for row, numbers in pairs if numbers],
        sum(numbers not in (None, row.numbers) for row, numbers in pairs),
        tuple(int(row.numbers[0]) for row, numbers in pairs if numbers is None),
    )


def box_inside(numbers: list[float]) -> list[float] | None:
    """The numbers of a line that begins with `class cx cy w h`, its box cut at the image's edges; as Inside."""
    kind, cx, cy, w, h, *others = numbers
    corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    left, top, right, bottom = clipped(corners)
    if left >= right or top >= bottom:
        return None
    if [left, top, right, bottom] == corners:
        return numbers
    return [kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, *others]


def polygon_inside(numbers: list[float]) -> list[float] | None:
    """The numbers of a line `class x1 y1 x2 y2 …`, its polygon cut at the image's edges; as Inside."""
    kind, points = numbers[0], clipped(numbers[1:])
    xs, ys = points[0::2], points[1::2]
    return None if max(xs) == min(xs) or max(ys) == min(ys) else [kind, *points]


def outside(*coordinates: float) -> float:
    """By how much the outermost of `coordinates`, fractions of the image's sides, is outside of it; 0 if none is."""
    # 1.01 - 1 is more than 0.01.
    return round(max(0.0, -min(coordinates), max(coordinates) - 1), 9)


def clipped(coordinates: list[float]) -> list[float]:
    """`coordinates`, fractions of the image's sides, moved to its edges where one is outside by more than ROUNDING."""
    if outside(*coordinates) <= ROUNDING:
        return coordinates
    return [min(max(coordinate, 0.0), 1.0) for coordinate in coordinates]


def checked(path: Path, rows: list[Row], inside: Inside, box_of: BoxOf | None = None) -> CheckedLabel:
    """What a label file of checked `rows` holds. Its own text is kept if it is ASCII and every line stays as it is.

    box_of: for the count of objects that leave the image by more than OUTSIDE; None where that is as it should be.
    """
    once = distinct(rows)
    far = sum(not is_near(box_of(row.numbers)) for row in once) if box_of else 0
    kept, cut, empty = fitted(once, inside)
    duplicates = len(rows) - len(once)
    as_it_is = kept and not (duplicates or cut or empty) and path.read_bytes().isascii()
    text = None if as_it_is else "".join(row.line for row in kept)
    ignored = sum(bool(row.mark) for row in kept)
    return CheckedLabel(len(kept) - ignored, 0, text, duplicates, ignored=ignored, cut=cut, empty=empty, far=far)


def marks_of(rows: list[Row]) -> dict[str, np.ndarray]:
    """The extra that says which rows do not count; empty if all count."""
    marks = np.array([MARKS[row.mark] for row in rows], np.uint8)
    return {IGNORED: marks} if marks.any() else {}
