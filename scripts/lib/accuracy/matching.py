"""Which detections of one model another one finds again."""

import numpy as np

from lib.detector.instances import Instances

SURE = 0.25  # detections from this score on are compared; Ultralytics' own threshold for showing them
SAME = 0.5  # two boxes are one detection from this IoU on


def matches(fp32: Instances, int8: Instances) -> list[tuple[float, float]]:
    """(IoU, change of score) of each sure FP32 detection that INT8 finds again: same class, IoU from SAME on."""
    pairs, taken = [], set()
    for box, score, kind in zip(fp32.boxes, fp32.scores, fp32.classes):
        if score < SURE:
            break
        overlaps = iou(box, int8.boxes) * (int8.classes == kind)
        overlaps[list(taken)] = 0
        if len(overlaps) and overlaps.max() >= SAME:
            best = int(overlaps.argmax())
            taken.add(best)
            pairs.append((float(overlaps[best]), float(int8.scores[best] - score)))
    return pairs


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box [4] with others [n, 4], all x1, y1, x2, y2."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return shared / np.maximum(areas - shared, 1e-9)
