"""The labels that detections are compared with."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import tasks
from lib.accuracy.detection_set import DetectionSet
from lib.data.manifest import check_manifest
from lib.detector.instances import SIGMAS, Instances
from lib.step.errors import UserError
from lib.step.files import require


def labels_of(
    detections: DetectionSet, dataset: Path, classes: int, sigmas: tuple[float, ...] | None = None
) -> list[Instances]:
    """The labels of each image of a set of detections, from a data set's folder; `sigmas` as in Choices.

    Raises UserError as `with_sigmas` does, and when labels are missing or damaged.
    """
    check_manifest(require(dataset / "labels", "folder"))
    task = tasks.get(detections.task)
    sized = zip(detections.images, detections.sizes)
    truth = [task.ground_truth(dataset, image, size, classes) for image, size in sized]
    return [with_sigmas(labels, sigmas) for labels in truth] if sigmas else truth


def with_sigmas(labels: Instances, sigmas: tuple[float, ...]) -> Instances:
    """Labels with a sigma (how far off) per keypoint. Raises UserError when the numbers of both differ."""
    keypoints = labels.extras.get("keypoints")
    if keypoints is None or not len(labels):
        return labels
    if keypoints.shape[1] != len(sigmas):
        raise UserError(
            f"evaluation.oks_sigmas has {len(sigmas)} numbers, but the labels have {keypoints.shape[1]} keypoints; "
            "give one number per keypoint"
        )
    return replace(labels, extras=labels.extras | {SIGMAS: np.tile(np.array(sigmas), (len(labels), 1))})
