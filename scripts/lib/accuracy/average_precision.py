"""COCO average precision by faster-coco-eval. Definition: https://cocodataset.org/#detection-eval"""

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from lib.accuracy.true_positives import MAX_DETECTIONS
from lib.detector.instances import Instances


def average_precision(truth: list[np.ndarray], found: list[Instances], sizes: list[tuple[int, int]], names: list[str]):
    """mAP of detections against labels, image by image.

    `truth`: [n, 5] class, x1, y1, x2, y2 in pixels; `sizes`: (width, height) of each image. Returns a dict with
    `map50_95`, `map50` (0..1) and `per_class`: {name: {map50_95, map50, boxes}} for every class with a box to find.
    """
    reference = _ground_truth(truth, sizes, names)
    evaluation = COCOeval_faster(reference, reference.loadRes(_results(found)), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    # [IoU threshold 0.5:0.05:0.95, recall 0:0.01:1, class, area range, detections a image]
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, evaluation.params.maxDets.index(MAX_DETECTIONS)]
    boxes = np.bincount(np.concatenate([each[:, 0] for each in truth]).astype(int), minlength=len(names))
    present = np.flatnonzero(boxes)
    by_class = precision[:, :, present].mean(axis=1) if len(present) else np.zeros((10, 1))  # [IoU, class]
    return {
        "map50_95": float(by_class.mean()),
        "map50": float(by_class[0].mean()),
        "per_class": {
            names[c]: {"map50_95": float(ap.mean()), "map50": float(ap[0]), "boxes": int(boxes[c])}
            for c, ap in zip(present, by_class.T)
        },
    }


def _ground_truth(truth, sizes, names) -> COCO:
    annotations = []
    for image, boxes in enumerate(truth):
        for c, x1, y1, x2, y2 in boxes:
            width, height = float(x2 - x1), float(y2 - y1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(c),
                    "bbox": [float(x1), float(y1), width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    return COCO(
        {
            "images": [{"id": i, "width": width, "height": height} for i, (width, height) in enumerate(sizes)],
            "annotations": annotations,
            "categories": [{"id": c, "name": name} for c, name in enumerate(names)],
        }
    )


def _results(found: list[Instances]) -> list[dict]:
    return [
        {
            "image_id": image,
            "category_id": int(c),
            "bbox": [*map(float, (x1, y1, x2 - x1, y2 - y1))],
            "score": float(score),
        }
        for image, each in enumerate(found)
        for (x1, y1, x2, y2), score, c in zip(each.boxes, each.scores, each.classes)
    ]
