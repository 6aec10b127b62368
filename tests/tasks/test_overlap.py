"""Overlaps are those of their definition, and the library's to the last digit."""

import numpy as np
import pytest
from faster_coco_eval import mask

from lib.tasks.detect.overlap import box_iou


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ((0, 0, 4, 2), (0, 0, 4, 2), 1),
        ((0, 0, 4, 2), (0, 0, 2, 2), 0.5),
        ((0, 0, 4, 2), (2, 0, 6, 2), 1 / 3),
        ((0, 0, 4, 2), (4, 0, 8, 2), 0),  # one edge
        ((0, 0, 4, 2), (9, 9, 10, 10), 0),
        ((0, 0, 4, 2), (1, 1, 1, 1), 0),  # a point
        ((3, 3, 3, 3), (3, 3, 3, 3), 0),
    ],
)
def test_intersection_over_union(box, other, expected):
    assert box_iou(np.array([box]), np.array([other])).tolist() == [[expected]]


def test_boxes_overlap_as_in_the_library_to_the_last_digit():
    rng = np.random.default_rng(0)
    low, size = rng.uniform(0, 400, (200, 2)), rng.uniform(1, 200, (200, 2))
    boxes = np.concatenate([low, low + size], axis=1).astype(np.float32)
    others = np.concatenate([low + 5, low + size * 1.1], axis=1)
    ours = box_iou(boxes, others)
    rows = [[[*map(float, (x1, y1, x2 - x1, y2 - y1))] for x1, y1, x2, y2 in each] for each in (boxes, others)]
    np.testing.assert_array_equal(ours, mask.iou(*rows, [0] * len(others)))
    assert (ours > 0.5).sum() > 100


def test_nothing_overlaps_nothing():
    assert box_iou(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)
    assert box_iou(np.ones((2, 4)), np.zeros((0, 4))).shape == (2, 0)
