"""Shapes and sigmas of keypoints are read in the forms that a config and a command line give them, or told."""

import numpy as np
import pytest

from lib.accuracy.labels import with_sigmas
from lib.data.keypoints import keypoint_shape, keypoint_sigmas
from lib.detector.instances import SIGMAS, Instances, nothing
from lib.step.errors import UserError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("coco", None),
        (["coco"], None),
        ([0.1, 2], (0.1, 2)),
        (["0.1 2", "3"], (0.1, 2, 3)),
        ("1e-1 2", (0.1, 2)),
    ],
)
def test_sigmas_are_numbers_or_texts_of_them(given, expected):
    assert keypoint_sigmas(given, "x") == expected


@pytest.mark.parametrize("given", ["", "coc", [0.1, 0], ["-1"], ["inf"], ["nan"], [["coco", "0.1"]]])
def test_sigmas_that_are_none_are_told(given):
    with pytest.raises(UserError, match=r"x is '.*', neither coco nor a positive number per keypoint"):
        keypoint_sigmas(given, "x")


@pytest.mark.parametrize("given", [17, [17], [17, 4], [0, 2], [17, 3, 2], [17.0, 3], [True, 2], "17 3", None])
def test_a_shape_that_is_none_is_told(given):
    assert str(keypoint_shape([17, 3], "x")) == "[17, 3]" and keypoint_shape((1, 2), "x").values == 2
    with pytest.raises(UserError, match=r"x is .*, not the number of keypoints per object and the values of each"):
        keypoint_shape(given, "x")


def test_labels_get_a_sigma_per_keypoint():
    labels = Instances(np.zeros((2, 4)), np.ones(2), np.zeros(2, int), {"keypoints": np.zeros((2, 3, 3))})
    assert with_sigmas(labels, (1, 2, 3)).extras[SIGMAS].tolist() == [[1, 2, 3]] * 2
    with pytest.raises(UserError, match="oks_sigmas has 2 numbers, but the labels have 3 keypoints"):
        with_sigmas(labels, (1, 2))
    assert with_sigmas(nothing(), (1, 2)).extras == {}
