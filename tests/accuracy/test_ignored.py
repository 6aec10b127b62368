"""Crowds and difficult objects count neither as objects to find nor as mistakes, in mAP and in its resamples alike."""

import numpy as np
import pytest

from lib import tasks
from lib.accuracy.average_precision import average_precision
from lib.accuracy.bootstrap import resampled_map
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.evaluation import measure
from lib.accuracy.true_positives import true_positives
from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_DIFFICULT, Instances
from lib.step.errors import UserError

SIZE = (200, 150)
NAMES = ["a", "b", "c"]


def scene(seed: int) -> tuple[list[Instances], list[Instances]]:
    """Labels, some of them crowds, and detections near them, in them and elsewhere, of twelve images."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(12):
        corner, side = random.uniform(0, 100, (6, 2)), random.uniform(15, 50, (6, 2))
        boxes = np.concatenate([corner, corner + side], axis=1)
        classes, crowd = random.integers(0, 3, 6), random.random(6) < 0.3
        extras = {IGNORED: np.where(crowd, IGNORED_CROWD, 0).astype(np.uint8)} if crowd.any() else {}
        truth.append(Instances(boxes, np.ones(6), classes, extras))
        near = np.repeat(boxes, 3, axis=0) + random.normal(0, 4, (18, 4))
        inside = boxes * [0.6, 0.6, 0.4, 0.4] + boxes[:, [2, 3, 0, 1]] * [0.4, 0.4, 0.6, 0.6]
        far = random.uniform(0, 90, (4, 2))
        all_boxes = np.concatenate([near, inside, np.concatenate([far, far + 20], axis=1)])
        kinds = np.concatenate([np.repeat(classes, 3), classes, random.integers(0, 3, 4)])
        scores = np.sort(random.random(len(kinds)))[::-1]
        order = random.permutation(len(kinds))
        found.append(Instances(all_boxes[order], scores, kinds[order]))
    return truth, found


def detections(found) -> DetectionSet:
    return DetectionSet([f"{n}.jpg" for n in range(len(found))], [SIZE] * len(found), found)


def coco(tool, evaluation, truth, found) -> float:
    """mAP50-95 as COCO's own evaluation gives it, from its own JSON: no line of ours takes part."""

    def box(corners):
        x1, y1, x2, y2 = map(float, corners)
        return [x1, y1, x2 - x1, y2 - y1]

    annotations, results = [], []
    for image, labels in enumerate(truth):
        marks = labels.extras.get(IGNORED, np.zeros(len(labels)))
        for corners, kind, mark in zip(labels.boxes, labels.classes, marks):
            x, y, width, height = box(corners)
            named = {"id": len(annotations) + 1, "image_id": image + 1, "category_id": int(kind) + 1}
            place = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": int(mark > 0)}
            annotations.append(named | place)
    for image, one in enumerate(found):
        for corners, kind, score in zip(one.boxes, one.classes, one.scores):
            results.append({"image_id": image + 1, "category_id": int(kind) + 1, "bbox": box(corners),
                            "score": float(score)})  # fmt: skip
    reference = tool()
    reference.dataset = {
        "info": {}, "images": [{"id": n + 1, "width": SIZE[0], "height": SIZE[1]} for n in range(len(truth))],
        "annotations": annotations, "categories": [{"id": n + 1, "name": name} for n, name in enumerate(NAMES)],
    }  # fmt: skip
    reference.createIndex()
    measured = evaluation(reference, reference.loadRes(results), "bbox")
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    return float(measured.stats[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("library", ["pycocotools", "faster_coco_eval"])
def test_crowds_count_as_in_cocos_own_evaluation(library, seed):
    package = pytest.importorskip(library)
    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        COCO, COCOeval = package.COCO, package.COCOeval_faster
    truth, found = scene(seed)
    assert any(IGNORED in labels.extras for labels in truth)
    ours = average_precision(truth, detections(found), NAMES)
    assert ours.map50_95 == pytest.approx(coco(COCO, COCOeval, truth, found), abs=1e-6)


@pytest.mark.parametrize("mark", [IGNORED_CROWD, IGNORED_DIFFICULT])
def test_the_matches_for_resampling_give_the_same_map(mark):
    truth, found = scene(7)
    for one in truth:
        if IGNORED in one.extras:
            one.extras[IGNORED][one.extras[IGNORED] > 0] = mark
    matches = true_positives(truth, found, 3, tasks.get("detect").overlap)
    assert any(of_class.ignored is not None for of_class in matches)
    [resampled] = resampled_map(matches, np.ones((1, len(truth)), int))
    assert resampled == pytest.approx(average_precision(truth, detections(found), NAMES).map50_95, abs=1e-9)


def one_image(labels, marks, boxes) -> float:
    """mAP50-95 of the detections `boxes`, of falling score, in one image."""
    labels, boxes = np.array(labels, float), np.array(boxes, float)
    truth = Instances(labels, np.ones(len(labels)), np.zeros(len(labels), int), {IGNORED: np.array(marks, np.uint8)})
    found = Instances(boxes, np.linspace(0.9, 0.5, len(boxes)), np.zeros(len(boxes), int))
    return average_precision([truth], detections([found]), ["a"]).map50_95


OBJECT, OTHER = [0, 0, 20, 20], [50, 50, 90, 90]


def test_what_is_found_at_a_difficult_object_is_neither_right_nor_wrong():
    assert one_image([OBJECT], [0], [OTHER, OBJECT]) == pytest.approx(0.5)
    assert one_image([OBJECT, OTHER], [0, IGNORED_DIFFICULT], [OTHER, OTHER, OBJECT]) == 1
    assert one_image([OBJECT, OTHER], [0, IGNORED_DIFFICULT], [OBJECT]) == 1, "it need not be found"


def test_a_part_of_a_crowd_is_in_it_and_a_part_of_a_difficult_object_is_not():
    part = [55, 55, 65, 65]
    assert one_image([OBJECT, OTHER], [0, IGNORED_CROWD], [part, OBJECT]) == 1
    assert one_image([OBJECT, OTHER], [0, IGNORED_DIFFICULT], [part, OBJECT]) == pytest.approx(0.5)


def test_labels_that_all_do_not_count_are_no_labels():
    truth = Instances(np.array([OBJECT], float), np.ones(1), np.zeros(1, int), {IGNORED: np.array([1], np.uint8)})
    with pytest.raises(UserError, match="has a labelled box, so there is no mAP"):
        measure([truth], detections([Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))]), ["a"], 10, 0)
