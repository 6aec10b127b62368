"""The lines of a label file in Ultralytics' layouts: numbers, and at the end of some of ours how the object counts.

Layouts: https://docs.ultralytics.com/datasets/. A line may end in `crowd` or `difficult`: what is detected there counts
neither way.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.dataset import CheckedLabel
from lib.data.formats.source import CROWD, DIFFICULT
from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_DIFFICULT
from lib.step.errors import UserError
from lib.step.files import read_text, require

# Python's float() also takes 0_1, which is 1, and the digits of other scripts.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
MARKS = {"": 0, DIFFICULT: IGNORED_DIFFICULT, CROWD: IGNORED_CROWD}


class Row(NamedTuple):
    """One line: its numbers, NaN for a word that is none; its mark, a key of MARKS; and how messages name it."""

    numbers: list[float]
    mark: str
    where: str

    @property
    def line(self) -> str:
        """The line anew, its numbers in Python's spelling."""
        return f"{int(self.numbers[0])} {' '.join(map(repr, map(float, self.numbers[1:])))} {self.mark}".rstrip() + "\n"


def rows_of(path: Path, may_be_marked: Callable[[int], bool] = lambda count: True) -> list[Row]:
    """The lines of a label file that hold something; of `count` numbers, one may be marked where the task says so.

    Raises UserError for a file that is missing or no text.
    """
    rows = []
    for number, line in enumerate(read_text(require(path, "label")).splitlines(), start=1):
        if line.strip():
            words = line.split()
            mark = words.pop() if words[-1] in MARKS and may_be_marked(len(words) - 1) else ""
            numbers = [float(word) if NUMBER.fullmatch(word) else math.nan for word in words]
            rows.append(Row(numbers, mark, f"label {path}, line {number} ('{line.strip()[:60]}')"))
    return rows


def demand_class(row: Row, classes: int) -> None:
    """Raises UserError when a line's first number is no class 0..classes-1."""
    kind = row.numbers[0]
    if kind != int(kind) or not 0 <= kind < classes:
        raise UserError(f"{row.where}: class {kind:g} is not in 0..{classes - 1}; the data set has {classes} names")


def distinct(rows: list[Row]) -> list[Row]:
    """The rows without those that repeat another one.

    They are duplicates where Ultralytics (`verify_image_label`) drops them: of the same numbers in float32.
    """
    first = {}
    for row in rows:
        first.setdefault((*np.float32(row.numbers), row.mark), row)
    return list(first.values())


def checked(path: Path, rows: list[Row]) -> CheckedLabel:
    """What a label file of checked `rows` holds. Its own text stays where it is plain: no line twice, in ASCII."""
    kept = distinct(rows)
    duplicates = len(rows) - len(kept)
    text = None if kept and not duplicates and path.read_bytes().isascii() else "".join(row.line for row in kept)
    ignored = sum(bool(row.mark) for row in kept)
    return CheckedLabel(len(kept) - ignored, 0, text, duplicates, ignored=ignored)


def marks_of(rows: list[Row]) -> dict[str, np.ndarray]:
    """The extra that says which rows do not count; nothing where all do."""
    marks = np.array([MARKS[row.mark] for row in rows], np.uint8)
    return {IGNORED: marks} if marks.any() else {}
