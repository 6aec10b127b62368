"""Class-wise NMS of rotated rectangles, by their probabilistic IoU.

As in Ultralytics, with the same thresholds, except that Ultralytics also drops rectangles that overlap only a dropped
one (`TorchNMS.fast_nms`, ultralytics/utils/nms.py). The IoU of polygons has another scale: with it, a threshold of 0.7
keeps so many more rectangles that the mAP is lower; see docs/decoder.md.
"""

import numpy as np

from lib.tasks.obb.rectangles import likeness, likeness_limit


def keep(rectangles: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Which rectangles [n, 5], given best first, remain: int [m], up to `most`, best first.

    A rectangle is dropped if it overlaps a better one of its class, which itself remains, by more than `iou`.
    """
    kept = [_of_class(rectangles, np.flatnonzero(classes == number), iou, most) for number in np.unique(classes)]
    return np.sort(np.concatenate(kept))[:most] if kept else np.zeros(0, int)


def _of_class(rectangles: np.ndarray, members: np.ndarray, iou: float, most: int) -> list[int]:
    """Those of `members`, rows best first, that remain; the search stops after `most` of them."""
    kept, limit = [], likeness_limit(iou)
    while len(members) and len(kept) < most:
        best, members = members[0], members[1:]
        kept.append(best)
        members = members[likeness(rectangles[best], rectangles[members]) <= limit]
    return kept
