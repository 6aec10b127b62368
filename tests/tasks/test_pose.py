"""Pose: labels, decoding of all heads, object keypoint similarity, mAP, drawing."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lib import tasks
from lib.accuracy.average_precision import average_precision, box_map
from lib.accuracy.bootstrap import resampled_map
from lib.accuracy.detection_set import DetectionSet, read_detections, write_detections
from lib.accuracy.evaluation import measure
from lib.accuracy.labels import with_sigmas
from lib.accuracy.true_positives import true_positives
from lib.data.imgsz import ImageSize
from lib.data.letterbox import fit_of
from lib.detector.families import OutputMap, cells
from lib.detector.families.distances import Distances
from lib.detector.families.sides import STRIDES
from lib.detector.head import EXPORTED, SELECTED, SPLIT
from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_UNLABELLED, Instances
from lib.detector.output_spec import OutputSpec
from lib.results.plots import detection_grid
from lib.step.errors import UserError
from lib.tasks.pose.overlap import AREA, COCO_SIGMAS, overlap

POSE = tasks.get("pose")
IMGSZ = ImageSize(96, 64)
SIZE = (320, 240)
NAMES = ["person", "horse"]


def spec_of(head=SPLIT, count=17, visibility=True, end2end=False, fine=False) -> OutputSpec:
    extras = [OutputMap("keypoints", stride, 2 * count) for stride in STRIDES]
    extras += [OutputMap("keypoints_fine", stride, 2 * count) for stride in STRIDES if fine]
    extras += [OutputMap("visibility", stride, count) for stride in STRIDES if visibility]
    return OutputSpec(IMGSZ, head, Distances(), 2, "pose", end2end, tuple(extras))


def random_outputs(spec: OutputSpec, seed=0) -> list[np.ndarray]:
    """Outputs of the head `split`."""
    rng = np.random.default_rng(seed)
    return [rng.random(output.shape(spec.imgsz), np.float32) * 2 for output in spec.maps()]


@pytest.mark.parametrize("visibility", [True, False])
def test_keypoints_lie_where_the_formula_says(visibility):
    spec = spec_of(visibility=visibility)
    raw = random_outputs(spec)
    predicted = POSE.predict(spec, raw)
    values = 3 if visibility else 2
    assert predicted.columns.shape == (spec.family.points(IMGSZ), 17 * values) and predicted.shared == ()
    columns = predicted.columns.reshape(-1, 17, values)
    row = 0
    for level, stride in enumerate(STRIDES):
        height, width = cells(IMGSZ, stride)
        y, x, keypoint = height - 1, 1, 5
        n = row + y * width + x
        places = raw[6 + level][0, :, y, x]
        assert columns[n, keypoint, 0] == pytest.approx((places[2 * keypoint] + x + 0.5) * stride)
        assert columns[n, keypoint, 1] == pytest.approx((places[2 * keypoint + 1] + y + 0.5) * stride)
        if visibility:
            assert columns[n, keypoint, 2] == raw[9 + level][0, keypoint, y, x]
        row += height * width


@pytest.mark.parametrize(
    ("coarse", "fine", "used"),
    [
        (2.0, 0.53125, 2.125),
        (-1.9, -0.4375, -1.75),
        (3.9, 0.984375, 3.9),  # at the end of its range
        (-4.1, -1.0, -4.1),
        (9.0, 1.0, 9.0),
        (2.0, 0.625, 2.5),  # as far apart as allowed
        (2.0, 0.626, 2.0),  # a range that another algorithm has cut
        (2.0, 0.374, 2.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_a_fine_value_is_used_where_its_map_can_hold_it(coarse, fine, used):
    spec = spec_of(fine=True)
    raw = [np.zeros(output.shape(IMGSZ), np.float32) for output in spec.maps()]
    raw[6][0, 11, 0, 0], raw[9][0, 11, 0, 0] = coarse, fine
    columns = POSE.predict(spec, raw).columns
    assert spec.columns == 51 and columns.shape[1] == 51
    assert columns[0, 3 * 5 + 1] == (np.float32(used) + np.float32(0.5)) * 8
    assert (np.delete(columns.reshape(-1, 17, 3)[0, :, :2].ravel(), 11) == 4).all()


def test_without_rounding_the_fine_map_changes_nothing():
    spec, coarse = spec_of(fine=True), spec_of()
    raw = random_outputs(coarse)
    maps = [values * 10 - 10 for values in raw[6:9]]
    with_fine = [*raw[:6], *maps, *(np.clip(values / 4, -1, 1) for values in maps), *raw[9:]]
    np.testing.assert_array_equal(
        POSE.predict(spec, with_fine).columns, POSE.predict(coarse, [*raw[:6], *maps, *raw[9:]]).columns
    )


@pytest.mark.parametrize("end2end", [False, True])
def test_every_head_gives_the_same_instances(end2end):
    """The heads that join predictions in one output hold what `split` is decoded to."""
    split = spec_of(end2end=end2end)
    raw = random_outputs(split)
    predicted = POSE.predict(split, raw)
    joined = np.concatenate([predicted.predictions, predicted.columns], axis=1).T[None]
    fit = fit_of(SIZE, IMGSZ)
    expected = POSE.instances(split, raw, fit, 0.5, 0.6, 50)
    assert len(expected) > 5 and expected.extras["keypoints"].dtype == np.float32
    exported = POSE.instances(replace(split, head=EXPORTED), [joined], fit, 0.5, 0.6, 50)
    np.testing.assert_array_equal(expected.extras["keypoints"], exported.extras["keypoints"])
    np.testing.assert_array_equal(expected.boxes, exported.boxes)
    if end2end:
        best = predicted.predictions[:, 4:].argmax(axis=1)
        centre, half = predicted.predictions[:, :2], predicted.predictions[:, 2:4] / 2
        scores = predicted.predictions[np.arange(len(best)), 4 + best, None]
        columns = [centre - half, centre + half, scores, best[:, None], predicted.columns]
        rows = np.concatenate(columns, axis=1)[None].astype(np.float32)
        selected = POSE.instances(replace(split, head=SELECTED), [rows], fit, 0.5, 0.6, 20)
        np.testing.assert_allclose(
            selected.extras["keypoints"][0], expected.extras["keypoints"][0], rtol=1e-5, atol=1e-4
        )


def test_keypoints_are_cut_at_the_images_edges_and_visible_where_nothing_is_told():
    spec = spec_of(visibility=False)
    raw = [output * 40 - 20 if number > 5 else output for number, output in enumerate(random_outputs(spec))]
    keypoints = POSE.instances(spec, raw, fit_of(SIZE, IMGSZ), 0.5, 0.6).extras["keypoints"]
    assert keypoints[:, :, :2].min() == 0 and (keypoints[:, :, :2].max(axis=(0, 1)) == SIZE).all()
    assert (keypoints[:, :, 2] == 1).all()
    none = POSE.instances(spec, raw, fit_of(SIZE, IMGSZ), 5, 0.6)
    assert len(none) == 0 and none.extras["keypoints"].shape == (0, 17, 3)


def label(points, box="0.5 0.5 0.4 0.6", kind=0, mark="") -> str:
    return f"{kind} {box} {' '.join(' '.join(map(str, point)) for point in points)} {mark}".strip() + "\n"


def test_labels_are_read_in_pixels(tmp_path):
    path = tmp_path / "a.txt"
    points = [(0.5, 0.25, 2), (0, 0, 0), (0.75, 0.5, 1)]
    path.write_text(label(points) + label([(0, 0, 0)] * 3, kind=1) + label(points, mark="crowd") + "\n")
    assert POSE.check_label(path, 2)[:4] == (2, 0, None, 0) and POSE.check_label(path, 2).ignored == 1
    labels = POSE.read_label(path, (200, 100), 2)
    np.testing.assert_allclose(labels.boxes[0], [60, 20, 140, 80])
    np.testing.assert_allclose(labels.extras["keypoints"][0], [[100, 25, 2], [0, 0, 0], [150, 50, 1]])
    assert labels.classes.tolist() == [0, 1, 0]
    assert labels.extras[IGNORED].tolist() == [0, IGNORED_UNLABELLED, IGNORED_CROWD] and AREA not in labels.extras
    path.write_text(label(points, mark="0.125") + label(points, kind=1, mark="0.25"))
    np.testing.assert_allclose(POSE.read_label(path, (200, 100), 2).extras[AREA], [2500, 5000])
    path.write_text("")
    assert len(POSE.read_label(path, (200, 100), 2)) == 0 and POSE.check_label(path, 2).text == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0.5 0.5 0.4 0.6\n", r"line 1 .* is a box without keypoints, for the task detect"),
        (label([(0.5, 0.5)]), "is not a label for pose"),
        (label([(0.5, 0.5, 2), (0.5, "x", 2)]), "is not a label for pose"),
        (label([(0.5, 0.5, 3)]), "3 is not a visibility; a keypoint's is 0, 1 or 2"),
        (label([(0.5, 1.5, 2)]), "keypoint 0.5 1.5 leaves the image"),
        (label([(0.5, 0.5, 2)], box="1.1 0.5 0.4 0.6"), "the box leaves the image by more than 1 %"),
        (label([(0.5, 0.5, 2)], box="0.9 0.5 -0.1 0.6"), "or its size is negative"),
        (label([(0.5, 0.5, 2)], kind=2), r"class 2 is not in 0\.\.1"),
        (label([(0.5, 0.5, 2)], kind=0.5), "class 0.5 is not in"),
        (label([(0.5, 0.5, 2)]) + label([(0.5, 0.5, 2)] * 2), r"line 2 .* has 2 keypoints, the first line 1"),
        (label([(0.5, 0.5, 2)], mark="7"), "the last number, 7, is not an area"),
        (label([(0.5, 0.5, 2)], mark="dense"), "is not a label for pose"),
    ],
)
def test_a_bad_label_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    for read in (lambda: POSE.check_label(path, 2), lambda: POSE.read_label(path, SIZE, 2)):
        with pytest.raises(UserError, match=said) as error:
            read()
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_is_a_little_outside_is_cut_and_a_box_without_area_is_dropped(tmp_path):
    path, beyond = tmp_path / "a.txt", [(1.004, 0.5, 2), (0.9, -0.009, 1), (-0.009, 2, 0)]
    sound = label([(0.5, 0.5, 2)] * 3)
    path.write_text(sound + label(beyond, box="0.9 0.5 0.208 0.6") + label(beyond, box="0.9 0.5 0 0.6", kind=1))
    checked = POSE.check_label(path, 2)
    assert (checked.objects, checked.points, checked.cut, checked.empty, checked.moved) == (2, 5, 1, (1,), 2)
    labels = POSE.read_label(path, (200, 100), 2)
    np.testing.assert_allclose(labels.boxes[1], [159.2, 20, 200, 80])
    np.testing.assert_allclose(labels.extras["keypoints"][1, :2], [[200, 50, 2], [180, 0, 1]])
    path.write_text(checked.text)
    again = POSE.read_label(path, (200, 100), 2)
    np.testing.assert_allclose(again.extras["keypoints"], labels.extras["keypoints"])
    np.testing.assert_allclose(again.boxes, labels.boxes)
    # As in Ultralytics, a box may extend beyond the image by any length.
    path.write_text(label([(0.5, 0.5, 2)] * 3, box="0.9 0.5 0.4 0.6"))
    checked = POSE.check_label(path, 2)
    assert (checked.objects, checked.cut, checked.far) == (1, 1, 1)
    np.testing.assert_allclose(POSE.read_label(path, (200, 100), 2).boxes, [[140, 20, 200, 80]])
    # A keypoint that is moved alone is no box that is cut.
    path.write_text(label(beyond))
    assert (POSE.check_label(path, 2).cut, POSE.check_label(path, 2).moved) == (0, 2)


def one(keypoints, box=(10, 10, 50, 90), **extras) -> Instances:
    return Instances(np.array([box], float), np.ones(1), np.zeros(1, int),
                     {"keypoints": np.array([keypoints], float)} | extras)  # fmt: skip


def test_similarity_is_cocos_formula():
    """By hand: one keypoint of three labelled is 3 px off, one 4 px; 0.53 of the box is the area, sigma 1/3."""
    labelled = one([(20, 20, 2), (30, 30, 1), (0, 0, 0)])
    found = one([(23, 20, 1), (30, 34, 1), (99, 99, 1)])
    area, sigma = 0.53 * 40 * 80, 1 / 3
    expected = np.mean([np.exp(-(d**2) / (2 * area * (2 * sigma) ** 2)) for d in (3, 4)])
    assert overlap(found, labelled) == pytest.approx(expected)
    known = replace(labelled, extras=labelled.extras | {AREA: np.array([100.0])})
    assert overlap(found, known) < overlap(found, labelled)
    strict = with_sigmas(labelled, (0.01, 0.01, 0.01))
    assert overlap(found, strict) < 0.01 and overlap(labelled, strict) == 1
    with pytest.raises(UserError, match="has 2 numbers, but the labels have 3 keypoints"):
        with_sigmas(labelled, (0.1, 0.1))


def test_similarity_of_an_object_without_a_labelled_keypoint_is_by_its_enlarged_box():
    """1 for keypoints within its box made three times as large, less beyond."""
    labelled = one([(0, 0, 0)] * 17, box=(100, 100, 120, 140))
    assert overlap(one([(81, 61, 1)] * 17), labelled) == 1
    assert 0 < overlap(one([(75, 61, 1)] * 17), labelled) < 0.6


def test_labels_of_another_number_of_keypoints_are_one_sentence():
    with pytest.raises(UserError, match="the labels have 5 keypoints, but the model has 17"):
        overlap(one([(1, 1, 1)] * 17), one([(1, 1, 1)] * 5))
    assert overlap(one([(1, 1, 1)] * 17)[:0], one([(1, 1, 1)] * 5)).shape == (0, 1)


def scene(seed: int, count=17, crowds=True) -> tuple[list[Instances], list[Instances]]:
    """Labels, some crowds and some without a labelled keypoint, and detections of 12 images, up to 40 in each."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(12):
        n = int(rng.integers(0, 9))
        low = rng.uniform(0, (250, 170), (n, 2))
        boxes = np.concatenate([low, low + rng.uniform(15, 70, (n, 2))], axis=1)
        places = rng.uniform(boxes[:, None, :2], boxes[:, None, 2:], (n, count, 2))
        visible = rng.integers(0, 3, (n, count, 1)) * (rng.random((n, 1, 1)) > 0.2)
        marks = np.where((visible == 0).all(axis=(1, 2)), IGNORED_UNLABELLED, 0).astype(np.uint8)
        if crowds and n:
            marks[rng.random(n) < 0.15] = IGNORED_CROWD
        extras = {"keypoints": np.concatenate([places, visible], axis=2), IGNORED: marks}
        extras[AREA] = 0.4 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        classes = rng.integers(0, 2, n)
        truth.append(Instances(boxes, np.ones(n), classes, extras))
        rows = rng.integers(0, n, int(rng.integers(0, 40))) if n else np.zeros(0, int)
        noise = np.exp(rng.uniform(-1, 3, (len(rows), 1, 1)))
        moved = places[rows] + rng.normal(0, 1, (len(rows), count, 2)) * noise
        keypoints = np.concatenate([moved, np.ones((len(rows), count, 1))], axis=2).astype(np.float32)
        shaken = (boxes[rows] + rng.normal(0, 3, (len(rows), 4))).astype(np.float32)
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
        scores = np.sort(rng.random(len(rows)).astype(np.float32))[::-1]
        kinds = np.where(rng.random(len(rows)) < 0.9, classes[rows] if n else 0, 1)
        found.append(Instances(shaken, scores, kinds, {"keypoints": keypoints}))
    return truth, found


def detection_set(found) -> DetectionSet:
    return DetectionSet([f"{number}.jpg" for number in range(len(found))], [SIZE] * len(found), found, "pose")


def coco(tool, evaluation, truth, found, kind="keypoints") -> float:
    """mAP50-95 by COCO's own code, of annotations as its files have them."""
    annotations, results = [], []
    for image, labels in enumerate(truth):
        for row in range(len(labels)):
            x1, y1, x2, y2 = map(float, labels.boxes[row])
            keypoints = labels.extras["keypoints"][row]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": int(labels.classes[row]) + 1,
                 "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(labels.extras[AREA][row]),
                 "iscrowd": int(labels.extras[IGNORED][row] == IGNORED_CROWD),
                 "keypoints": keypoints.ravel().tolist(), "num_keypoints": int((keypoints[:, 2] > 0).sum())}
            )  # fmt: skip
    for image, detections in enumerate(found):
        for row in range(len(detections)):
            x1, y1, x2, y2 = map(float, detections.boxes[row])
            results.append(
                {"image_id": image, "category_id": int(detections.classes[row]) + 1,
                 "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(detections.scores[row])}
                | ({"keypoints": detections.extras["keypoints"][row].astype(float).ravel().tolist()}
                   if kind == "keypoints" else {})
            )  # fmt: skip
    reference = tool()
    reference.dataset = {"info": {}, "images": [{"id": n} for n in range(len(truth))], "annotations": annotations,
                         "categories": [{"id": 1}, {"id": 2}]}  # fmt: skip
    reference.createIndex()
    measured = evaluation(reference, reference.loadRes(results), kind)
    count = truth[0].extras["keypoints"].shape[1]
    if kind == "keypoints" and count != len(COCO_SIGMAS):
        measured.params.kpt_oks_sigmas = np.full(count, 1 / count)
    measured.evaluate()
    measured.accumulate()
    precision = measured.eval["precision"][:, :, :, 0, -1]
    return float(np.mean([precision[:, :, c].mean() for c in range(2) if (precision[:, :, c] > -1).all()]))


@pytest.mark.parametrize("count", [17, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_map_is_that_of_pycocotools(seed, count):
    tool = pytest.importorskip("pycocotools.coco").COCO
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval
    truth, found = scene(seed, count)
    metrics, _ = measure(truth, detection_set(found), NAMES, 20, 0)
    assert metrics.map50_95 == pytest.approx(coco(tool, evaluation, truth, found), abs=1e-6)
    assert metrics.box_map50_95 == pytest.approx(coco(tool, evaluation, truth, found, "bbox"), abs=1e-6)


@pytest.mark.parametrize("crowds", [False, True])
def test_the_map_is_that_of_faster_coco_eval_and_of_the_matches(crowds, tmp_path):
    from faster_coco_eval import COCO, COCOeval_faster

    truth, found = scene(11, crowds=crowds)
    assert max(map(len, found)) > 20 and any((labels.extras[IGNORED] == IGNORED_UNLABELLED).any() for labels in truth)
    write_detections(tmp_path / "d.npz", detection_set(found))
    detections = read_detections(tmp_path / "d.npz")
    precision = average_precision(truth, detections, NAMES)
    assert precision.map50_95 == pytest.approx(coco(COCO, COCOeval_faster, truth, found), abs=1e-9)
    assert 0.1 < precision.map50_95 < 0.9
    # Images resampled once as they are give the plain mAP.
    matches = true_positives(truth, found, 2, POSE.overlap, POSE.share_inside, POSE.most_counted)
    [again] = resampled_map(matches, np.ones((1, len(truth)), int))
    assert again == pytest.approx(precision.map50_95, abs=1e-12)
    counted = sum((labels.extras[IGNORED] == 0).sum() for labels in truth)
    assert sum(of_class.boxes for of_class in precision.per_class.values()) == counted


def test_a_person_without_a_labelled_keypoint_counts_as_a_box_alone():
    unlabelled = one([(0, 0, 0)] * 17, **{IGNORED: np.array([IGNORED_UNLABELLED], np.uint8)})
    labelled = one([(20, 20, 2)] * 17, box=(10, 10, 30, 30), **{IGNORED: np.zeros(1, np.uint8)})
    found = [one([(30, 50, 1)] * 17), one([(20, 20, 1)] * 17, box=(10, 10, 30, 30))]
    detections = DetectionSet(["a", "b"], [SIZE] * 2, found, "pose")
    assert average_precision([unlabelled, labelled], detections, NAMES).map50_95 == 1
    assert box_map([unlabelled, labelled], detections, NAMES) == 1
    missed = DetectionSet(["a", "b"], [SIZE] * 2, [found[0][:0], found[1]], "pose")
    assert average_precision([unlabelled, labelled], missed, NAMES).map50_95 == 1, "it need not be found"
    assert box_map([unlabelled, labelled], missed, NAMES) == pytest.approx(51 / 101)
    with pytest.raises(UserError, match="has a labelled box, so there is no mAP"):
        measure([unlabelled], DetectionSet(["a"], [SIZE], found[:1], "pose"), NAMES, 10, 0)


def test_contract_says_how_keypoints_are_decoded():
    lines = POSE.contract_lines(spec_of())
    assert any(re.search(r"px = \(real\[2 k\] \+ x \+ 0\.5\) \* stride.*k = 0 to 16", line) for line in lines)
    assert any("no sigmoid" in line for line in lines) and lines[-1].startswith("image = (input")
    assert "the model does not predict the visibility of keypoints" in POSE.contract_lines(spec_of(visibility=False))


@pytest.mark.parametrize("count", [17, 4])
def test_keypoints_are_drawn_over_an_image(tmp_path, count):
    """A person's with lines between them; those that are not visible are not drawn."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((SIZE[1], SIZE[0], 3), 128, np.uint8))
    points = np.random.default_rng(0).uniform(60, 200, (count, 2))

    def shown(visibility, name):
        keypoints = np.concatenate([points, np.full((count, 1), visibility)], axis=1)
        instances = one(keypoints, box=(5, 5, 30, 30))
        detection_grid([tmp_path / "a.png"], {"FP32": [instances]}, NAMES, 0.1, POSE.draw, tmp_path / f"{name}.png")
        return cv2.imread(str(tmp_path / f"{name}.png"))

    seen, hidden = shown(0.9, "seen"), shown(0.1, "hidden")
    drawn = (seen != hidden).any(axis=2).mean()
    assert drawn > (0.01 if count == 17 else 0.0005)
