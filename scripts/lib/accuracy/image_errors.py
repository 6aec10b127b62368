"""Right and wrong detections in each image at one confidence threshold, and which classes are confused.

Detections above the threshold are matched as for mAP, at 0.5 of the task's own overlap. So the counts over all images
are those behind precision and recall (lib.accuracy.operating). The rest, false detections and missed objects, is then
matched regardless of class: such pairs are confusions. What still remains is background taken for an object, and
objects taken for background.
"""

from typing import NamedTuple

import numpy as np

from lib.accuracy.ignored import is_ignored, with_crowds
from lib.accuracy.matching import SAME, found_again
from lib.accuracy.operating import AT
from lib.accuracy.true_positives import NO_LABEL, taken_labels
from lib.detector.instances import Instances
from lib.tasks.task import Task


class Marked(NamedTuple):
    """The detections above a threshold in an image, and its labels, matched.

    label: int [n], the number of the label that each detection finds, or NO_LABEL. found: bool [m], the labels that are
    found. ignored: bool [m], labels that do not count; a detection that finds one is neither right nor false.
    """

    detections: Instances
    labels: Instances
    label: np.ndarray
    found: np.ndarray
    ignored: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """The detections that find an object: bool [n]."""
        return (self.label != NO_LABEL) & ~self._finds_ignored

    @property
    def false(self) -> np.ndarray:
        """The false detections: bool [n]."""
        return self.label == NO_LABEL

    @property
    def missed(self) -> np.ndarray:
        """The labels that count and that no detection finds: bool [m]."""
        return ~self.found & ~self.ignored

    @property
    def _finds_ignored(self) -> np.ndarray:
        return np.append(self.ignored, False)[self.label]


def marked(labels: Instances, detections: Instances, threshold: float, task: Task) -> Marked:
    """Match the detections above `threshold`, best first, with the labels of their image.

    As for mAP, only the task's `most_counted` best of each class count.
    """
    above = detections[detections.scores > threshold]
    overlap = with_crowds(task.overlap, task.share_inside)
    label, is_counted = np.full(len(above), NO_LABEL), np.zeros(len(above), bool)
    for number in np.unique(above.classes):
        rows = np.flatnonzero(above.classes == number)[: task.most_counted]
        of_class = np.flatnonzero(labels.classes == number)
        taken = taken_labels(above[rows], labels[of_class], overlap)[:, AT]
        label[rows] = np.append(of_class, NO_LABEL)[taken]
        is_counted[rows] = True
    found = np.zeros(len(labels), bool)
    found[label[label != NO_LABEL]] = True
    return Marked(above[is_counted], labels, label[is_counted], found, is_ignored(labels))


def confusion(marks: list[Marked], classes: int, task: Task) -> np.ndarray:
    """How often an object of each class (rows) is taken for each class (columns): int [classes + 1, classes + 1].

    The last row counts background that is taken for an object, the last column objects that no detection finds.
    """
    counts = np.zeros((classes + 1, classes + 1), int)
    for mark in marks:
        right = mark.detections.classes[mark.right]
        np.add.at(counts, (right, right), 1)
        false, missed = mark.detections[mark.false], mark.labels[mark.missed]
        taken = _regardless_of_class(false, missed, task)
        was = np.where(taken == NO_LABEL, classes, np.append(missed.classes, classes)[taken])
        np.add.at(counts, (was, false.classes), 1)
        nothing = np.delete(missed.classes, taken[taken != NO_LABEL])
        np.add.at(counts, (nothing, classes), 1)
    return counts


def _regardless_of_class(false: Instances, missed: Instances, task: Task) -> np.ndarray:
    """The missed object that each false detection, best first, overlaps, or NO_LABEL: int [n]; each object once."""
    taken = np.full(len(false), NO_LABEL)
    if len(false) and len(missed):
        overlaps = task.overlap(false, missed)
        for row in range(len(false)):
            best = int(overlaps[row].argmax())
            if overlaps[row, best] >= SAME:
                taken[row] = best
                overlaps[:, best] = 0
    return taken


def changes(first: Instances, second: Instances, threshold: float, task: Task) -> int:
    """How many detections above `threshold` only one of two models has, in one image."""
    first, second = (each[each.scores > threshold] for each in (first, second))
    both = len(found_again(first, second, task.overlap, least=threshold))
    return len(first) + len(second) - 2 * both
