"""Which detections are true positives, image by image: COCO's matching, in a form for resampling.

Definition: https://cocodataset.org/#detection-eval. In each image and class each detection, best first, takes the
labelled object that it overlaps most among those that no better detection has taken, where the overlap reaches the
threshold; failing that, a label that does not count (lib.accuracy.ignored). The library that computes the table's mAP
(lib.accuracy.average_precision) matches in the same way but does not return the matches.
"""

from typing import NamedTuple

import numpy as np

from lib.accuracy.ignored import Overlap, is_found_once, is_ignored, with_crowds
from lib.detector.instances import Instances
from lib.tasks.crowds import share_inside
from lib.tasks.task import MOST_COUNTED

OVERLAP_THRESHOLDS = np.linspace(0.5, 0.95, 10)
NO_LABEL = -1


class ClassMatches(NamedTuple):
    """One class's D detections in all images, best first (of equal scores, in the order of images), and its labels."""

    image: np.ndarray  # int [D], index of the image
    score: np.ndarray  # float [D]
    hit: np.ndarray  # bool [D, 10], true positive at each of OVERLAP_THRESHOLDS
    labels: np.ndarray  # int [images], labelled objects in each image
    ignored: np.ndarray | None = None  # bool [D, 10], neither right nor wrong; None where no detection is ignored


def true_positives(
    truth: list[Instances],
    detections: list[Instances],
    classes: int,
    overlap: Overlap,
    inside: Overlap = share_inside,
    most: int = MOST_COUNTED,
) -> list[ClassMatches]:
    """The matches of each class that has a label, from the labels and the detections, best first, of each image.

    `inside` replaces `overlap` where a label is a crowd. Only the `most` best of each image and class count.
    """
    overlap = with_crowds(overlap, inside)
    labels = np.zeros((classes, len(truth)), int)
    for image, objects in enumerate(truth):
        np.add.at(labels[:, image], objects.classes[~is_ignored(objects)], 1)
    parts = {number: [] for number in np.flatnonzero(labels.any(axis=1))}
    for image, (objects, candidates) in enumerate(zip(truth, detections)):
        for number in parts.keys() & set(candidates.classes):
            of_class = candidates[np.flatnonzero(candidates.classes == number)[:most]]
            hits, ignored = _hits(of_class, objects[objects.classes == number], overlap)
            parts[number].append((np.full(len(of_class), image), of_class.scores, hits, ignored))
    return [_joined(of_images, labels[number]) for number, of_images in parts.items()]


def _joined(parts: list[tuple[np.ndarray, ...]], labels: np.ndarray) -> ClassMatches:
    """The (image, score, hit, ignored) of several images, joined."""
    if not parts:
        return ClassMatches(np.zeros(0, int), np.zeros(0), np.zeros((0, len(OVERLAP_THRESHOLDS)), bool), labels)
    image, score, hit, ignored = map(np.concatenate, zip(*parts))
    order = np.argsort(-score, kind="stable")
    return ClassMatches(image[order], score[order], hit[order], labels, ignored[order] if ignored.any() else None)


def _hits(candidates: Instances, labelled: Instances, overlap: Overlap) -> tuple[np.ndarray, np.ndarray]:
    """Whether each candidate, best first, takes a labelled object, and whether it finds one that does not count.

    At each of OVERLAP_THRESHOLDS: two arrays bool [n, 10].
    """
    taken = taken_labels(candidates, labelled, overlap)
    counts = ~is_ignored(labelled)
    hits = (taken != NO_LABEL) & np.append(counts, False)[taken]
    return hits, (taken != NO_LABEL) & ~hits


def taken_labels(candidates: Instances, labelled: Instances, overlap: Overlap) -> np.ndarray:
    """The number of the label that each candidate, best first, takes, or NO_LABEL: int [n, 10].

    At each of OVERLAP_THRESHOLDS. All are of one class; labels that do not count are taken only where no other is left.
    """
    taken = np.full((len(candidates), len(OVERLAP_THRESHOLDS)), NO_LABEL)
    if not len(labelled):
        return taken
    overlaps, counts, once = overlap(candidates, labelled), ~is_ignored(labelled), is_found_once(labelled)
    for numbers in (np.flatnonzero(counts), np.flatnonzero(~counts)):
        of_these = _taken(overlaps[:, numbers], once[numbers], taken == NO_LABEL)
        taken = np.where(of_these == NO_LABEL, taken, np.append(numbers, NO_LABEL)[of_these])
    return taken


def _taken(overlaps: np.ndarray, once: np.ndarray, searching: np.ndarray) -> np.ndarray:
    """The label that each candidate, best first, takes: of the free ones, the one that it overlaps most, or NO_LABEL.

    overlaps: [n, m]. once: whether a label can be taken only once, bool [m]. searching: bool [n, 10], whether a
    candidate takes part, at each of OVERLAP_THRESHOLDS. Returns int [n, 10].
    """
    taken = np.full(searching.shape, NO_LABEL)
    if not len(once):
        return taken
    free = np.ones((len(OVERLAP_THRESHOLDS), len(once)), bool)
    for row in np.flatnonzero(overlaps.max(axis=1) >= OVERLAP_THRESHOLDS[0]):
        available = np.where(free & (overlaps[row] >= OVERLAP_THRESHOLDS[:, None]), overlaps[row], -1)
        # Of equal overlaps the last label is taken, as in COCO's own code.
        best = available.shape[1] - 1 - available[:, ::-1].argmax(axis=1)
        takes = searching[row] & (available[np.arange(len(best)), best] >= 0)
        taken[row] = np.where(takes, best, NO_LABEL)
        spent = takes & once[best]
        free[spent, best[spent]] = False
    return taken
