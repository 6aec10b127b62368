"""Accuracy of detections against labels, with its uncertainty."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.accuracy.average_precision import average_precision, box_map
from lib.accuracy.bootstrap import draw, interval, resampled_map
from lib.accuracy.detection_set import DetectionSet, read_arrays, write_arrays
from lib.accuracy.ignored import counted
from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.accuracy.true_positives import true_positives
from lib.accuracy.undecoded_set import UndecodedSet
from lib.data.manifest import check_manifest
from lib.detector.instances import SIGMAS, Instances
from lib.step.errors import UserError
from lib.step.files import require


class ResampledMap(NamedTuple):
    """mAP50-95 (0..1) of one model on the images, and on each resample of them."""

    images: list[str]
    seed: int  # that the resamples were drawn with
    map50_95: float
    resampled: np.ndarray  # float64 [resamples]


def evaluate(
    detections: DetectionSet | UndecodedSet,
    dataset: Path,
    names: list[str],
    resamples: int,
    seed: int,
    sigmas: tuple[float, ...] | None = None,
) -> tuple[Metrics, ResampledMap]:
    """`measure` with the labels of a data set's folder.

    sigmas: how far off each keypoint of a label may be; None for what COCO takes.

    Where nothing decodes the model there is no mAP (NaN in each resample), and labels are not looked at. Raises
    UserError as `measure` does, and when labels are missing or damaged.
    """
    if isinstance(detections, UndecodedSet):
        return _without_map(detections, resamples, seed)
    check_manifest(require(dataset / "labels", "folder"))
    task = tasks.get(detections.task)
    sized = zip(detections.images, detections.sizes)
    truth = [task.ground_truth(dataset, image, size, len(names)) for image, size in sized]
    truth = [with_sigmas(labels, sigmas) for labels in truth] if sigmas else truth
    return measure(truth, detections, names, resamples, seed)


def with_sigmas(labels: Instances, sigmas: tuple[float, ...]) -> Instances:
    """Labels whose keypoints may be so far off, one sigma per keypoint. Raises UserError where they are not as many."""
    keypoints = labels.extras.get("keypoints")
    if keypoints is None or not len(labels):
        return labels
    if keypoints.shape[1] != len(sigmas):
        raise UserError(
            f"evaluation.oks_sigmas has {len(sigmas)} numbers, the labels have {keypoints.shape[1]} keypoints; give "
            "one number per keypoint"
        )
    return replace(labels, extras=labels.extras | {SIGMAS: np.tile(np.array(sigmas), (len(labels), 1))})


def _without_map(undecoded: UndecodedSet, resamples: int, seed: int) -> tuple[Metrics, ResampledMap]:
    outputs = undecoded.outputs or None
    metrics = Metrics(len(undecoded.images), None, None, None, None, {}, undecoded=undecoded.why, outputs=outputs)
    return metrics, ResampledMap(undecoded.images, seed, float("nan"), np.full(resamples, np.nan))


def measure(
    truth: list[Instances], detections: DetectionSet, names: list[str], resamples: int, seed: int
) -> tuple[Metrics, ResampledMap]:
    """Metrics of detections against the labels of each image, with the mAP on each resample that its interval is of.

    Raises UserError when no image has a labelled object.
    """
    if not any(len(counted(labels)) for labels in truth):
        raise UserError(f"the {len(truth)} images to evaluate on have no box at all, so mAP has no meaning")
    precision = average_precision(truth, detections, names)
    task = tasks.get(detections.task)
    matches = true_positives(
        truth, detections.instances, len(names), task.overlap, task.share_inside, task.most_counted
    )
    resampled = resampled_map(matches, draw(len(truth), resamples, seed))
    low, high = map(_number, interval(resampled))
    metrics = Metrics(
        len(truth),
        precision.map50_95,
        precision.map50,
        low,
        high,
        precision.per_class,
        task=None if task.name == tasks.DEFAULT else task.name,
        box_map50_95=box_map(truth, detections, names),
    )
    return metrics, ResampledMap(detections.images, seed, precision.map50_95, resampled)


def compared(metrics: Metrics, model: ResampledMap, baseline: ResampledMap) -> ComparedMetrics:
    """A model's metrics with the share of the baseline's mAP50-95, and the interval of that share over the resamples.

    Raises UserError when the two were not measured on the same images and resamples, and when there is a mAP of the
    model and none of the baseline.
    """
    require_same_resamples([model, baseline])
    retention = low = high = None
    if np.isnan(baseline.map50_95) and not metrics.undecoded:
        raise UserError(
            "nothing decodes the outputs of the exported model, so there is no FP32 baseline to compare with"
        )
    if baseline.map50_95 and not metrics.undecoded:
        retention = model.map50_95 / baseline.map50_95
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = map(_number, interval(model.resampled / baseline.resampled))
    return ComparedMetrics(**vars(metrics), retention=retention, retention_low=low, retention_high=high)


def require_same_resamples(models: list[ResampledMap]) -> None:
    """Raises UserError when models were measured on different images or resamples."""
    if len({(tuple(model.images), model.seed, len(model.resampled)) for model in models}) > 1:
        raise UserError("the models were measured on different images or resamples; run the steps that do it again")


def write_resampled(path, resampled: ResampledMap) -> None:
    """Write a model's mAP on the resamples as NumPy's .npz, whole or not at all."""
    write_arrays(path, **resampled._asdict())


def read_resampled(path) -> ResampledMap:
    """What `write_resampled` wrote. Raises UserError when it is missing or damaged."""
    arrays = read_arrays(path, "resampled mAP", ResampledMap._fields)
    images = [str(name) for name in arrays["images"]]
    return ResampledMap(images, int(arrays["seed"]), float(arrays["map50_95"]), arrays["resampled"])


def _number(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if np.isnan(value) else value
