"""Object keypoint similarity (OKS): how near keypoints are to the labelled ones, for the size of the object.

Definition: https://cocodataset.org/#keypoints-eval; code: pycocotools/cocoeval.py, `computeOks`. It is the mean of
exp(-d^2 / (2 area (2 sigma)^2)) over the labelled keypoints. Of an object without any, which counts neither way, d is
how far keypoints are from its box made three times as large.
"""

import numpy as np

from lib.data.keypoints import AREA_OF_BOX
from lib.detector.instances import SIGMAS, Instances
from lib.step.errors import UserError
from lib.tasks.pose.keypoints import KEYPOINTS

AREA = "area"  # the extra of labels whose area is known, float64 [n], in square pixels
# Of a person's 17 keypoints, nose to ankles; of others Ultralytics takes 1 / K (ultralytics/models/yolo/pose/val.py).
COCO_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
MOST_COUNTED = 20  # people of an image (pycocotools/cocoeval.py, `setKpParams`)


def overlap(instances: Instances, others: Instances) -> np.ndarray:
    """OKS of n instances for m others, whose areas and labelled keypoints count: float64 [n, m]."""
    found, labelled = instances.extras[KEYPOINTS].astype(np.float64), others.extras[KEYPOINTS].astype(np.float64)
    similar = np.zeros((len(instances), len(others)))
    if not similar.size:
        return similar
    if found.shape[1] != labelled.shape[1]:
        raise UserError(
            f"the labels have {labelled.shape[1]} keypoints, the model {found.shape[1]}; the two must be of one kind"
        )
    scales = (2 * sigmas(others)) ** 2 * (areas(others)[:, None] + np.spacing(1)) * 2
    for column, (target, box, scale) in enumerate(zip(labelled, others.boxes.astype(np.float64), scales)):
        counts = target[:, 2] > 0
        if counts.any():
            apart = found[:, counts, :2] - target[counts, :2]
            scale = scale[counts]
        else:
            low, size = box[:2], box[2:] - box[:2]
            apart = np.maximum(0, low - size - found[:, :, :2]) + np.maximum(0, found[:, :, :2] - (low + 2 * size))
        similar[:, column] = np.exp(-(apart**2).sum(axis=2) / scale).mean(axis=1)
    return similar


def areas(instances: Instances) -> np.ndarray:
    """Square pixels of each, float64 [n]: those that are known, or a share of the box's."""
    boxes = instances.boxes.astype(np.float64)
    return instances.extras.get(AREA, AREA_OF_BOX * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def sigmas(instances: Instances) -> np.ndarray:
    """How far off each keypoint may be, float64 [n, K] or [1, K]."""
    count = instances.extras[KEYPOINTS].shape[1]
    usual = COCO_SIGMAS if count == len(COCO_SIGMAS) else np.full(count, 1 / count)
    return instances.extras.get(SIGMAS, usual[None])


def coco_fields(instances: Instances, size: tuple[int, int]) -> list[dict]:
    """Area, keypoints and how many of them are labelled, as COCO's annotations have them."""
    return [
        {
            "area": float(area),
            "keypoints": keypoints.astype(float).ravel().tolist(),
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        }
        for area, keypoints in zip(areas(instances), instances.extras[KEYPOINTS])
    ]
