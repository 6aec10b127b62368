"""Average precision gives what its definition says."""

import numpy as np
import pytest

from lib.accuracy.average_precision import average_precision
from lib.data.imgsz import ImageSize
from lib.detector.instances import Instances

SIZE = ImageSize(96, 64)


def truth_of(boxes):
    return [np.array(each, dtype=float).reshape(-1, 5) for each in boxes]


def test_average_precision_of_perfect_half_and_no_detections():
    truth = truth_of([[[0, 10, 10, 50, 50], [1, 5, 5, 20, 30]], [[0, 0, 0, 30, 30]], []])
    sizes = [(96, 64)] * 3
    perfect = [Instances(t[:, 1:].astype(np.float32), np.linspace(1, 0.5, len(t)), t[:, 0].astype(int)) for t in truth]
    nothing = [Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)) for _ in truth]
    best = average_precision(truth, perfect, sizes, ["a", "b", "absent"])
    assert best["map50_95"] == pytest.approx(1) and best["map50"] == pytest.approx(1)
    assert best["per_class"]["a"] == {"map50_95": pytest.approx(1), "map50": pytest.approx(1), "boxes": 2}
    assert list(best["per_class"]) == ["a", "b"]
    assert average_precision(truth, nothing, sizes, ["a", "b", "absent"])["map50_95"] == 0
    # Class b is never found, class a always.
    half = [Instances(p.boxes[p.classes == 0], p.scores[p.classes == 0], p.classes[p.classes == 0]) for p in perfect]
    assert average_precision(truth, half, sizes, ["a", "b", "absent"])["map50_95"] == pytest.approx(0.5)
