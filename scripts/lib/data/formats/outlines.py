"""An object's outline in COCO's JSON (polygons, or a mask in run lengths), and how its parts become one polygon.

Format: https://cocodataset.org/#format-data. Text form of the run lengths: cocoapi, `common/maskApi.c`, `rleFrString`.
"""

import math
from itertools import pairwise

import cv2
import numpy as np

from lib.step.errors import UserError

CORNERS = 3  # the fewest of a polygon


def parts_of(segmentation, size: tuple[float, float], where: str) -> list[np.ndarray]:
    """The polygons of an annotation's `segmentation`, each float64 [n, 2] in pixels; parts with n < 3 are left out.

    size: width and height of the image. A mask gives its outer outlines, along the edges of its pixels. Raises
    UserError, which begins with `where`, for anything that is neither polygons nor a mask.
    """
    if isinstance(segmentation, dict):
        return around_mask(_mask(segmentation, size, where))
    if not isinstance(segmentation, list):
        raise UserError(f"{where}: its segmentation is neither polygons nor a mask")
    parts = []
    for polygon in polygons_of(segmentation):
        try:
            points = np.array(polygon, np.float64)
        except (TypeError, ValueError):
            points = np.array(math.nan)
        if points.ndim != 1 or len(points) % 2 or not np.isfinite(points).all():
            raise UserError(f"{where}: its segmentation has a polygon that is not a list of numbers x1, y1, x2, y2 …")
        parts.append(points.reshape(-1, 2))
    return [points for points in parts if len(points) >= CORNERS]


def polygons_of(segmentation):
    """An annotation's `segmentation`, as a list of polygons even if it is the numbers of one, as VIA writes it."""
    is_numbers = isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], (int, float))
    return [segmentation] if is_numbers else segmentation


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Polygons [n, 2] as one, each joined to the next where the two are nearest, by a line drawn there and back.

    A label holds one polygon. As Ultralytics does it (`ultralytics/data/converter.py`, `merge_multi_segment`): along
    one side of each part to the last one, and back along the other sides.
    """
    if len(parts) == 1:
        return parts[0]
    doors = [[] for _ in parts]
    for number, (part, following) in enumerate(pairwise(parts)):
        distances = ((part[:, None] - following) ** 2).sum(axis=2)
        for beside, door in enumerate(np.unravel_index(distances.argmin(), distances.shape)):
            doors[number + beside].append(int(door))
    there, back = [], []
    for part, (entry, *others) in zip(parts, doors):
        if others and others[0] < entry:
            part, entry, others = part[::-1], len(part) - 1 - entry, [len(part) - 1 - others[0]]
        ring = np.roll(part, -entry, axis=0)
        ring = np.concatenate([ring, ring[:1]])
        if others:
            there.append(ring[: others[0] - entry + 1])
            back.insert(0, ring[others[0] - entry :])
        else:
            there.append(ring)
    return np.concatenate(there + back)


def _mask(segmentation: dict, size: tuple[float, float], where: str) -> np.ndarray:
    """A mask in run lengths, down its columns, as uint8 [height, width] of 0 and 1."""
    try:
        height, width = (int(side) for side in segmentation["size"])
        counts = segmentation["counts"]
        counts = [int(count) for count in counts] if isinstance(counts, list) else _counts(str(counts))
    except (KeyError, TypeError, ValueError, IndexError):
        raise UserError(f"{where}: its segmentation is not a mask with size and counts") from None
    if (height, width) != (round(size[1]), round(size[0])):
        raise UserError(f"{where}: its mask is {width}x{height} pixels, but the image is {size[0]:g}x{size[1]:g}")
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise UserError(f"{where}: the counts of its mask do not add up to {width}x{height} pixels")
    return np.repeat(np.arange(len(counts), dtype=np.uint8) % 2, counts).reshape(width, height).T


def _counts(text: str) -> list[int]:
    """Run lengths from COCO's text: five bits per letter; from the third on, the difference to the last but one."""
    counts, value, shift = [], 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(letter)
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError(text)
    return counts


def around_mask(mask: np.ndarray) -> list[np.ndarray]:
    """The outer outlines of a mask, uint8 [height, width], along its pixels' edges: float64 [n, 2] per part."""
    # findContours follows the centres of pixels. In an image enlarged twofold, each edge of a pixel has a pixel of its
    # own on the inside: 2k for the left edge of pixel k, 2k + 1 for its right edge.
    twice = np.ascontiguousarray(mask).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = [_corners((contour[:, 0] + 1) // 2) for contour in contours]
    return [outline.astype(np.float64) for outline in outlines]


def _corners(points: np.ndarray) -> np.ndarray:
    """The corners [n, 2] of a closed line along pixels' edges: its points without those between two corners."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    ahead, behind = np.roll(points, -1, axis=0) - points, points - np.roll(points, 1, axis=0)
    return points[ahead[:, 0] * behind[:, 1] != ahead[:, 1] * behind[:, 0]]
