"""Decoding and NMS give what their definitions say."""

import numpy as np
import pytest

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.families.dfl import Dfl, mean_bins
from lib.detector.head import EXPORTED, SINGLE, SPLIT
from lib.detector.nms import keep, to_instances
from lib.detector.output_spec import OutputSpec
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)


def test_anchor_points_are_cell_centres_of_strides_8_16_32():
    points, strides = Dfl().centres(SIZE)
    assert len(points) == 12 * 8 + 6 * 4 + 3 * 2
    assert points[0].tolist() == [0.5, 0.5] and points[1].tolist() == [1.5, 0.5] and points[12].tolist() == [0.5, 1.5]
    assert strides.ravel().tolist() == [8] * 96 + [16] * 24 + [32] * 6


def test_dfl_is_the_mean_bin_under_the_softmax():
    logits = np.full((1, 64), -50.0)
    for side, weights in enumerate([{0: 1}, {15: 1}, {3: 1, 4: 1}, {2: 3, 6: 1}]):
        for position, weight in weights.items():
            logits[0, side * 16 + position] = np.log(weight)
    np.testing.assert_allclose(mean_bins(logits), [[0, 15, 3.5, 3]], atol=1e-5)


def random_predictions(seed: int, classes: int = 4) -> np.ndarray:
    """Predictions [N, 4+C] whose boxes lie around their anchor points at whole numbers of strides."""
    rng = np.random.default_rng(seed)
    points, strides = Dfl().centres(SIZE)
    distances = rng.integers(0, 16, (len(points), 4))
    low, high = points - distances[:, :2], points + distances[:, 2:]
    scores = rng.random((len(points), classes))
    return np.concatenate([(low + high) / 2 * strides, (high - low) * strides, scores], axis=1), distances


def test_both_heads_decode_to_what_the_exported_one_does():
    predictions, distances = random_predictions(0)
    exported = predictions.T[None].astype(np.float32)
    single = exported.copy()[..., None]
    single[:, :4] /= np.array([96, 64, 96, 64]).reshape(1, 4, 1, 1)
    bins = np.full((len(distances), 4, 16), -60.0, np.float32)
    np.put_along_axis(bins, distances[:, :, None], 0, axis=2)
    split, start = [], 0
    for height, width in ((8, 12), (4, 6), (2, 3)):
        rows = slice(start, start + height * width)
        split += [part.reshape(height * width, -1).T.reshape(1, -1, height, width)
                  for part in (bins[rows], predictions[rows, 4:])]  # fmt: skip
        start += height * width
    for head, outputs in ((EXPORTED, [exported]), (SINGLE, [single]), (SPLIT, split)):
        np.testing.assert_allclose(
            OutputSpec(SIZE, head, Dfl(), 4).predictions(outputs), predictions, atol=1e-4, err_msg=head
        )


@pytest.mark.parametrize("head", [EXPORTED, SINGLE, SPLIT])
def test_outputs_of_another_size_are_refused(head):
    with pytest.raises(UserError, match="not the"):
        OutputSpec(SIZE, head, Dfl(), 4).predictions([np.zeros((1, 8, 99))])


def detect(predictions, fit, **limits):
    return to_instances(predictions, *keep(predictions, **limits), fit)


def test_nms_is_class_wise_and_best_first():
    _, fit = letterbox(np.zeros((64, 96, 3), np.uint8), SIZE)
    predictions = np.array(
        [
            [20, 20, 10, 10, 0.5, 0.0],  # dropped: overlaps the next by more than 0.7
            [20, 21, 10, 10, 0.9, 0.0],
            [20, 20, 10, 10, 0.0, 0.6],  # another class: kept
            [60, 30, 10, 10, 0.3, 0.2],  # a candidate of both classes
            [80, 30, 10, 10, 0.0005, 0.0],  # below the confidence threshold
        ],
        np.float32,
    )
    found = detect(predictions, fit)
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.3, 0.2])
    assert found.classes.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(found.boxes[0], [15, 16, 25, 26], atol=1e-5)
    assert len(detect(predictions, fit, most=2).scores) == 2
    assert len(detect(predictions[4:], fit).scores) == 0


def test_order_of_equal_scores_is_settled():
    _, fit = letterbox(np.zeros((64, 96, 3), np.uint8), SIZE)
    # INT8 scores have 256 levels; here two, on boxes far apart and on one box of three classes.
    predictions = np.array(
        [[10, 10, 8, 8, 0.5, 0.25, 0.5], [30, 10, 8, 8, 0.25, 0.5, 0.25], [50, 10, 8, 8, 0.5, 0.0, 0.5]], np.float32
    )
    found = detect(predictions, fit)
    order = [(score, int(box[0]), int(c)) for box, score, c in zip(found.boxes, found.scores, found.classes)]
    assert order == [
        (0.5, 6, 0), (0.5, 6, 2), (0.5, 26, 1), (0.5, 46, 0), (0.5, 46, 2), (0.25, 6, 1), (0.25, 26, 0), (0.25, 26, 2),
    ]  # fmt: skip
    # Of two equal boxes of a class with equal scores, the one of the first anchor point stays.
    twice = np.array([[10, 10, 8, 8, 0.5], [10, 10.5, 8, 8, 0.5]], np.float32)
    assert detect(twice, fit).boxes[:, 1].tolist() == [6]
    assert detect(twice[::-1], fit).boxes[:, 1].tolist() == [6.5]


def test_overlap_across_classes_drops_nothing():
    _, fit = letterbox(np.zeros((64, 96, 3), np.uint8), SIZE)
    rng = np.random.default_rng(3)
    predictions = np.concatenate([rng.uniform(20, 40, (200, 4)), rng.random((200, 5))], axis=1).astype(np.float32)
    together = detect(predictions, fit, most=10_000)
    for c in range(5):
        alone = detect(np.concatenate([predictions[:, :4], predictions[:, 4 + c : 5 + c]], axis=1), fit, most=10_000)
        np.testing.assert_array_equal(together.boxes[together.classes == c], alone.boxes)
        assert 10 < len(alone.boxes) < 200
