"""COCO average precision by faster-coco-eval. Definition: https://cocodataset.org/#detection-eval"""

from typing import NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from lib import tasks
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.ignored import as_boxes, counted, is_found_once, is_ignored, with_crowds
from lib.accuracy.metrics import ClassMetrics
from lib.detector.instances import Instances
from lib.tasks.task import Task

BOXES, KEYPOINTS = "bbox", "keypoints"  # the library's names of the IoU of boxes, and of OKS


class AveragePrecision(NamedTuple):
    """mAP (0..1) over all classes that have a labelled object, and AP (0..1) of each of these classes."""

    map50_95: float
    map50: float
    per_class: dict[str, ClassMetrics]


def average_precision(truth: list[Instances], detections: DetectionSet, names: list[str]) -> AveragePrecision:
    """mAP of detections against labels, `truth` image by image, by the overlap of their task."""
    task = tasks.get(detections.task)
    reference = _ground_truth(task, truth, detections.sizes, names)
    results = reference.loadRes(_annotations(task, detections.instances, detections.sizes))
    # The library's OKS supports only one set of sigmas for all labels, and of ignored labels its IoU supports only
    # crowds.
    if task.coco_iou_type not in (None, KEYPOINTS) and not any(is_ignored(labels).any() for labels in truth):
        evaluation = COCOeval_faster(reference, results, iouType=task.coco_iou_type)
    else:
        evaluation = _ByOverlap(task, truth, detections.instances, reference, results)
    evaluation.evaluate()
    evaluation.accumulate()
    # [overlap 0.5:0.05:0.95, recall 0:0.01:1, class, area range (first: all), detections per image (last: the most)]
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    objects = np.bincount(np.concatenate([counted(labels).classes for labels in truth]), minlength=len(names))
    present = np.flatnonzero(objects)
    by_class = precision[:, :, present].mean(axis=1) if len(present) else np.zeros((10, 1))  # [overlap, class]
    return AveragePrecision(
        float(by_class.mean()),
        float(by_class[0].mean()),
        {names[c]: ClassMetrics(float(ap.mean()), float(ap[0]), int(objects[c])) for c, ap in zip(present, by_class.T)},
    )


def box_map(truth: list[Instances], detections: DetectionSet, names: list[str]) -> float | None:
    """mAP50-95 (0..1) of the same detections by the IoU of their boxes; None where the task's overlap is that IoU."""
    if tasks.get(detections.task).coco_iou_type == BOXES:
        return None
    return average_precision(list(map(as_boxes, truth)), detections._replace(task=tasks.DEFAULT), names).map50_95


class _ByOverlap(COCOeval_faster):
    """The library's evaluation with a task's own overlap in place of the IoU of boxes, and with ignored labels."""

    def __init__(self, task: Task, truth: list[Instances], detections: list[Instances], *references):
        super().__init__(*references, iouType=KEYPOINTS if task.coco_iou_type == KEYPOINTS else BOXES)
        self.params.maxDets = [task.most_counted]
        self.params.catIds = self.cocoGt.getCatIds()  # for keypoints the library takes only classes that have a label
        self._overlap = with_crowds(task.overlap, task.share_inside)
        self._truth, self._detections, self._most = truth, detections, task.most_counted

    def computeIoU(self, imgId: int, catId: int):
        """Overlaps [detections, labels] of one image and class; detections best first, as the library orders them."""
        labels, detections = self._truth[imgId], self._detections[imgId]
        labels = labels[labels.classes == catId]
        detections = detections[detections.classes == catId]
        best = np.argsort(-detections.scores, kind="stable")[: self._most]
        return self._overlap(detections[best], labels) if len(labels) and len(best) else []

    computeOks = computeIoU


def _ground_truth(task: Task, truth: list[Instances], sizes: list[tuple[int, int]], names: list[str]) -> COCO:
    annotations = []
    crowds = np.concatenate([~is_found_once(labels) for labels in truth])
    for annotation, crowd in zip(_annotations(task, truth, sizes), crowds):
        _, _, width, height = annotation["bbox"]
        annotations.append({"id": len(annotations) + 1, "area": width * height, "iscrowd": int(crowd)} | annotation)
    return COCO(
        {
            "images": [{"id": i, "width": width, "height": height} for i, (width, height) in enumerate(sizes)],
            "annotations": annotations,
            "categories": [{"id": c, "name": name} for c, name in enumerate(names)],
        }
    )


def _annotations(task: Task, instances: list[Instances], sizes: list[tuple[int, int]]) -> list[dict]:
    """Instances, image by image, in COCO's format of results."""
    return [
        {
            "image_id": image,
            "category_id": int(c),
            "bbox": [*map(float, (x1, y1, x2 - x1, y2 - y1))],
            "score": float(score),
        }
        | fields
        for image, (objects, size) in enumerate(zip(instances, sizes))
        for (x1, y1, x2, y2), score, c, fields in zip(
            objects.boxes, objects.scores, objects.classes, task.coco_fields(objects, size)
        )
    ]
