"""The labels of one data set, checked by its task and written as the workflow stores them."""

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from lib.data.formats.source import Lined, box_line
from lib.step.errors import UserError
from lib.step.files import read_text

FOR_A_DETECTOR = "for a detector, keep the first five numbers of every line (for a model with keypoints set task: pose)"
FEW_FAR = 3  # objects that may leave their image, however few there are in all

# What is said of objects that are not used as their label has them.
FAR = "WARNING: {} objects leave their image by more than 1 %: {}"
CUT = "{} objects extend beyond their image and are cut at its edges"
DUPLICATE = "{} duplicate labels are dropped: lines that repeat another one of their file"
ORPHANS = "WARNING: {} label files belong to no image: {}"
MOVED = "{} keypoints are at most 1 % outside their image and are moved to its edge"


class CheckedLabel(NamedTuple):
    """What a task read from a label file."""

    objects: int
    polygons: int  # objects that are polygons, for which the task uses the box around them
    text: str | None  # the text to write instead of the file's own; None to keep that
    duplicates: int = 0  # repetitions of a label in the file; not counted in objects
    keypoints: int = 0  # polygons that could also be read as a box with keypoints, a label for pose
    lengths: frozenset[int] = frozenset()  # the counts of numbers on the polygons' lines
    ignored: int = 0  # labels of crowds and difficult objects; not counted in objects
    points: int = 0  # labelled keypoints of all objects
    cut: int = 0  # objects that extended beyond the image and are cut at its edges
    empty: tuple[int, ...] = ()  # classes of objects without area, which are left out; not counted in objects
    moved: int = 0  # keypoints that were a little outside the image and are moved to its edge
    far: int = 0  # objects, counted in cut, that extended beyond the image by more than tools let them by accident


# Gives the words of a label's line as a task stores them; raises UserError, without file and line, for bad ones.
Words = Callable[[list[str]], list[str]]


class Labelling(NamedTuple):
    """How a task reads labels.

    check: reads a label file; raises UserError, naming file and line, for a broken one. line_of: the label's line
    for an object of a format without label files. words_of: None where a line's words are kept.
    """

    check: Callable[[Path], CheckedLabel]
    line_of: Lined = box_line
    words_of: Words | None = None


def checked_copy(label: Path, numbers: dict[int, int] | None, target: Path, labelling: Labelling) -> CheckedLabel:
    """Write a label to `target` as a data set holds it, and check it.

    Raises UserError, naming the label, as `_rewrite` and the task's own check do.
    """
    if numbers is None and labelling.words_of is None:
        shutil.copyfile(label, target)
        return as_checked(target, labelling.check(label))
    _rewrite(label, numbers, target, labelling.words_of)
    try:
        return as_checked(target, labelling.check(target))
    except UserError as error:
        raise UserError(str(error).replace(str(target), str(label))) from None


def as_checked(label: Path, checked: CheckedLabel) -> CheckedLabel:
    """`checked`, after writing its text, if it has one, to the label."""
    if checked.text is not None:
        label.write_text(checked.text, encoding="utf-8")
    return checked


def _rewrite(label: Path, numbers: dict[int, int] | None, target: Path, words_of: Words | None) -> None:
    """Write a label to `target`, with its classes renumbered by `numbers` and its words as the task stores them.

    Raises UserError, naming file and line, for a class that has no number and for words that the task does not accept.
    """
    lines = []
    for number, line in enumerate(read_text(label).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            words = [_renumbered(words[0], numbers), *words[1:]] if numbers else words
            words = words_of(words) if words_of else words
        except UserError as error:
            raise UserError(f"label {label}, line {number} ('{line.strip()[:60]}'){error}") from None
        lines.append(" ".join(words) + "\n")
    target.write_text("".join(lines), encoding="utf-8")


def _renumbered(word: str, numbers: dict[int, int]) -> str:
    kind = int(float(word)) if re.fullmatch(r"\d+(\.0*)?", word, re.ASCII) else None
    if kind not in numbers:
        raise UserError(f": no name has class {word}")
    return str(numbers[kind])


def far_objects(labels: Iterable[tuple[object, CheckedLabel]], objects: int) -> tuple[str, ...]:
    """The label's name for each of CheckedLabel.far, of label files and what they hold.

    Raises UserError where these are so many of the `objects` that the lines may have another layout.
    """
    far = [path for path, label in labels for _ in range(label.far)]
    if len(far) > max(FEW_FAR, objects // 4):
        raise UserError(
            f"{len(far)} of {objects} objects leave their image by more than 1 %, the first in {far[0]}; a box's line "
            "begins with 'class cx cy w h', with its centre; if all are so, cut the objects at the edges"
        )
    return tuple(path.name for path in far)


def refuse_keypoints(checked: list[CheckedLabel], folder: Path) -> None:
    """Raises UserError when labels that look like polygons are for pose: all of one length, most with points in a box.

    A single line does not show it: 24 % of COCO128's polygons, which are of many lengths, can be read as pose labels,
    and 89 % of COCO's labels for pose.
    """
    polygons, keypoints = sum(label.polygons for label in checked), sum(label.keypoints for label in checked)
    lengths = frozenset().union(*(label.lengths for label in checked))
    if len(lengths) == 1 and 2 * keypoints > polygons:
        raise UserError(
            f"the labels in {folder}, of {max(lengths)} numbers each, are boxes with keypoints, "
            f"for pose; {FOR_A_DETECTOR}"
        )
