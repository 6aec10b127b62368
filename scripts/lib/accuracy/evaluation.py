"""Accuracy of detections against labels, with its uncertainty."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.accuracy.average_precision import average_precision
from lib.accuracy.bootstrap import draw, interval, resampled_map
from lib.accuracy.detection_set import DetectionSet, read_arrays, write_arrays
from lib.accuracy.true_positives import match
from lib.data.manifest import check_manifest
from lib.step.errors import UserError
from lib.step.files import require
from lib.tasks.detect.labels import read_boxes


class Measured(NamedTuple):
    """The accuracy of one model: mAP50-95 (0..1) on the images, and on each resample of them."""

    images: list[str]
    seed: int  # that the resamples were drawn with
    map50_95: float
    resampled: np.ndarray  # float64 [resamples]


def evaluate(
    found: DetectionSet, dataset: Path, names: list[str], resamples: int, seed: int, baseline: Path | None = None
) -> tuple[dict, Measured]:
    """`measure` with the labels of a data set's folder; with `baseline`, FP32's file, the retention too.

    Raises UserError as `measure` and `retention` do, and when labels are missing or damaged.
    """
    check_manifest(require(dataset / "labels", "folder"))
    truth = [read_boxes(dataset, image, size, len(names)) for image, size in zip(found.images, found.sizes)]
    metrics, measured = measure(truth, found, names, resamples, seed)
    if baseline:
        metrics |= retention(measured, read_measured(baseline))
    return metrics, measured


def measure(
    truth: list[np.ndarray], found: DetectionSet, names: list[str], resamples: int, seed: int
) -> tuple[dict, Measured]:
    """Metrics of detections, with the interval of map50_95 over resamples of the images, and what they rest on.

    `truth`: of each image [n, 5] class, x1, y1, x2, y2 in its pixels. The metrics are those of `average_precision`, the
    number of images, and map50_95_low and _high. Raises UserError when no image has a labelled box.
    """
    if not any(map(len, truth)):
        raise UserError(f"the {len(truth)} images to evaluate on have no box at all, so mAP has no meaning")
    precision = average_precision(truth, found.found, found.sizes, names)
    resampled = resampled_map(match(truth, found.found, len(names)), draw(len(truth), resamples, seed))
    low, high = interval(resampled)
    metrics = {
        "images": len(truth),
        "map50_95": precision["map50_95"],
        "map50": precision["map50"],
        "map50_95_low": _number(low),
        "map50_95_high": _number(high),
        "per_class": precision["per_class"],
    }
    return metrics, Measured(found.images, seed, precision["map50_95"], resampled)


def retention(model: Measured, baseline: Measured) -> dict:
    """The model's mAP50-95 as a share of the baseline's, with the interval of that share over the resamples.

    None where the baseline finds nothing: it has nothing to retain. Raises UserError when the two were not measured on
    the same images and resamples.
    """
    require_same_resamples([model, baseline])
    if not baseline.map50_95:
        return {"retention": None, "retention_low": None, "retention_high": None}
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = interval(model.resampled / baseline.resampled)
    return {
        "retention": model.map50_95 / baseline.map50_95,
        "retention_low": _number(low),
        "retention_high": _number(high),
    }


def require_same_resamples(measured: list[Measured]) -> None:
    """Raises UserError when models were measured on different images or resamples."""
    if len({(tuple(each.images), each.seed, len(each.resampled)) for each in measured}) > 1:
        raise UserError("the models were measured on different images or resamples; run the steps that do it again")


def write_measured(path, measured: Measured) -> None:
    """Write a model's accuracy as NumPy's .npz, whole or not at all."""
    write_arrays(path, **measured._asdict())


def read_measured(path) -> Measured:
    """What `write_measured` wrote. Raises UserError when it is missing or damaged."""
    images, seed, map50_95, resampled = read_arrays(path, "resampled mAP", Measured._fields)
    return Measured([str(name) for name in images], int(seed), float(map50_95), resampled)


def _number(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if np.isnan(value) else value
