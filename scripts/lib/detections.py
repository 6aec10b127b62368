"""From predictions to detections: confidence threshold, class-wise NMS, back to pixels of the picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.letterbox import Letterbox

# What Ultralytics' validator and the COCO leader board use: nearly everything is kept, the metric sorts it out.
CONFIDENCE = 0.001
IOU = 0.7
MOST = 300
MOST_CANDIDATES = 30_000


@dataclass(frozen=True)
class Detections:
    """Detections of one picture, best first: boxes [n, 4] x1, y1, x2, y2 in its pixels, scores [n], classes [n]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def detect(
    predictions: np.ndarray, fit: Letterbox, confidence: float = CONFIDENCE, iou: float = IOU, most: int = MOST
) -> Detections:
    """Detections from predictions [N, 4+C] (cx, cy, w, h in input pixels; scores 0..1).

    An anchor point gives one candidate for each class above `confidence`; within a class, a box that overlaps a better
    one by more than `iou` is dropped; at most `most` remain.
    """
    anchor, classes = np.nonzero(predictions[:, 4:] > confidence)
    scores = predictions[anchor, 4 + classes]
    if len(scores) > MOST_CANDIDATES:
        best = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
        anchor, classes, scores = anchor[best], classes[best], scores[best]
    centre, size = predictions[anchor, :2], predictions[anchor, 2:4]
    corner = centre - size / 2
    # OpenCV rather than torchvision, whose import alone takes seconds in every worker.
    kept = cv2.dnn.NMSBoxesBatched(np.concatenate([corner, size], axis=1), scores, classes, confidence, iou)
    kept = np.asarray(kept, dtype=int)[:most]
    boxes = fit.to_picture(np.concatenate([corner, corner + size], axis=1)[kept])
    return Detections(boxes.astype(np.float32), scores[kept], classes[kept])
