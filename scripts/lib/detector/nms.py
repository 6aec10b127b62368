"""From predictions to detections: confidence threshold, class-wise NMS, and back to pixels of the image."""

import cv2
import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.instances import Instances

# As in Ultralytics' validator and on the COCO leader board: nearly everything is kept, because mAP ranks by score.
CONFIDENCE = 0.001
IOU = 0.7
MOST = 300
MOST_CANDIDATES = 30_000


def to_instances(predictions: np.ndarray, rows: np.ndarray, classes: np.ndarray, fit: Letterbox) -> Instances:
    """The predictions [N, 4+C] that `keep` selected as detections in pixels of the image, without what a task adds.

    A prediction holds cx, cy, w, h in input pixels, then class scores 0..1.
    """
    boxes = fit.to_image(np.concatenate(_corners(predictions[rows]), axis=1))
    return Instances(boxes.astype(np.float32), predictions[rows, 4 + classes], classes)


def keep(
    predictions: np.ndarray, confidence: float = CONFIDENCE, iou: float | None = IOU, most: int = MOST
) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions [N, 4+C] are detections, and their classes, best first: two arrays int [n], n up to `most`.

    The rows also select what a task adds to predictions. Of the `candidates`, a box that overlaps a better one of its
    class by more than `iou` is dropped. If `iou` is None, as for an end-to-end model, none is dropped.
    """
    rows, classes = candidates(predictions, confidence)
    if iou is not None:
        low, _ = _corners(predictions[rows])
        boxes = np.concatenate([low, predictions[rows, 2:4]], axis=1)
        remains = _nms(boxes, predictions[rows, 4 + classes], classes, iou)
        rows, classes = rows[remains], classes[remains]
    return rows[:most], classes[:most]


def candidates(predictions: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions [N, 4+C] go into NMS, and as which class, best first: two arrays int [n].

    An anchor point gives one candidate per class with a score above `confidence`; the MOST_CANDIDATES best are kept.
    INT8 scores have few levels and are often equal, so the order is fixed: by score, then anchor point, then class.
    """
    rows, classes = np.nonzero(predictions[:, 4:] > confidence)
    best = np.argsort(-predictions[rows, 4 + classes], kind="stable")[:MOST_CANDIDATES]
    return rows[best], classes[best]


def _corners(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x1, y1 and x2, y2 of predictions, two arrays [n, 2]."""
    centre, size = predictions[:, :2], predictions[:, 2:4]
    low = centre - size / 2
    return low, low + size


def _nms(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> np.ndarray:
    """Which of the boxes x, y, w, h [n, 4], best first, remain: bool [n].

    OpenCV, not torchvision, because the import of torchvision takes seconds in every worker. Class by class, not with
    OpenCV's NMSBoxesBatched, which shifts each class and so rounds overlaps differently from decode.h on the board.
    """
    remains = np.zeros(len(scores), bool)
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        remains[members[cv2.dnn.NMSBoxes(boxes[members], scores[members], 0.0, iou)]] = True
    return remains
