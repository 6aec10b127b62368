"""Rotated rectangles: their overlap is that of their polygons, however they are written down."""

import numpy as np
import pytest

from lib.detector.instances import Instances
from lib.tasks.obb import rectangles
from lib.tasks.obb.overlap import overlap, share_inside

QUARTER, EIGHTH = np.pi / 2, np.pi / 4
SQUARE = (10, 20, 4, 4, 0)


@pytest.mark.parametrize(
    ("rectangle", "other", "expected"),
    [
        (SQUARE, SQUARE, 1),
        (SQUARE, (12, 20, 4, 4, 0), 1 / 3),
        (SQUARE, (14, 20, 4, 4, 0), 0),  # one edge
        (SQUARE, (15, 25, 2, 2, 0.3), 0),
        (SQUARE, (10, 20, 2, 2, 0.7), 1 / 4),  # within
        (SQUARE, (10, 20, 4, 4, EIGHTH), np.sqrt(0.5)),  # a regular octagon in both
        (SQUARE, (10, 20, 4, 0, 0.2), 0),  # a line
        ((3, 3, 0, 0, 1), (3, 3, 0, 0, 1), 0),
        ((5, 5, 8, 2, 0.4), (5, 5, 2, 8, 0.4 + QUARTER), 1),  # one rectangle in two notations
        ((5, 5, 8, 2, 0.4), (5, 5, 8, 2, 0.4 + np.pi), 1),
        ((5, 5, 8, 2, 0.4), (5, 5, 8, 2, 0.4 + QUARTER), 4 / 28),  # a cross
        # Moved by half its length along its own long side.
        ((5, 5, 8, 2, 0.4), (5 + 4 * np.cos(0.4), 5 + 4 * np.sin(0.4), 8, 2, 0.4), 1 / 3),
    ],
)
def test_overlaps_that_are_known(rectangle, other, expected):
    for first, second in ((rectangle, other), (other, rectangle)):
        assert rectangles.iou(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("rectangle", "other", "by_shapely"),
    # Of polygons of the corners, by shapely 2.1: area of the intersection / area of the union.
    [
        ((25.14, 34.21, 44.9, 20.85, -0.62), (23.93, 28.95, 43.3, 17.34, 0.71), 0.283165636079),
        ((43.47, 51.0, 12.27, 21.2, 1.95), (42.87, 52.28, 12.54, 27.28, 1.87), 0.633889573363),
        ((20.09, 78.41, 7.72, 8.16, 2.57), (20.61, 80.38, 8.2, 8.66, 2.97), 0.556457570997),
        ((42.45, 25.45, 27.43, 70.82, -0.17), (42.76, 31.38, 9.04, 89.9, -0.55), 0.275926635447),
        ((69.79, 59.46, 29.66, 47.96, 0.71), (69.89, 59.14, 41.08, 57.92, 0.79), 0.597848760268),
        ((48.78, 28.78, 31.33, 7.55, 2.48), (47.94, 28.04, 34.12, 3.84, 2.76), 0.351283393123),
        ((30.82, 64.81, 37.82, 19.78, 2.68), (21.2, 62.55, 45.53, 26.5, 1.82), 0.309515285914),
        ((67.22, 67.4, 3.28, 9.9, -0.66), (67.37, 66.1, 5.43, 10.85, -0.81), 0.489823738365),
        ((49.57, 70.97, 79.7, 32.41, -0.15), (53.05, 68.38, 64.76, 26.93, 0.4), 0.478640269370),
        ((55.38, 60.17, 28.27, 16.96, 1.22), (50.97, 56.5, 29.24, 23.11, 1.52), 0.513774489957),
        ((66.45, 43.62, 2.91, 17.24, -0.18), (66.45, 43.62, 2.91, 17.24, 1.39), 0.092176148486),
        ((40.93, 40.88, 14.62, 3.77, 1.19), (40.93, 40.88, 7.31, 1.88, 1.19), 0.249336870027),
    ],
)
def test_overlaps_are_those_of_a_library_for_polygons(rectangle, other, by_shapely):
    assert rectangles.iou(np.array(rectangle), np.array(other)) == pytest.approx(by_shapely, abs=1e-10)


def test_overlaps_are_those_of_counted_points():
    """Independent of any geometry: the share of points that lie in both, among those in either."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (200_000, 2))
    pairs = rng.uniform((20, 20, 10, 10, -3), (80, 80, 60, 60, 3), (30, 2, 5))

    def inside(rectangle):
        cx, cy, w, h, angle = rectangle
        right, down = (points - (cx, cy)).T
        along = right * np.cos(angle) + down * np.sin(angle)
        across = down * np.cos(angle) - right * np.sin(angle)
        return (abs(along) <= w / 2) & (abs(across) <= h / 2)

    whole = (rectangles.boxes_around(pairs.reshape(-1, 5)).reshape(30, 2, 4) >= 0).all(axis=(1, 2))
    whole &= (rectangles.boxes_around(pairs.reshape(-1, 5)).reshape(30, 2, 4) <= 100).all(axis=(1, 2))
    assert whole.sum() >= 10
    for first, second in pairs[whole]:
        both, either = (inside(first) & inside(second)).sum(), (inside(first) | inside(second)).sum()
        assert rectangles.iou(first, second) == pytest.approx(both / either, abs=0.01)


def probabilistic_iou(some, others):
    return 1 - np.sqrt(1 - np.sqrt(rectangles.likeness(some, others)))


def test_the_probabilistic_iou_is_ultralytics():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("ultralytics.utils.metrics").batch_probiou
    rng = np.random.default_rng(4)
    some = rng.uniform((20, 20, 5, 5, -3), (80, 80, 60, 60, 3), (60, 5))
    others = some + rng.normal(0, 2, some.shape) * (1, 1, 1, 1, 0.1)
    ours, expected = probabilistic_iou(some[:, None], others), theirs(*map(torch.from_numpy, (some, others)))
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-3)  # what keeps theirs from dividing by 0
    assert (ours > 0.7).sum() > 20 and (ours < 0.1).sum() > 500
    np.testing.assert_allclose(probabilistic_iou(some, some), 1, atol=1e-7)
    assert probabilistic_iou(some, some * (1, 1, 0, 1, 1)).tolist() == [0] * 60
    # Of a square it does not see the angle.
    assert probabilistic_iou(np.array(SQUARE), np.array((10, 20, 4, 4, EIGHTH))) == pytest.approx(1, abs=1e-7)


def test_the_share_of_a_detection_inside_a_crowd():
    detections = Instances(
        np.zeros((3, 4)),
        np.ones(3),
        np.zeros(3, int),
        {"rotated": np.array([SQUARE, (9, 9, 0, 0, 0), (12, 20, 4, 4, 0)])},
    )
    crowd = Instances(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), {"rotated": np.array([(12, 20, 4, 40, np.pi)])})
    assert share_inside(detections, crowd).tolist() == [[0.5], [0], [1]]
    assert overlap(detections, crowd).shape == (3, 1)


def test_overlaps_of_many_are_those_of_each_two():
    rng = np.random.default_rng(1)
    some, others = rng.uniform(1, 9, (4, 5)), rng.uniform(1, 9, (3, 5))
    many = rectangles.iou(some[:, None], others)
    assert many.shape == (4, 3)
    assert all(many[i, j] == rectangles.iou(some[i], others[j]) for i in range(4) for j in range(3))
    assert rectangles.iou(some[:0, None], others).shape == (0, 3)


def test_corners_and_the_box_around_are_ultralytics():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("ultralytics.utils.ops")
    drawn = np.random.default_rng(2).uniform((20, 20, 2, 2, -3), (80, 80, 60, 60, 3), (50, 5))
    ours = rectangles.corners(drawn)
    np.testing.assert_allclose(ours, ops.xywhr2xyxyxyxy(torch.from_numpy(drawn)).numpy(), atol=1e-12)
    np.testing.assert_array_equal(rectangles.boxes_around(drawn)[:, :2], ours.min(axis=1))
    np.testing.assert_allclose(rectangles.of_corners(ours), ops.xyxyxyxy2xywhr(ours), atol=1e-12)


def test_four_corners_are_the_rectangle_they_came_from():
    drawn = np.random.default_rng(3).uniform((20, 20, 9, 9, -3), (80, 80, 60, 60, 3), (200, 5))
    found = rectangles.of_corners(rectangles.corners(drawn))
    assert rectangles.iou(drawn, found).min() > 0.9999
    assert (found[:, 2] >= found[:, 3]).all()
    assert (found[:, 4] >= -EIGHTH).all() and (found[:, 4] < 3 * EIGHTH).all()
    assert rectangles.of_corners(np.zeros((0, 4, 2))).shape == (0, 5)
