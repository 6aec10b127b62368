"""Labels of drawn parts: functions of (scene, number of the object from 0 on) that give a label without its class.

All four tasks label the same parts, by what is visible of them: box, polygon and rotated box end where the part is
covered or where the image ends. So box mAPs of the tasks can be compared, and no label asks a model for something that
is not in the image. Only keypoints are also labelled where they are covered, as hidden, as COCO does.
"""

import cv2
import numpy as np

from lib.data.formats.outlines import around_mask, joined

TOLERANCE = 0.5  # pixels by which a polygon may leave the outline of the pixels


def _detect(scene, number):
    """`cx cy w h`."""
    height, width = scene.owner.shape
    x1, y1, x2, y2 = scene.boxes[number]
    centre_x, centre_y = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
    part_width, part_height = (x2 - x1) / width, (y2 - y1) / height
    return f"{centre_x:.6f} {centre_y:.6f} {part_width:.6f} {part_height:.6f}"


def _pose(scene, number):
    """`cx cy w h`, then `x y visibility` of each keypoint."""
    height, width = scene.owner.shape
    points = [f"{x / width:.6f} {y / height:.6f} {int(seen)}" for x, y, seen in scene.keypoints[number]]
    return " ".join([_detect(scene, number), *points])


def _segment(scene, number):
    """The polygon `x1 y1 x2 y2 …` around the part, holes filled."""
    pieces = [piece.astype(np.float32) for piece in _outlines(scene, number)]
    return _fractions(scene, joined([cv2.approxPolyDP(piece, TOLERANCE, closed=True)[:, 0] for piece in pieces]))


def _obb(scene, number):
    """The corners `x1 y1 … x4 y4` of the box at the part's own angle; corners outside the image are moved to its edge.

    Ultralytics refuses corners outside the image; its tools for DOTA move them likewise.
    """
    angle = scene.angles[number]
    axes = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    places = np.concatenate(_outlines(scene, number)) @ axes.T
    (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0)
    corners = np.array(((left, top), (right, top), (right, bottom), (left, bottom))) @ axes
    return _fractions(scene, corners.clip(0, scene.owner.shape[::-1]))


def _fractions(scene, points):
    """Points [n, 2] in pixels as text, as fractions of the image."""
    return " ".join(f"{value:.6f}" for value in (points / scene.owner.shape[::-1]).ravel())


def _outlines(scene, number):
    """The outer outlines of the visible area of a part, along the edges of its pixels: list of float64 [n, 2]."""
    x1, y1, x2, y2 = scene.boxes[number].astype(int)
    mask = (scene.owner[y1:y2, x1:x2] == number + 1).astype(np.uint8)
    return [outline + (x1, y1) for outline in around_mask(mask)]


TASKS = {"detect": _detect, "pose": _pose, "segment": _segment, "obb": _obb}
DEFAULT_TASK = "detect"
