"""A detection that another model finds again is one of its class that overlaps enough, and each is taken once."""

import numpy as np
import pytest

from lib.accuracy.matching import SURE, found_again
from lib.detector.instances import Instances
from lib.tasks.detect.overlap import overlap

BOX, HALF, FAR = (0, 0, 10, 10), (0, 0, 10, 5), (50, 50, 60, 60)


def instances(*rows) -> Instances:
    """Of rows (box, score, class)."""
    boxes, scores, classes = zip(*rows) if rows else ((), (), ())
    return Instances(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes, int))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([(BOX, 0.9, 1)], [(BOX, 0.8, 1)], [(1, -0.1)]),
        ([(BOX, 0.9, 1)], [(HALF, 0.9, 1)], [(0.5, 0)]),
        ([(BOX, 0.9, 1)], [(BOX, 0.8, 2)], []),  # another class
        ([(BOX, 0.9, 1)], [(FAR, 0.8, 1)], []),
        ([(BOX, 0.9, 1)], [(FAR, 0.9, 1), (HALF, 0.8, 1), (BOX, 0.01, 1)], [(1, -0.89)]),  # the nearest, sure or not
        ([(BOX, 0.9, 1), (BOX, 0.8, 1)], [(BOX, 0.7, 1)], [(1, -0.2)]),  # taken once, by the best
        ([(BOX, SURE, 1), (FAR, SURE - 0.01, 1)], [(BOX, 0.3, 1), (FAR, 0.3, 1)], [(1, 0.05)]),
        ([(BOX, 0.9, 1)], [], []),
        ([], [(BOX, 0.9, 1)], []),
    ],
)
def test_what_is_found_again(ours, theirs, expected):
    pairs = found_again(instances(*ours), instances(*theirs), overlap)
    assert [pytest.approx(pair) for pair in expected] == pairs
