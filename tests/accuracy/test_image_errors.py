"""Errors by image add up to precision and recall, and what is taken for what is told whatever the class."""

import numpy as np
import pytest

from lib import tasks
from lib.accuracy.image_errors import changes, confusion, marked
from lib.accuracy.operating import BEST_F1, THRESHOLDS, operating
from lib.accuracy.true_positives import true_positives
from lib.detector.instances import IGNORED, IGNORED_CROWD, Instances, nothing

TASK = tasks.get("detect")
BOX, NEAR, FAR = (0, 0, 10, 10), (0, 0, 10, 8), (50, 50, 60, 60)


def instances(*rows, **extras) -> Instances:
    """Of rows (box, score, class)."""
    boxes, scores, classes = zip(*rows) if rows else ((), (), ())
    named = {name: np.array(values) for name, values in extras.items()}
    return Instances(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes, int), named)


def labels(*rows, **extras) -> Instances:
    """Of rows (box, class)."""
    return instances(*((box, 1, c) for box, c in rows), **extras)


def random_images(seed: int, crowds: bool) -> tuple[list[Instances], list[Instances]]:
    """Labels and detections of 30 images, of 3 classes, many of them on each other."""
    rng = np.random.default_rng(seed)

    def some(count, scores):
        low = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(15, 25, (count, 2))], axis=1)
        return Instances(boxes, scores, rng.integers(0, 3, count))

    truth, detections = [], []
    for _ in range(30):
        labelled = some(6, np.ones(6))
        if crowds:
            labelled = Instances(
                labelled.boxes, labelled.scores, labelled.classes, {IGNORED: rng.integers(0, 3, 6).astype(np.uint8)}
            )
        truth.append(labelled)
        detections.append(some(15, np.sort(rng.uniform(0, 1, 15))[::-1]))
    return truth, detections


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.83])
def test_errors_of_all_images_are_those_of_precision_and_recall(threshold, crowds):
    truth, detections = random_images(1, crowds)
    marks = [marked(*pair, threshold, TASK) for pair in zip(truth, detections)]
    matches = true_positives(truth, detections, 3, TASK.overlap, TASK.share_inside)
    _, curve = operating(matches, 30, np.ones((1, 30), int), list("abc"), BEST_F1)
    place = int(np.argmin(abs(THRESHOLDS - threshold)))
    right, false = (sum(getattr(mark, name).sum() for mark in marks) for name in ("right", "false"))
    missed = sum(mark.missed.sum() for mark in marks)
    assert right and false and missed
    assert right / (right + false) == pytest.approx(curve.precision[place])
    assert right / (right + missed) == pytest.approx(curve.recall[place])
    counts = confusion(marks, 3, TASK)
    assert counts.diagonal().sum() == right
    assert counts[:, :3].sum() == right + false and counts[:3].sum() == right + missed
    assert counts[3, 3] == 0


@pytest.mark.parametrize(
    ("labelled", "found", "expected"),
    [
        ([(BOX, 0)], [(BOX, 0.9, 0)], {(0, 0): 1}),
        ([(BOX, 0)], [(BOX, 0.5, 0)], {(0, 2): 1}),  # what has the threshold itself is not above it
        ([(BOX, 0)], [(NEAR, 0.9, 1)], {(0, 1): 1}),  # one for another
        ([(BOX, 0)], [(FAR, 0.9, 0)], {(0, 2): 1, (2, 0): 1}),
        ([(BOX, 0)], [(BOX, 0.9, 0), (BOX, 0.8, 0)], {(0, 0): 1, (2, 0): 1}),  # twice is once too often
        ([(BOX, 0)], [(BOX, 0.9, 0), (BOX, 0.8, 1)], {(0, 0): 1, (2, 1): 1}),  # it is found already
        ([(BOX, 0), (NEAR, 1)], [(NEAR, 0.9, 1)], {(1, 1): 1, (0, 2): 1}),
        ([(BOX, 0)], [(BOX, 0.9, 1), (NEAR, 0.8, 1)], {(0, 1): 1, (2, 1): 1}),  # by the best
        ([], [], {}),
    ],
)
def test_what_is_taken_for_what(labelled, found, expected):
    counts = confusion([marked(labels(*labelled), instances(*found), 0.5, TASK)], 2, TASK)
    assert {(int(row), int(column)): int(counts[row, column]) for row, column in np.argwhere(counts)} == expected


def test_what_lies_in_a_crowd_is_neither_right_nor_false_and_a_crowd_is_not_missed():
    labelled = labels((FAR, 0), (BOX, 0), **{IGNORED: np.array([IGNORED_CROWD, 0], np.uint8)})
    mark = marked(labelled, instances((FAR, 0.9, 0), (FAR, 0.8, 0), (FAR, 0.7, 1)), 0.5, TASK)
    assert mark.right.tolist() == [False] * 3 and mark.false.tolist() == [False, False, True]
    assert mark.missed.tolist() == [False, True]


def test_no_more_detections_count_than_for_map():
    many = instances(*((FAR, 1 - n / 1000, 0) for n in range(TASK.most_counted + 20)))
    assert len(marked(nothing(), many, 0.5, TASK).detections) == TASK.most_counted


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([(BOX, 0.9, 0)], [(NEAR, 0.6, 0)], 0),
        ([(BOX, 0.9, 0)], [(NEAR, 0.4, 0)], 1),
        ([(BOX, 0.9, 0)], [(BOX, 0.9, 1)], 2),
        ([(BOX, 0.9, 0)], [(BOX, 0.9, 0), (BOX, 0.8, 0), (FAR, 0.7, 0)], 2),
        ([(BOX, 0.4, 0)], [(BOX, 0.4, 0)], 0),
        ([], [(BOX, 0.9, 0)], 1),
        ([], [], 0),
    ],
)
def test_changes_are_what_one_model_has_and_the_other_has_not(first, second, expected):
    for pair in ((first, second), (second, first)):
        assert changes(*(instances(*rows) for rows in pair), 0.5, TASK) == expected
