"""Which detections are true positives, image by image: COCO's matching, kept for resampling.

Definition: https://cocodataset.org/#detection-eval. In each image and class the detections, best first, take the
labelled box that they overlap most among those that no better one has taken, where the IoU reaches the threshold. The
library that gives the table's mAP (lib.accuracy.average_precision) matches the same way but keeps no matches.
"""

from typing import NamedTuple

import numpy as np

from lib.detector.instances import Instances

MAX_DETECTIONS = 100  # a image; COCO's own limit for its headline figure
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)


class ClassMatches(NamedTuple):
    """One class's D detections in all images, best first (of equal scores, in the order of images), and its labels."""

    image: np.ndarray  # int [D], index of the image
    rank: np.ndarray  # int [D], position among the class's detections in that image
    score: np.ndarray  # float [D]
    hit: np.ndarray  # bool [D, 10], true positive at each of IOU_THRESHOLDS
    labels: np.ndarray  # int [images], labelled boxes in each image


def match(truth: list[np.ndarray], found: list[Instances], classes: int) -> list[ClassMatches]:
    """The matches of each class that has a label.

    `truth`: of each image [n, 5] class, x1, y1, x2, y2 in pixels; `found`: its detections, best first.
    """
    labels = np.zeros((classes, len(truth)), int)
    for image, boxes in enumerate(truth):
        np.add.at(labels[:, image], boxes[:, 0].astype(int), 1)
    return [_of_class(number, truth, found, labels[number]) for number in np.flatnonzero(labels.any(axis=1))]


def _of_class(number: int, truth, found, labels: np.ndarray) -> ClassMatches:
    images, ranks, scores, hits = [], [], [], []
    for image, (boxes, each) in enumerate(zip(truth, found)):
        members = np.flatnonzero(each.classes == number)[:MAX_DETECTIONS]
        if len(members):
            images.append(np.full(len(members), image))
            ranks.append(np.arange(len(members)))
            scores.append(each.scores[members])
            hits.append(_hits(each.boxes[members], boxes[boxes[:, 0] == number, 1:]))
    if not images:
        return ClassMatches(*(np.zeros(0, int),) * 2, np.zeros(0), np.zeros((0, 10), bool), labels)
    image, rank, score, hit = (np.concatenate(each) for each in (images, ranks, scores, hits))
    order = np.argsort(-score, kind="stable")
    return ClassMatches(image[order], rank[order], score[order], hit[order], labels)


def _hits(boxes: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Whether each of the boxes, best first, takes a labelled one, at each of IOU_THRESHOLDS: bool [n, 10]."""
    hits = np.zeros((len(boxes), len(IOU_THRESHOLDS)), bool)
    if not len(labelled):
        return hits
    overlaps = _iou(boxes, labelled)
    free = np.ones((len(IOU_THRESHOLDS), len(labelled)), bool)
    for row in np.flatnonzero(overlaps.max(axis=1) >= IOU_THRESHOLDS[0]):
        candidates = np.where(free & (overlaps[row] >= IOU_THRESHOLDS[:, None]), overlaps[row], -1)
        # Of equal overlaps the last label is taken, as in COCO's own code.
        best = candidates.shape[1] - 1 - candidates[:, ::-1].argmax(axis=1)
        hits[row] = candidates[np.arange(len(best)), best] >= 0
        free[hits[row], best[hits[row]]] = False
    return hits


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union [n, m] of boxes x1, y1, x2, y2, rounded as the library does it: from x, y, w, h."""
    (low, size), (other_low, other_size) = (
        (each[:, :2].astype(np.float64), (each[:, 2:] - each[:, :2]).astype(np.float64)) for each in (boxes, others)
    )
    high, other_high = low + size, other_low + other_size
    shared = np.minimum(high[:, None], other_high) - np.maximum(low[:, None], other_low)
    inside = np.clip(shared, 0, None).prod(axis=2)
    return inside / (size.prod(axis=1)[:, None] + other_size.prod(axis=1) - inside)
