"""Labels with keypoints in Ultralytics' layout: `class cx cy w h`, then x, y, or x, y, visibility of each keypoint.

Layout: https://docs.ultralytics.com/datasets/pose/. This program stores three values for each keypoint, and the
object's area (as a fraction of the image's) may follow. The number of values in a data set comes from the `kpt_shape`
of its data.yaml or from the user; otherwise from the labels themselves, where they are unambiguous.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from lib.data.formats.source import CROWD, DIFFICULT, Source
from lib.data.keypoints import KeypointShape, keypoint_shape
from lib.step.errors import UserError
from lib.step.files import read_text

BOX = 5  # numbers before the keypoints
THREE = 3  # values of a keypoint: x, y, visibility
SEEN, NOT_LABELLED = "2", "0"
IN_BOX = 1e-3  # fraction of the image's side by which a keypoint may lie outside its box
CORNERS = 9  # numbers of a label of an oriented box
SAME = 1e-3  # fraction of the image's side; corners of rectangles are rounded


def with_three_values(source: Source, given: object) -> Callable[[list[str]], list[str]] | None:
    """A function that gives each keypoint in the words of a label's line three values; None where the shape is unknown.

    given: the user's `kpt_shape`, or None. Raises UserError when the shape is invalid, differs from the data set's own,
    or is left open by everything.
    """
    own = None if source.kpt_shape is None else keypoint_shape(source.kpt_shape, f"{source.place}: kpt_shape")
    shape = own if given is None else keypoint_shape(given, "--kpt_shape (dataset.kpt_shape)")
    if own and shape != own:
        raise UserError(f"dataset.kpt_shape is {shape}, but {source.place} says {own}; leave the key out")
    labels = [item.label for item in source.items if isinstance(item.label, Path)]
    shape = shape or shape_of(labels)
    return partial(_three_values, shape) if shape and labels else None


def _three_values(shape: KeypointShape, words: list[str]) -> list[str]:
    count = _numbers_in(words)
    if count <= BOX:
        return words  # the task's own check reports what is wrong
    wanted = BOX + shape.keypoints * shape.values
    if count - wanted not in (0, shape.values == THREE):
        raise UserError(
            f" has {count} numbers; {wanted} are 'class cx cy w h' and "
            f"{shape.keypoints} keypoints of {shape.values} values each (kpt_shape {shape})"
        )
    if shape.values == THREE:
        return words
    points = zip(words[BOX:count:2], words[BOX + 1 : count : 2])
    return [*words[:BOX], *chain.from_iterable((x, y, _visibility(x, y)) for x, y in points), *words[count:]]


def _visibility(x: str, y: str) -> str:
    """The visibility of a keypoint of two values: one at the origin, or left of or above the image, is not labelled."""
    numbers = [_number(word) or 0.0 for word in (x, y)]
    return NOT_LABELLED if min(numbers) < 0 or numbers == [0, 0] else SEEN


def shape_of(labels: list[Path]) -> KeypointShape | None:
    """The shape that all lines of `labels` have; None without lines, or where a line is not a box with keypoints.

    Raises UserError, naming file and line, when lines differ or fit more than one shape.
    """
    rows, first = [], None
    for path in labels:
        for numbers, where in _lines(path):
            if len(numbers) <= BOX or None in numbers:
                return None  # the task's own check reports what is wrong
            first = first or (len(numbers), where)
            if len(numbers) != first[0]:
                raise UserError(
                    f"{where} has {len(numbers)} numbers, {first[1]} has {first[0]}; for the task pose all lines have "
                    "the same number, a box and its keypoints (polygons are for the task segment)"
                )
            rows.append(numbers)
    if not rows:
        return None
    # A single line does not decide it, and some may be wrong: 89 % of COCO's labels have all keypoints in the box.
    near = [shape for shape in _readings(first[0]) if 2 * sum(_fits(row, shape) for row in rows) > len(rows)]
    if not near or (first[0] == CORNERS and all(map(_is_rectangle, rows))):
        raise UserError(
            f"{first[1]} is not a box with keypoints: for the task pose a line is 'class cx cy w h' and x, y or x, y, "
            "visibility of each keypoint; if this line is one, set dataset.kpt_shape"
        )
    if len(near) > 1:
        raise UserError(
            f"{first[1]} may have {' or '.join(f'{shape.keypoints} keypoints of {shape.values}' for shape in near)} "
            "values; set dataset.kpt_shape"
        )
    return near[0]


def _lines(path: Path) -> Iterator[tuple[list[float | None], str]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if words:
            yield [_number(word) for word in words[: _numbers_in(words)]], f"label {path}, line {number}"


def _numbers_in(words: list[str]) -> int:
    """How many words are numbers of the label; some lines end with a mark of this program's."""
    return len(words) - (words[-1] in (CROWD, DIFFICULT))


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _readings(count: int) -> list[KeypointShape]:
    """The shapes that a line of `count` numbers may have."""
    beyond = count - BOX
    return [
        *([KeypointShape(beyond // THREE, THREE)] if beyond >= THREE and beyond % THREE < 2 else []),
        *([KeypointShape(beyond // 2, 2)] if beyond % 2 == 0 else []),
    ]


def _points(row: list[float], shape: KeypointShape) -> list[list[float]]:
    starts = range(BOX, BOX + shape.keypoints * shape.values, shape.values)
    return [row[start : start + shape.values] for start in starts]


def _fits(row: list[float], shape: KeypointShape) -> bool:
    """Whether all labelled points lie in the box, and the third values, where there are some, are visibilities."""
    cx, cy, w, h = row[1:BOX]
    if len(row) > BOX + shape.keypoints * shape.values and not 0 < row[-1] <= 1:  # an area
        return False
    return all(
        ((x, y) == (0, 0) or (abs(x - cx) <= w / 2 + IN_BOX and abs(y - cy) <= h / 2 + IN_BOX))
        and set(third) <= {0, 1, 2}
        for x, y, *third in _points(row, shape)
    )


def _is_rectangle(row: list[float]) -> bool:
    """Whether the eight numbers after the class are corners of a parallelogram: its diagonals share their midpoint."""
    (x1, y1, x2, y2, x3, y3, x4, y4) = row[1:]
    return abs(x1 + x3 - x2 - x4) <= SAME and abs(y1 + y3 - y2 - y4) <= SAME
