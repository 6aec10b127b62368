"""From predictions to detections: confidence threshold, class-wise NMS, back to pixels of the image."""

import cv2
import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.instances import Instances

# What Ultralytics' validator and the COCO leader board use: nearly everything is kept, the metric sorts it out.
CONFIDENCE = 0.001
IOU = 0.7
MOST = 300
MOST_CANDIDATES = 30_000


def detect(
    predictions: np.ndarray, fit: Letterbox, confidence: float = CONFIDENCE, iou: float | None = IOU, most: int = MOST
) -> Instances:
    """Detections from predictions [N, 4+C] (cx, cy, w, h in input pixels; scores 0..1).

    An anchor point gives one candidate for each class above `confidence`; of the candidates the MOST_CANDIDATES best
    count. Within a class, a box that overlaps a better one by more than `iou` is dropped; at most `most` remain.
    Without `iou`, as for an end-to-end model, none is dropped, and the best `most` remain.
    INT8 scores have few levels, so the order is settled: by score, then by anchor point, then by class.
    """
    anchor, classes = np.nonzero(predictions[:, 4:] > confidence)
    scores = predictions[anchor, 4 + classes]
    best = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    anchor, classes, scores = anchor[best], classes[best], scores[best]
    centre, size = predictions[anchor, :2], predictions[anchor, 2:4]
    corner = centre - size / 2
    kept = np.ones(len(scores), bool)
    if iou is not None:
        kept = _nms(np.concatenate([corner, size], axis=1), scores, classes, iou)
    kept = np.flatnonzero(kept)[:most]
    boxes = fit.to_image(np.concatenate([corner, corner + size], axis=1)[kept])
    return Instances(boxes.astype(np.float32), scores[kept], classes[kept])


def _nms(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> np.ndarray:
    """Which of the boxes x, y, w, h [n, 4], best first, remain: bool [n].

    OpenCV rather than torchvision, whose import alone takes seconds in every worker; class by class rather than its
    NMSBoxesBatched, which moves each class elsewhere and so rounds overlaps another way than decode.h on the board.
    """
    kept = np.zeros(len(scores), bool)
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)
        kept[members[cv2.dnn.NMSBoxes(boxes[members], scores[members], 0.0, iou)]] = True
    return kept
