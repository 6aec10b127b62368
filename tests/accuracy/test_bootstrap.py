"""Intervals are those of plain evaluations of resampled images, and the files behind them are whole or refused."""

import json

import numpy as np
import pytest

from lib import tasks
from lib.accuracy import bootstrap
from lib.accuracy.average_precision import average_precision
from lib.accuracy.bootstrap import draw, interval, resampled_map
from lib.accuracy.detection_set import DetectionSet, read_detections, write_detections
from lib.accuracy.evaluation import compared, measure
from lib.accuracy.metrics import Metrics
from lib.accuracy.resampled_map import ResampledMap, read_resampled, require_same_resamples, write_resampled
from lib.accuracy.true_positives import true_positives
from lib.detector.instances import Instances, nothing
from lib.step.errors import UserError

IMAGES, CLASSES, SIZE = 24, 5, 640


def scene(rng, levels: int):
    """Labels of an image and detections in it: near hits, doubles, wrong classes, clutter.

    Scores take `levels` values, as in INT8, so that many are equal; any value with 0.
    """
    count = rng.integers(0, 6)
    corner, side = rng.uniform(0, 400, (count, 2)), rng.uniform(20, 200, (count, 2))
    truth = np.c_[rng.integers(0, CLASSES - 1, count), corner, corner + side]
    near = np.repeat(truth, rng.integers(0, 4, count), axis=0)
    near[:, 1:] += rng.normal(0, 8, near[:, 1:].shape)
    near[:, 0] = np.where(rng.random(len(near)) < 0.8, near[:, 0], rng.integers(0, CLASSES, len(near)))
    clutter = rng.uniform(0, 400, (30, 2))
    clutter = np.c_[rng.integers(0, CLASSES, 30), clutter, clutter + rng.uniform(20, 200, (30, 2))]
    found = np.concatenate([near, clutter])
    found[:, 3:] = np.maximum(found[:, 3:], found[:, 1:3] + 1)
    scores = rng.random(len(found)) * np.r_[np.ones(len(near)), np.full(30, 0.8)]
    if levels:
        scores = np.round(scores * levels) / levels
    order = np.argsort(-scores, kind="stable")
    boxes = found[order, 1:].astype(np.float32)
    labelled = Instances(truth[:, 1:], np.ones(count), truth[:, 0].astype(int))
    return labelled, Instances(boxes, scores[order].astype(np.float32), found[order, 0].astype(int))


def scenes(levels: int, seed: int = 0):
    """Labels and detections of IMAGES images."""
    rng = np.random.default_rng(seed)
    truth, found = zip(*(scene(rng, levels) for _ in range(IMAGES)))
    return list(truth), list(found)


NAMES = [str(number) for number in range(CLASSES)]


def detection_set(instances) -> DetectionSet:
    """Detections in images of one size."""
    return DetectionSet([f"{i}.jpg" for i in range(len(instances))], [(SIZE, SIZE)] * len(instances), instances)


def plain_map(truth, found, images=range(IMAGES)) -> float:
    """mAP50-95 of a plain evaluation by the library of some images, which may be named several times."""
    return average_precision([truth[i] for i in images], detection_set([found[i] for i in images]), NAMES).map50_95


def matched(truth, found):
    """The matches that resamples are made of."""
    return true_positives(truth, found, CLASSES, tasks.get("detect").overlap)


@pytest.mark.parametrize("levels", [0, 255, 12])
def test_resamples_are_plain_evaluations_of_the_drawn_images(levels):
    truth, found = scenes(levels)
    matches = matched(truth, found)
    assert resampled_map(matches, np.ones((1, IMAGES), int))[0] == pytest.approx(plain_map(truth, found), abs=1e-9)
    weights = draw(IMAGES, 5, seed=levels)
    assert weights.max() > 2
    for row, resampled in zip(weights, resampled_map(matches, weights)):
        drawn = np.repeat(np.arange(IMAGES), row)
        assert len(drawn) == IMAGES
        assert resampled == pytest.approx(plain_map(truth, found, drawn), abs=1e-9)


def test_a_class_counts_only_where_it_is_drawn():
    truth, found = scenes(0)
    weights = np.zeros((2, IMAGES), int)
    # Only the images of one class; and only images without any label.
    weights[0, [i for i, each in enumerate(truth) if set(each.classes) == {truth[1].classes[0]}]] = 1
    weights[1, [i for i, each in enumerate(truth) if not len(each)]] = 1
    assert weights.sum(axis=1).min() > 0
    first, second = resampled_map(matched(truth, found), weights)
    assert first == pytest.approx(plain_map(truth, found, np.flatnonzero(weights[0])), abs=1e-9)
    assert np.isnan(second)
    assert interval(np.array([0.1, second, 0.3])) == interval(np.array([0.1, 0.3]))
    assert all(map(np.isnan, interval(np.array([second]))))


def test_blocks_of_resamples_give_what_all_at_once_give(monkeypatch):
    truth, found = scenes(12)
    matches, weights = matched(truth, found), draw(IMAGES, 50, seed=0)
    at_once = resampled_map(matches, weights)
    monkeypatch.setattr(bootstrap, "LARGEST_TABLE", 1000)
    np.testing.assert_array_equal(resampled_map(matches, weights), at_once)


def test_draws_depend_on_the_seed_alone_and_are_of_all_images():
    weights = draw(7, 1000, seed=3)
    np.testing.assert_array_equal(weights, draw(7, 1000, seed=3))
    assert (weights != draw(7, 1000, seed=4)).any()
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_interval_leaves_out_a_fortieth_on_each_side():
    assert interval(np.arange(1001) / 1000) == pytest.approx((0.025, 0.975))


def test_identical_detections_keep_everything_for_sure():
    truth, found = scenes(255)
    (metrics, fp32), (_, int8) = (measure(truth, detection_set(found), NAMES, 200, seed=0) for _ in range(2))
    kept = compared(metrics, int8, fp32)
    assert (kept.retention, kept.retention_low, kept.retention_high) == (1, 1, 1)
    assert metrics.map50_95_low < metrics.map50_95 < metrics.map50_95_high
    assert metrics.images == IMAGES and list(metrics.per_class)


def test_worse_detections_keep_less_for_sure():
    truth, found = scenes(255)
    worse = [Instances(each.boxes + np.float32(30), each.scores, each.classes) for each in found]
    _, fp32 = measure(truth, detection_set(found), NAMES, 200, seed=0)
    kept = compared(*measure(truth, detection_set(worse), NAMES, 200, seed=0), fp32)
    assert kept.retention == pytest.approx(plain_map(truth, worse) / plain_map(truth, found))
    assert kept.retention_low < kept.retention < kept.retention_high < 1


def test_nothing_found_in_fp32_is_nothing_to_keep():
    unfound = ResampledMap(["a"], 0, 0.0, np.zeros(3))
    kept = compared(Metrics(1, 0.0, 0.0, 0.0, 0.0, {}), unfound, unfound)
    assert (kept.retention, kept.retention_low, kept.retention_high) == (None, None, None)


@pytest.mark.parametrize(("image", "seed", "resamples"), [("b", 0, 3), ("a", 1, 3), ("a", 0, 4)])
def test_models_measured_on_other_images_or_resamples_are_not_compared(image, seed, resamples):
    with pytest.raises(UserError, match="different images or resamples"):
        require_same_resamples(
            [ResampledMap(["a"], 0, 0.5, np.ones(3)), ResampledMap([image], seed, 0.5, np.ones(resamples))]
        )


def detections_file(path):
    truth, found = scenes(255)
    found[3] = nothing()
    write_detections(path, DetectionSet([f"{i}.jpg" for i in range(IMAGES)], [(SIZE, 480)] * IMAGES, found))
    return truth, found


def test_detections_come_back_as_they_were(tmp_path):
    _, found = detections_file(tmp_path / "d.npz")
    first = (tmp_path / "d.npz").read_bytes()
    back = read_detections(tmp_path / "d.npz")
    assert back.images[:2] == ["0.jpg", "1.jpg"] and set(back.sizes) == {(SIZE, 480)}
    for each, expected in zip(back.instances, found, strict=True):
        np.testing.assert_array_equal(each.boxes, expected.boxes)
        np.testing.assert_array_equal(each.scores, expected.scores)
        np.testing.assert_array_equal(each.classes, expected.classes)
    # No time stamp: the same detections give the same bytes.
    detections_file(tmp_path / "d.npz")
    assert (tmp_path / "d.npz").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]


def test_damaged_files_are_one_sentence(tmp_path):
    path = tmp_path / "d.npz"
    detections_file(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"no zip", whole[:100], whole[: len(whole) // 2], whole[:-30]]
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 0xFF
        damaged.append(bytes(flipped))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            read_detections(path)
        except UserError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    # A flipped byte in a zip's time stamps or attributes changes nothing.
    assert refused > 30
    write_resampled(path, ResampledMap(["a"], 0, 0.5, np.ones(3)))
    assert read_resampled(path).map50_95 == 0.5
    with pytest.raises(UserError, match="is damaged"):
        read_detections(path)
    path.unlink()
    with pytest.raises(UserError, match="does not exist"):
        read_detections(path)


def test_evaluate_step_needs_nothing_but_detections_and_labels(step, tmp_path):
    truth, found = scenes(255)
    (tmp_path / "labels").mkdir()
    for number, labels in enumerate(truth):
        low, high = labels.boxes[:, :2], labels.boxes[:, 2:]
        rows = np.c_[labels.classes, (low + high) / 2 / SIZE, (high - low) / SIZE]
        lines = [" ".join(f"{value:.17g}" for value in row) for row in rows]
        (tmp_path / "labels" / f"{number}.txt").write_text("\n".join(lines))
    write_detections(tmp_path / "d.npz", detection_set(found))
    options = ["--detections", tmp_path / "d.npz", "--dataset", tmp_path, "--names", *NAMES, "--resamples", 100,
               "--seed", 1]  # fmt: skip
    done = step("evaluate", *options, "--metrics", tmp_path / "f.json", "--resampled", tmp_path / "f.npz")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "f.json").read_text())
    assert metrics["map50_95"] == pytest.approx(plain_map(truth, found), abs=1e-9)
    done = step("evaluate", *options, "--metrics", tmp_path / "i.json", "--baseline", tmp_path / "f.npz")
    assert done.returncode == 0, done.stderr
    assert "1.000 of FP32 (1.000 to 1.000)" in done.stdout
    metrics = json.loads((tmp_path / "i.json").read_text())
    assert (metrics["retention"], metrics["retention_low"], metrics["retention_high"]) == (1, 1, 1)
    for other in (["--resamples", 99], ["--seed", 2]):
        done = step("evaluate", *options, *other, "--metrics", tmp_path / "n.json", "--baseline", tmp_path / "f.npz")
        assert done.returncode == 2 and "different images or resamples" in done.stderr
        assert not (tmp_path / "n.json").exists()


def test_images_without_any_box_are_one_sentence():
    with pytest.raises(UserError, match="has a labelled box, so there is no mAP"):
        measure([nothing()], detection_set([nothing()]), ["x"], 10, seed=0)
