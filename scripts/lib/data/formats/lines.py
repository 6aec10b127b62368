"""From an annotation to the numbers of a label's line: one function per layout of Ultralytics'.

Each takes a `Box` and the width and height of the image that it was drawn in, and gives a `Line`, or None where no part
of the object is in the image. Layouts: https://docs.ultralytics.com/datasets/. Each raises UserError, which names the
annotation, where the annotation lacks what the layout needs.
"""

import math

import numpy as np

from lib.data.formats.outlines import joined, parts_of
from lib.data.formats.source import CROWD, Annotation, Box, Line, box_line
from lib.data.keypoints import AREA_OF_BOX, KEYPOINT_TASK
from lib.step.errors import UserError

_CORNERS = 4  # of an oriented box


def keypoint_line(box: Box, frame: tuple[float, float]) -> Line | None:
    """`cx cy w h`, then `x y v` of each keypoint, then the object's area as a fraction of the image's.

    A keypoint outside the image cannot be found: it counts as not labelled.
    """
    line, annotation = box_line(box, frame), _annotation(box)
    points = _points(annotation)
    seen = points[:, 2] > 0
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= frame)).all(axis=1)
    points = np.where((seen & inside)[:, None], points / (*frame, 1), 0)
    if line is None:
        return None
    numbers = [*line.numbers]
    for x, y, visibility in points:
        numbers += [float(x), float(y), int(visibility)]
    area = _number(annotation.area) / (frame[0] * frame[1]) or AREA_OF_BOX * line.numbers[2] * line.numbers[3]
    return Line((*numbers, min(area, 1.0)), line.cut, outside=int((seen & ~inside).sum()))


def outline_line(box: Box, frame: tuple[float, float]) -> Line | None:
    """One polygon `x1 y1 x2 y2 …`; several parts are joined; an object without an outline gets the polygon of its box.

    As Ultralytics' converter does (`ultralytics/data/converter.py`, `convert_coco`).
    """
    annotation = _annotation(box)
    parts = parts_of(annotation.segmentation, frame, annotation.where) if annotation.segmentation else []
    points = joined(parts) if parts else _corners_of(box)
    line = _polygon(points, frame)
    return line and line._replace(boxed=not parts)


def corner_line(box: Box, frame: tuple[float, float]) -> Line | None:
    """The four corners `x1 y1 … x4 y4` of the object's outline; for a crowd those of its box."""
    annotation = _annotation(box)
    if box.mark == CROWD:
        return _polygon(_corners_of(box), frame)
    parts = parts_of(annotation.segmentation, frame, annotation.where) if annotation.segmentation else []
    # Some tools repeat the first corner at the end.
    corners = [points[: -1 if (points[0] == points[-1]).all() else None] for points in parts]
    if len(corners) != 1 or len(corners[0]) != _CORNERS:
        count = " and ".join(str(len(points)) for points in corners) or "no"
        raise UserError(f"{annotation.where}: its segmentation has {count} corners; an oriented box has four")
    return _polygon(corners[0], frame)


def _annotation(box: Box) -> Annotation:
    if box.annotation is None:
        raise UserError(
            "the data set has an object with only a box that is not rotated; for other tasks than detect give "
            "dataset.archive, yaml or coco (rotated boxes can also be given by dota, or as robndbox by voc)"
        )
    return box.annotation


def _points(annotation: Annotation) -> np.ndarray:
    """x, y, v of each keypoint in pixels, float64 [K, 3]; zeros where the object has none."""
    count = annotation.keypoint_count
    if not count:
        raise UserError(f"{annotation.where} has no keypoints, nor does any other; the task {KEYPOINT_TASK} needs them")
    try:
        points = np.array([float(value) for value in annotation.keypoints or ()]).reshape(-1, 3)
    except (TypeError, ValueError):
        points = np.array([[math.nan] * 3])
    if not np.isfinite(points).all() or not np.isin(points[:, 2], (0, 1, 2)).all():
        raise UserError(f"{annotation.where}: its keypoints are not a list of numbers, x, y and 0, 1 or 2 for each")
    if not len(points):
        return np.zeros((count, 3))
    if len(points) != count:
        raise UserError(
            f"{annotation.where} has {len(points)} keypoints, others have {count}; all need the same number"
        )
    return points


def _polygon(points: np.ndarray, frame: tuple[float, float]) -> Line | None:
    """A polygon's line; points outside the image are moved to its edges."""
    inside = np.clip(points, 0, frame)
    if np.ptp(inside, axis=0).min() <= 0:
        return None
    fractions = inside / frame
    return Line(tuple(map(float, fractions.ravel())), bool((inside != points).any()))


def _corners_of(box: Box) -> np.ndarray:
    x1, y1, x2, y2 = box.corners
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)


def _number(given) -> float:
    """A positive number, given as a JSON number or a text; 0 for anything else."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 < number < math.inf else 0.0
