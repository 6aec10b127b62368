"""Class-wise NMS of rotated rectangles, by their probabilistic IoU.

So Ultralytics does it, with the same thresholds, save that it also drops what only a dropped rectangle overlaps
(`TorchNMS.fast_nms`, ultralytics/utils/nms.py). By the IoU of polygons, of which a threshold means something else, 0.7
leaves so many more that the mAP is lower: docs/decoder.md.
"""

import numpy as np

from lib.tasks.obb.rectangles import likeness, likeness_limit


def keep(rectangles: np.ndarray, classes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Which rectangles [n, 5], best first, remain: int [m], up to `most`, best first.

    One that overlaps a better one of its class, which itself remains, by more than `iou` is dropped.
    """
    kept = [_of_class(rectangles, np.flatnonzero(classes == number), iou, most) for number in np.unique(classes)]
    return np.sort(np.concatenate(kept))[:most] if kept else np.zeros(0, int)


def _of_class(rectangles: np.ndarray, members: np.ndarray, iou: float, most: int) -> list[int]:
    """Those of `members`, rows best first, that remain; no more than `most` of them are looked for."""
    kept, limit = [], likeness_limit(iou)
    while len(members) and len(kept) < most:
        best, members = members[0], members[1:]
        kept.append(best)
        members = members[likeness(rectangles[best], rectangles[members]) <= limit]
    return kept
