"""The uncertainty of a mAP, by resampling the images: the bootstrap (Efron 1979, doi.org/10.1214/aos/1176344552).

A resample draws as many images as there are, with replacement. Two models that are resampled with the same seed see the
same images each time, so the images' difficulty cancels out in their ratio or difference: the paired bootstrap.

Detections are matched only once (lib.accuracy.true_positives). A resample is then one weight per image, and average
precision follows from cumulated weights, for many resamples at once. The result equals that of a plain evaluation of
the resampled images with the copies of an image side by side.
"""

import numpy as np

from lib.accuracy.true_positives import OVERLAP_THRESHOLDS, ClassMatches

LEVEL = 0.95
# Recall levels at which COCO reads the precision: https://cocodataset.org/#detection-eval
RECALLS = np.linspace(0, 1, 101)
# Most numbers in one table of resamples x detections; more images take more rounds, not more memory.
LARGEST_TABLE = 4_000_000


def draw(images: int, resamples: int, seed: int) -> np.ndarray:
    """How often each image is drawn in each resample: int [resamples, images]; the rows sum to `images`."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def resampled_map(matches: list[ClassMatches], weights: np.ndarray) -> np.ndarray:
    """mAP50-95 (0..1) for each row of `weights` [resamples, images]; NaN for a resample without any label.

    A class counts in those resamples in which it has a label, as in a plain evaluation.
    """
    classes = np.stack([_average_precision(of_class, weights) for of_class in matches], axis=1)
    present = ~np.isnan(classes)
    with np.errstate(invalid="ignore"):
        return np.where(present, classes, 0).sum(axis=1) / present.sum(axis=1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The limits that enclose the fraction LEVEL of the resampled values (percentile method); NaN without values."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _average_precision(matches: ClassMatches, weights: np.ndarray) -> np.ndarray:
    """AP50-95 of a class in each resample, float [resamples]; NaN where it has no label."""
    order, copy = _items(matches, int(weights.max()))
    image, hit = matches.image[order], matches.hit[order]
    ignored = None if matches.ignored is None else matches.ignored[order]
    rows = max(1, LARGEST_TABLE // max(1, len(image)))
    parts = [
        _of_block(
            image, copy, hit, ignored, weights[start : start + rows], weights[start : start + rows] @ matches.labels
        )
        for start in range(0, len(weights), rows)
    ]
    return np.concatenate(parts)


def _items(matches: ClassMatches, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Detections in the order of a plain evaluation, as (index, copy).

    A detection counts once per copy of its image (copy -1). The order of the copies matters only where an image has
    several detections of one score, and one of them hits: the first copy's detections come before the second's. These
    are listed for up to `most` copies, and each counts where its image has more than `copy` copies.
    """
    image, score, hit = matches.image, matches.score, matches.hit
    starts = np.flatnonzero(np.r_[True, (image[1:] != image[:-1]) | (score[1:] != score[:-1])][: len(image)])
    lengths = np.diff(np.r_[starts, len(image)])
    order, copies = [], []
    for start, length in zip(starts, lengths):
        members = np.arange(start, start + length)
        if length > 1 and hit[members].any():
            order.append(np.tile(members, most))
            copies.append(np.repeat(np.arange(most), length))
        else:
            order.append(members)
            copies.append(np.full(length, -1))
    if not order:
        return np.zeros(0, int), np.zeros(0, int)
    return np.concatenate(order), np.concatenate(copies)


def _of_block(image, copy, hit, ignored, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`_average_precision` of some resamples. weights: [resamples, images]. labels: number of objects, [resamples]."""
    # Transposed, so that sums over detections run along contiguous memory.
    drawn = weights[:, image]
    written_out = copy >= 0
    drawn[:, written_out] = drawn[:, written_out] > copy[written_out]
    detections = drawn.cumsum(axis=1)
    precisions = np.zeros(len(weights))  # summed over thresholds
    for threshold in range(len(OVERLAP_THRESHOLDS)):
        if ignored is not None:
            detections = (drawn * ~ignored[:, threshold]).cumsum(axis=1)
        # Detections that fit well hit at several thresholds.
        if not threshold or ignored is not None or (hit[:, threshold] != hit[:, threshold - 1]).any():
            precision = _mean_precision(drawn, detections, np.flatnonzero(hit[:, threshold]), labels)
        precisions += precision
    return np.where(labels > 0, precisions / len(OVERLAP_THRESHOLDS), np.nan)


def _mean_precision(drawn, detections, places, labels) -> np.ndarray:
    """The precision of each resample, averaged over RECALLS, where the detections at `places` are hits.

    drawn: how often each detection is drawn, [resamples, detections]. detections: its sums up to each detection.
    """
    hits = drawn[:, places].cumsum(axis=1)
    # Precision matters only at hits, since recall is constant in between. Before the first drawn image it is 0 / 0.
    precision = hits / np.maximum(detections[:, places], 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.searchsorted(RECALLS, hits / labels[:, None], side="right")
    return (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
