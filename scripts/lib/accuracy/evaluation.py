"""Accuracy of detections, compared with labels, and its uncertainty."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.accuracy.average_precision import average_precision, box_map
from lib.accuracy.bootstrap import draw, interval, resampled_map
from lib.accuracy.classes import classes_of, right
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.ignored import counted
from lib.accuracy.labels import labels_of
from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.accuracy.operating import BEST_F1, Wish, operating
from lib.accuracy.resampled_map import ResampledMap, require_same_resamples
from lib.accuracy.true_positives import true_positives
from lib.accuracy.undecoded_set import UndecodedSet
from lib.detector.instances import Instances
from lib.step.errors import UserError


class Choices(NamedTuple):
    """What the user may choose about an evaluation.

    sigmas: how far off each keypoint of a label may be; None for COCO's. wish: what the threshold is chosen for.
    """

    sigmas: tuple[float, ...] | None = None
    wish: Wish = BEST_F1


USUAL = Choices()


def evaluate(
    detections: DetectionSet | UndecodedSet,
    dataset: Path,
    names: list[str],
    resamples: int,
    seed: int,
    choices: Choices = USUAL,
) -> tuple[Metrics, ResampledMap]:
    """`measure` with the labels of a data set's folder.

    Where nothing decodes the model there is no mAP: for a classifier there is top-1 in its place, if the labels are
    classes of images; else it is NaN in each resample. Raises UserError as `measure` does, and when labels are
    missing or damaged.
    """
    if isinstance(detections, UndecodedSet):
        truth = classes_of(detections.images, dataset, len(names))
        if truth is None:
            return _without_map(detections, resamples, seed)
        if detections.best is None:
            raise UserError(
                f"the labels are classes of images, but the model has no output of one value for each of the "
                f"{len(names)} classes; give a classifier of these classes"
            )
        return measure_classes(detections, detections.best, truth, resamples, seed)
    truth = labels_of(detections, dataset, len(names), choices.sigmas)
    return measure(truth, detections, names, resamples, seed, choices.wish)


def _without_map(undecoded: UndecodedSet, resamples: int, seed: int) -> tuple[Metrics, ResampledMap]:
    outputs = undecoded.outputs or None
    metrics = Metrics(len(undecoded.images), None, None, None, None, {}, undecoded=undecoded.why, outputs=outputs)
    return metrics, ResampledMap(undecoded.images, seed, float("nan"), np.full(resamples, np.nan))


def measure_classes(
    undecoded: UndecodedSet, best: np.ndarray, truth: np.ndarray, resamples: int, seed: int
) -> tuple[Metrics, ResampledMap]:
    """Top-1 and top-5 of a classifier. best: the best classes of each image; truth: its labelled class."""
    is_right = right(best, truth)
    top1, top5 = (float(hits.mean()) for hits in is_right)
    resampled = draw(len(truth), resamples, seed) @ is_right.top1 / len(truth)
    low, high = interval(resampled)
    metrics, _ = _without_map(undecoded, resamples, seed)
    metrics = replace(metrics, top1=top1, top1_low=low, top1_high=high, top5=top5)
    return metrics, ResampledMap(undecoded.images, seed, top1, resampled)


def measure(
    truth: list[Instances],
    detections: DetectionSet,
    names: list[str],
    resamples: int,
    seed: int,
    wish: Wish = BEST_F1,
) -> tuple[Metrics, ResampledMap]:
    """Metrics of detections against the labels of each image, and the mAP on each resample, for its interval.

    The confidence threshold is the one that meets a `wish`.

    Raises UserError when no image has a labelled object.
    """
    if not any(len(counted(labels)) for labels in truth):
        raise UserError(
            f"none of the {len(truth)} images to evaluate on has a labelled box, so there is no mAP; add labels"
        )
    precision = average_precision(truth, detections, names)
    task = tasks.get(detections.task)
    matches = true_positives(
        truth, detections.instances, len(names), task.overlap, task.share_inside, task.most_counted
    )
    weights = draw(len(truth), resamples, seed)
    resampled = resampled_map(matches, weights)
    low, high = map(_number, interval(resampled))
    labelled = np.unique(np.concatenate([counted(labels).classes for labels in truth]))
    suggested, curve = operating(matches, len(truth), weights, [names[c] for c in labelled], wish)
    metrics = Metrics(
        len(truth),
        precision.map50_95,
        precision.map50,
        low,
        high,
        precision.per_class,
        operating=suggested,
        task=None if task.name == tasks.DEFAULT else task.name,
        box_map50_95=box_map(truth, detections, names),
    )
    return metrics, ResampledMap(detections.images, seed, precision.map50_95, resampled, curve)


def compared(metrics: Metrics, model: ResampledMap, baseline: ResampledMap) -> ComparedMetrics:
    """A model's metrics with its retention (mAP50-95 / the baseline's), and the interval of that over the resamples.

    For a classifier it is that of top-1.

    Raises UserError when the two were not measured on the same images and resamples, and when the model has a mAP but
    the baseline has none.
    """
    require_same_resamples([model, baseline])
    retention = low = high = None
    if np.isnan(baseline.map50_95) and not metrics.undecoded:
        raise UserError(
            "nothing decodes the outputs of the exported model, so there is no FP32 baseline to compare with"
        )
    if baseline.map50_95 and not np.isnan(model.map50_95):
        retention = model.map50_95 / baseline.map50_95
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = map(_number, interval(model.resampled / baseline.resampled))
    return ComparedMetrics(**vars(metrics), retention=retention, retention_low=low, retention_high=high)


def _number(value: float) -> float | None:
    """A number for JSON, which has no NaN: None instead."""
    return None if np.isnan(value) else value
