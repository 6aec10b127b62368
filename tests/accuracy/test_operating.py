"""The suggested threshold is the one that a plain count gives, and grants what was wished for."""

import numpy as np
import pytest

from lib.accuracy.bootstrap import draw
from lib.accuracy.operating import BEST_F1, THRESHOLDS, Wish, f1_of, in_words, operating
from lib.accuracy.true_positives import OVERLAP_THRESHOLDS, ClassMatches
from lib.step.errors import UserError

IMAGES = 40
NAMES = ["a", "b"]


def matches(seed=0, images=IMAGES, labels=1):
    """Of one class: 200 detections of random images, right the more likely the higher their score."""
    rng = np.random.default_rng(seed)
    score = np.sort(rng.uniform(0, 1, 200))[::-1]
    hit = np.repeat((rng.uniform(0, 1, 200) < score**2)[:, None], len(OVERLAP_THRESHOLDS), axis=1)
    image = rng.integers(0, images, 200)
    return ClassMatches(image, score, hit, np.bincount(image[hit[:, 0]], minlength=images) + labels)


def suggested(wish=BEST_F1, of_classes=None, weights=None):
    of_classes = of_classes or [matches(0), matches(1)]
    weights = draw(IMAGES, 50, 0) if weights is None else weights
    return operating(of_classes, IMAGES, weights, NAMES, wish)


def counted(of_classes, threshold):
    """Hits, what is reported, and labels, one detection after another."""
    hits = reported = 0
    for of_class in of_classes:
        for score, hit in zip(of_class.score, of_class.hit[:, 0]):
            hits, reported = hits + (score > threshold and hit), reported + (score > threshold)
    return hits, reported, sum(of_class.labels.sum() for of_class in of_classes)


def test_point_and_curve_are_those_of_a_plain_count():
    of_classes = [matches(0), matches(1)]
    result, curve = suggested()
    for place, threshold in enumerate(THRESHOLDS):
        hits, reported, labels = counted(of_classes, threshold)
        assert curve.recall[place] == pytest.approx(hits / labels)
        assert curve.precision[place] == pytest.approx(hits / reported)
        assert f1_of(curve)[place] == pytest.approx(2 * hits / (reported + labels))
    hits, reported, labels = counted(of_classes, result.point.threshold)
    point = result.point
    assert (point.precision, point.recall) == (round(hits / reported, 4), round(hits / labels, 4))
    assert point.f1 == round(2 * hits / (reported + labels), 4)
    assert point.false_per_image == round((reported - hits) / IMAGES, 4)
    assert result.met and result.low <= point.threshold <= result.high
    # The peak of the smoothed curve is near that of the curve.
    assert max(f1_of(curve)) - point.f1 < 0.02
    assert list(result.per_class) == ["a", "b"]


@pytest.mark.parametrize("limit", [0.5, 0.8, 0.95])
def test_precision_that_is_wished_for_is_granted_by_the_lowest_threshold(limit):
    result, curve = suggested(Wish("precision", limit))
    place = int(np.flatnonzero(curve.precision >= limit)[0])
    assert result.met and result.point.threshold == THRESHOLDS[place] and result.point.precision >= limit


def test_false_alarms_stay_below_the_limit():
    result, _ = suggested(Wish("false_per_image", 0.5))
    lower = counted([matches(0), matches(1)], result.point.threshold - 0.01)
    assert result.met and result.point.false_per_image <= 0.5 < (lower[1] - lower[0]) / IMAGES


def test_a_wish_that_no_threshold_grants_is_reported():
    wrong = matches(0)
    wrong.hit[0] = False  # the best of all detections
    wrong.score[0] = 1
    result, _ = suggested(Wish("precision", 1), [wrong, matches(1)])
    assert not result.met and "a" not in result.per_class
    assert "the nearest to precision=1" in in_words(result)


def test_detections_that_do_not_count_are_left_out():
    plain = matches(0)
    ignored = plain._replace(ignored=~plain.hit)
    result, _ = suggested(
        BEST_F1, [ignored, matches(1)._replace(hit=np.zeros((200, 10), bool), labels=np.zeros(40, int))]
    )
    only, _ = suggested(Wish("false_per_image", 0), [ignored, ignored])
    assert only.point.precision == 1 and only.point.threshold == 0.01
    assert result.point.precision < 1


def test_class_of_few_labels_gets_no_threshold_and_few_images_a_wide_interval():
    few = matches(1)
    few = few._replace(labels=np.r_[19, np.zeros(IMAGES - 1, int)])
    result, _ = suggested(BEST_F1, [matches(0), few])
    assert list(result.per_class) == ["a"]
    nothing = np.zeros((3, IMAGES), int)
    assert suggested(weights=nothing)[0].low is None


@pytest.mark.parametrize(
    "text", ["", "f1", "f1=0.5", "precision=0", "precision=1.5", "recall=0.9", "precision=-1", "x"]
)
def test_no_wish(text):
    with pytest.raises(UserError, match="does not choose a threshold"):
        Wish.parse(text)


@pytest.mark.parametrize("text", ["f1=best", "precision=0.95", "false_per_image=0.1", "precision=1"])
def test_wish_and_its_text(text):
    assert str(Wish.parse(text)) == text


def test_suggested_threshold_loses_little_on_other_images():
    """On the other half of the images, F1 there is near the best that any threshold has there."""
    rng = np.random.default_rng(5)
    losses = []
    for seed in range(20):
        halves = [matches(100 + seed, labels=0), matches(200 + seed, labels=0)]
        chosen, _ = operating(
            halves[:1], IMAGES, rng.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), 5), ["a"], BEST_F1
        )
        curve = f1_of(operating(halves[1:], IMAGES, draw(IMAGES, 2, 0), ["a"], BEST_F1)[1])
        losses.append(curve.max() - curve[round(chosen.point.threshold * 100) - 1])
    assert np.mean(losses) < 0.03
