"""Rotated rectangles: cx, cy, w, h and the angle in radians from the x axis to the side w, clockwise on the screen.

x points right and y down, as in images. One rectangle has several notations (w and h swapped plus a quarter turn).
"""

import cv2
import numpy as np

EIGHTH_TURN = np.pi / 4
LEAST_IOU = 1e-9
MOST_APART = 700  # a larger exponent is cut to this, where exp(-x) is practically 0, in obb.h too
# Whether each corner is forward or back along the sides w and h.
ALONG, ACROSS = np.array([1, 1, -1, -1]), np.array([1, -1, -1, 1])


def corners(rectangles: np.ndarray) -> np.ndarray:
    """The corners [n, 4, 2] of rectangles [n, 5], in order around each rectangle.

    The same as, and in the order of, Ultralytics' `xywhr2xyxyxyxy` (ultralytics/utils/ops.py).
    """
    x, y, w, h, angle = (rectangles[:, [quantity]] for quantity in range(5))
    cos, sin = np.cos(angle), np.sin(angle)
    along, across = w / 2 * ALONG, h / 2 * ACROSS
    return np.stack([x + cos * along - sin * across, y + sin * along + cos * across], axis=2)


def boxes_around(rectangles: np.ndarray) -> np.ndarray:
    """The boxes x1, y1, x2, y2 [n, 4] around rectangles [n, 5]."""
    points = corners(rectangles)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def of_corners(points: np.ndarray) -> np.ndarray:
    """The rectangles of least area, float64 [n, 5], around each of n sets of four points [n, 4, 2].

    w is the longer side and the angle is in [-pi/4, 3 pi/4), as in Ultralytics' `xyxyxyxy2xywhr`
    (ultralytics/utils/ops.py), with the same OpenCV function.
    """
    rectangles = np.zeros((len(points), 5))
    for row, four in enumerate(points.astype(np.float32)):
        centre, (w, h), degrees = cv2.minAreaRect(four)
        angle = np.radians(degrees)
        if w < h:
            w, h, angle = h, w, angle + np.pi / 2
        rectangles[row] = *centre, w, h, (angle + EIGHTH_TURN) % np.pi - EIGHTH_TURN
    return rectangles


def area_of(rectangles: np.ndarray) -> np.ndarray:
    """The areas of rectangles [..., 5], float64 [...]."""
    return rectangles[..., 2].astype(np.float64) * rectangles[..., 3]


def iou(rectangles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of rectangles [..., 5] and others [..., 5], as polygons: float64 [...]; 0 for two points.

    The leading axes are broadcast.
    """
    area, other_area = area_of(rectangles), area_of(others)
    shared = np.minimum(shared_area(rectangles, others), np.minimum(area, other_area))
    # A smaller area is only rounding, of two rectangles that do not meet.
    meet = shared > (area + other_area) * LEAST_IOU
    return np.divide(shared, area + other_area - shared, out=np.zeros_like(shared), where=meet)


def shared_area(rectangles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area of the intersection of rectangles [..., 5] and others.

    By Green's theorem, in the frame of the first rectangle, which is |x| <= a, |y| <= b there: the integral of x
    clipped to [-a, a], over the part of the other's boundary with |y| <= b equals the integral of its derivative by x,
    which is 1 if |x| < a and |y| < b and else 0, over the other's inside
    (https://en.wikipedia.org/wiki/Green%27s_theorem#Area_calculation). So each edge contributes separately; no polygon
    has to be clipped, and edges that touch or coincide are not a special case.
    """
    rectangles, others = rectangles.astype(np.float64), others.astype(np.float64)
    a, b = (rectangles[..., side, None] / 2 for side in (2, 3))
    x, y = _corners_in_frame(rectangles, others)
    next_x, next_y = np.roll(x, -1, axis=-1), np.roll(y, -1, axis=-1)
    # The part of each edge with |y| <= b, from `start` to `end`.
    start, end = np.clip(y, -b, b), np.clip(next_y, -b, b)
    rise = next_y - y
    level = rise == 0
    rise = np.where(level, 1, rise)
    start_x, end_x = (x + (next_x - x) * ((part - y) / rise) for part in (start, end))
    return np.abs((_mean_limited(start_x, end_x, a) * np.where(level, 0, end - start)).sum(axis=-1))


def _corners_in_frame(rectangles: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y [..., 4] of the others' corners, in the frame of the rectangles' centres and sides w and h."""
    cos, sin = np.cos(rectangles[..., 4]), np.sin(rectangles[..., 4])
    other_cos, other_sin = np.cos(others[..., 4]), np.sin(others[..., 4])
    turned_cos, turned_sin = cos * other_cos + sin * other_sin, cos * other_sin - sin * other_cos
    right, down = others[..., 0] - rectangles[..., 0], others[..., 1] - rectangles[..., 1]
    x, y = right * cos + down * sin, down * cos - right * sin
    along, across = others[..., 2, None] / 2 * ALONG, others[..., 3, None] / 2 * ACROSS
    turned_cos, turned_sin = turned_cos[..., None], turned_sin[..., None]
    return (
        x[..., None] + turned_cos * along - turned_sin * across,
        y[..., None] + turned_sin * along + turned_cos * across,
    )


def _mean_limited(start: np.ndarray, end: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The mean of x clipped to -a..a, where x runs linearly from `start` to `end`."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    inner_low, inner_high = np.clip(low, -a, a), np.clip(high, -a, a)
    below = np.maximum(np.minimum(high, -a) - low, 0)
    above = np.maximum(high - np.maximum(low, a), 0)
    total = a * (above - below) + (inner_high - inner_low) * (inner_low + inner_high) / 2
    length = high - low
    return np.divide(total, length, out=inner_low.copy(), where=length > 0)


def likeness(rectangles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How similar rectangles [..., 5] and others [..., 5] are, float64, 0 to 1; 0 if one has no area.

    The square of the Bhattacharyya coefficient of normal distributions with the same means and covariances. Llerena et
    al. 2021, https://arxiv.org/abs/2106.06072, eq. 5 to 9; Ultralytics' `batch_probiou` (ultralytics/utils/metrics.py)
    without its small terms against division by 0.
    """
    x, y, w, h, xx, yy, xy = _moments(rectangles)
    other_x, other_y, other_w, other_h, other_xx, other_yy, other_xy = _moments(others)
    right, down, areas = other_x - x, other_y - y, w * h * other_w * other_h
    xx, yy, xy = xx + other_xx, yy + other_yy, xy + other_xy
    determinant = np.where(areas > 0, xx * yy - xy**2, 1)
    apart = 6 * (xx * down**2 + yy * right**2 - 2 * xy * right * down) / determinant
    return np.minimum(4 * areas / determinant * np.exp(-np.minimum(apart, MOST_APART)), 1)


def likeness_limit(iou: float) -> float:
    """The likeness L above which Ultralytics' probabilistic IoU, 1 - sqrt(1 - sqrt(L)), is above `iou`.

    `iou` is rounded to float32 as in C.
    """
    return (1 - max(1 - float(np.float32(iou)), 0) ** 2) ** 2


def _moments(rectangles: np.ndarray) -> tuple[np.ndarray, ...]:
    """x, y, w, h, and twelve times the covariances xx, yy and xy of rectangles [..., 5]."""
    x, y, w, h, angle = np.moveaxis(rectangles.astype(np.float64), -1, 0)
    cos, sin = np.cos(angle), np.sin(angle)
    return x, y, w, h, w**2 * cos**2 + h**2 * sin**2, w**2 * sin**2 + h**2 * cos**2, (w**2 - h**2) * cos * sin
