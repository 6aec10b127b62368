"""The lines of a label file in Ultralytics' layouts: numbers and, in labels that this program wrote, perhaps a mark.

Layouts: https://docs.ultralytics.com/datasets/. The mark `crowd` or `difficult` ends the line: a
detection there is neither right nor wrong.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.dataset import CheckedLabel
from lib.data.formats import dota
from lib.data.formats.source import CROWD, DIFFICULT
from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_DIFFICULT
from lib.step.errors import UserError
from lib.step.files import read_text, require

# Python's float() also accepts 0_1, as 1, and the digits of other scripts.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
MARKS = {"": 0, DIFFICULT: IGNORED_DIFFICULT, CROWD: IGNORED_CROWD}


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
            mark = words.pop() if words[-1] in MARKS and may_be_marked(len(words) - 1) else ""
            numbers = [float(word) if NUMBER.fullmatch(word) else math.nan for word in words]
            rows.append(Row(numbers, mark, where))
    return rows


def demand_class(row: Row, classes: int) -> None:
    """Raises UserError when a line's first number is not a class 0..classes-1."""
    kind = row.numbers[0]
    if kind != int(kind) or not 0 <= kind < classes:
        raise UserError(f"{row.where}: class {kind:g} is not in 0..{classes - 1}; the data set has {classes} names")


def distinct(rows: list[Row]) -> list[Row]:
    """The rows without repetitions.

    As in Ultralytics (`verify_image_label`), rows with the same numbers in float32 are duplicates.
    """
    first = {}
    for row in rows:
        first.setdefault((*np.float32(row.numbers), row.mark), row)
    return list(first.values())


def checked(path: Path, rows: list[Row]) -> CheckedLabel:
    """What a label file of checked `rows` holds. Its own text is kept if no line is there twice and it is ASCII."""
    once = distinct(rows)
    duplicates = len(rows) - len(once)
    text = None if once and not duplicates and path.read_bytes().isascii() else "".join(row.line for row in once)
    ignored = sum(bool(row.mark) for row in once)
    return CheckedLabel(len(once) - ignored, 0, text, duplicates, ignored=ignored)


def marks_of(rows: list[Row]) -> dict[str, np.ndarray]:
    """The extra that says which rows do not count; empty if all count."""
    marks = np.array([MARKS[row.mark] for row in rows], np.uint8)
    return {IGNORED: marks} if marks.any() else {}
