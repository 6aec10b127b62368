"""Class-wise NMS of rotated rectangles, by the IoU of their polygons."""

import numpy as np

from lib.tasks.obb.rectangles import iou as iou_of


def keep(rectangles: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Which rectangles [n, 5], best first, remain: int [m], up to `most`, best first.

    One that overlaps a better one of its class, which itself remains, by more than `iou` is dropped.
    """
    kept = [_of_class(rectangles, np.flatnonzero(classes == number), iou, most) for number in np.unique(classes)]
    return np.sort(np.concatenate(kept))[:most] if kept else np.zeros(0, int)


def _of_class(rectangles: np.ndarray, members: np.ndarray, iou: float, most: int) -> list[int]:
    """Those of `members`, rows best first, that remain; no more than `most` of them are looked for."""
    reach = np.hypot(rectangles[:, 2], rectangles[:, 3]) / 2  # radius of the circle around
    kept = []
    while len(members) and len(kept) < most:
        best, members = members[0], members[1:]
        kept.append(best)
        distance = np.hypot(*(rectangles[members, :2] - rectangles[best, :2]).T)
        near = np.flatnonzero(distance < reach[members] + reach[best])
        dropped = near[iou_of(rectangles[best], rectangles[members[near]]) > iou]
        members = np.delete(members, dropped)
    return kept
