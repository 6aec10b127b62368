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


def to_instances(predictions: np.ndarray, rows: np.ndarray, classes: np.ndarray, fit: Letterbox) -> Instances:
    """The predictions [N, 4+C] that `keep` keeps as detections in pixels of the image, without what a task adds.

    Of a prediction: cx, cy, w, h in input pixels, and class scores 0..1.
    """
    boxes = fit.to_image(np.concatenate(_corners(predictions[rows]), axis=1))
    return Instances(boxes.astype(np.float32), predictions[rows, 4 + classes], classes)


def keep(
    predictions: np.ndarray, confidence: float = CONFIDENCE, iou: float | None = IOU, most: int = MOST
) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions [N, 4+C] are detections, and of which class, best first: two of int [n], n up to `most`.

    What a task adds to a prediction follows by these rows. Of the `candidates`, a box that overlaps a better one of its
    class by more than `iou` is dropped. Without `iou`, as for an end-to-end model, none is dropped.
    """
    rows, classes = candidates(predictions, confidence)
    if iou is not None:
        low, _ = _corners(predictions[rows])
        boxes = np.concatenate([low, predictions[rows, 2:4]], axis=1)
        kept = _nms(boxes, predictions[rows, 4 + classes], classes, iou)
        rows, classes = rows[kept], classes[kept]
    return rows[:most], classes[:most]


def candidates(predictions: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions [N, 4+C] count before NMS, and as which class, best first: two of int [n].

    An anchor point gives one candidate for each class above `confidence`; the MOST_CANDIDATES best count.
    INT8 scores have few levels, so the order is settled: by score, then by anchor point, then by class.
    """
    rows, classes = np.nonzero(predictions[:, 4:] > confidence)
    best = np.argsort(-predictions[rows, 4 + classes], kind="stable")[:MOST_CANDIDATES]
    return rows[best], classes[best]


def _corners(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x1, y1 and x2, y2 of predictions, each [n, 2]."""
    centre, size = predictions[:, :2], predictions[:, 2:4]
    low = centre - size / 2
    return low, low + size


def _nms(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> np.ndarray:
    """Which of the boxes x, y, w, h [n, 4], best first, remain: bool [n].

    OpenCV rather than torchvision, whose import alone takes seconds in every worker; class by class rather than its
    NMSBoxesBatched, which moves each class elsewhere and so rounds overlaps another way than decode.h on the board.
    """
    kept = np.zeros(len(scores), bool)
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        kept[members[cv2.dnn.NMSBoxes(boxes[members], scores[members], 0.0, iou)]] = True
    return kept
