"""Average precision gives what its definition says."""

import numpy as np
import pytest

from lib.accuracy.average_precision import average_precision
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.metrics import ClassMetrics
from lib.detector.instances import Instances


def instances_of(rows, scores=None):
    rows = np.array(rows, dtype=float).reshape(-1, 5)
    return Instances(rows[:, 1:], np.ones(len(rows)) if scores is None else scores, rows[:, 0].astype(int))


def test_average_precision_of_perfect_half_and_no_detections():
    rows = [[[0, 10, 10, 50, 50], [1, 5, 5, 20, 30]], [[0, 0, 0, 30, 30]], []]
    truth = [instances_of(image) for image in rows]

    def measured(detections):
        return average_precision(truth, DetectionSet(["1", "2", "3"], [(96, 64)] * 3, detections), ["a", "b", "absent"])

    perfect = [instances_of(image, np.linspace(1, 0.5, len(image))) for image in rows]
    best = measured(perfect)
    assert best.map50_95 == pytest.approx(1) and best.map50 == pytest.approx(1)
    assert best.per_class["a"] == ClassMetrics(pytest.approx(1), pytest.approx(1), 2)
    assert list(best.per_class) == ["a", "b"]
    assert measured([instances_of([]) for _ in rows]).map50_95 == 0
    # Class b is never found, class a always.
    half = [instances[instances.classes == 0] for instances in perfect]
    assert measured(half).map50_95 == pytest.approx(0.5)
