"""Object keypoint similarity (OKS): how near keypoints are to the labelled ones, relative to the object's size.

Definition: https://cocodataset.org/#keypoints-eval; code: pycocotools/cocoeval.py, `computeOks`. It is the mean of
exp(-d^2 / (2 area (2 sigma)^2)) over the labelled keypoints. For an object without any, which is ignored, d is the
distance of keypoints from its box enlarged threefold.
"""

import numpy as np

from lib.data.keypoints import AREA_OF_BOX
from lib.detector.instances import SIGMAS, Instances
from lib.step.errors import UserError
from lib.tasks.pose.keypoints import KEYPOINTS

AREA = "area"  # the extra of labels whose area is known, float64 [n], in square pixels
# For a person's 17 keypoints, nose to ankles; for others Ultralytics uses 1 / K (ultralytics/models/yolo/pose/val.py).
COCO_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
MOST_COUNTED = 20  # detections of an image (pycocotools/cocoeval.py, `setKpParams`)


def overlap(instances: Instances, others: Instances) -> np.ndarray:
    """OKS of n instances with m labelled others, whose areas and labelled keypoints are used: float64 [n, m]."""
    detected, labelled = (each.extras[KEYPOINTS].astype(np.float64) for each in (instances, others))
    similar = np.zeros((len(instances), len(others)))
    if not similar.size:
        return similar
    if detected.shape[1] != labelled.shape[1]:
        raise UserError(
            f"the labels have {labelled.shape[1]} keypoints, but the model has {detected.shape[1]}; use a model and "
            "labels with the same keypoints"
        )
    scales = (2 * sigmas(others)) ** 2 * (areas(others)[:, None] + np.spacing(1)) * 2
    for column, (target, box, scale) in enumerate(zip(labelled, others.boxes.astype(np.float64), scales)):
        counts = target[:, 2] > 0
        if counts.any():
            apart = detected[:, counts, :2] - target[counts, :2]
            scale = scale[counts]
        else:
            low, size = box[:2], box[2:] - box[:2]
            points = detected[:, :, :2]
            apart = np.maximum(0, low - size - points) + np.maximum(0, points - (low + 2 * size))
        similar[:, column] = np.exp(-(apart**2).sum(axis=2) / scale).mean(axis=1)
    return similar


def areas(instances: Instances) -> np.ndarray:
    """The area of each instance in square pixels, float64 [n]: the known one, or a fraction of the box's."""
    boxes = instances.boxes.astype(np.float64)
    return instances.extras.get(AREA, AREA_OF_BOX * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def sigmas(instances: Instances) -> np.ndarray:
    """The sigma of each keypoint (how far off it may be), float64 [n, K] or [1, K]."""
    count = instances.extras[KEYPOINTS].shape[1]
    usual = COCO_SIGMAS if count == len(COCO_SIGMAS) else np.full(count, 1 / count)
    return instances.extras.get(SIGMAS, usual[None])


def coco_fields(instances: Instances, size: tuple[int, int]) -> list[dict]:
    """Area, keypoints and the number of labelled ones, as in COCO's annotations."""
    return [
        {
            "area": float(area),
            "keypoints": keypoints.astype(float).ravel().tolist(),
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        }
        for area, keypoints in zip(areas(instances), instances.extras[KEYPOINTS])
    ]
