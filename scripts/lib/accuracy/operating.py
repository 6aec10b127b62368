"""Which confidence threshold to detect with: precision, recall and F1 at each, and the one that meets a wish.

All classes are counted together, as the user of a detector sees them: precision is the fraction of the detections that
are right, recall the fraction of the objects that are found, F1 their harmonic mean, 2 hits / (detections + objects). A
detection is right at an overlap of 0.5 (Padilla et al. 2020, https://doi.org/10.1109/IWSSIP48289.2020.9145130). As in
the decoders, detections with a score above the threshold count.

On few images the peak of F1 depends on single detections. So the threshold of the best F1 is read from a curve that is
averaged over SMOOTHED steps on both sides; docs/accuracy.md says what that costs on other images.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lib.accuracy.bootstrap import interval
from lib.accuracy.true_positives import ClassMatches
from lib.step.errors import UserError
from lib.step.typed_json import JsonRecord

THRESHOLDS = np.arange(1, 100) / 100
SMOOTHED = 6  # steps of THRESHOLDS on each side
FEWEST_LABELS = 20  # a class with fewer gets no threshold of its own
AT = 0  # index into true_positives.OVERLAP_THRESHOLDS: 0.5
F1, PRECISION, FALSE_PER_IMAGE = "f1", "precision", "false_per_image"
BEST = "best"


@dataclass(frozen=True)
class Wish:
    """What the threshold is chosen for: the best F1, a precision of at least `limit`, or at most `limit` false alarms.

    kind: F1, PRECISION or FALSE_PER_IMAGE; `limit` is None for the first.
    """

    kind: str = F1
    limit: float | None = None

    def __str__(self) -> str:
        return f"{self.kind}={BEST if self.limit is None else f'{self.limit:g}'}"

    @classmethod
    def parse(cls, text: str) -> "Wish":
        """The wish in a text: `f1=best`, `precision=0.95`, `false_per_image=0.1`. Raises UserError for any other."""
        if text == f"{F1}={BEST}":
            return cls()
        kind, _, limit = text.partition("=")
        value = float(limit) if re.fullmatch(r"\d*\.?\d+", limit, re.ASCII) else -1
        if (kind == PRECISION and 0 < value <= 1) or (kind == FALSE_PER_IMAGE and value >= 0):
            return cls(kind, value)
        raise UserError(
            f"'{text}' does not choose a threshold; write f1=best, precision=0.95 (0 to 1) or false_per_image=0.1"
        )


BEST_F1 = Wish()


def add_operating_option(parser) -> None:
    """Add the option that says what the threshold is chosen for."""
    parser.add_argument("--operating", default=str(BEST_F1), metavar="WISH",
                        help="f1=best, precision=0.95 or false_per_image=0.1 (default: %(default)s)")  # fmt: skip


@dataclass(frozen=True)
class OperatingPoint(JsonRecord):
    """Precision, recall, F1 (0..1) and false alarms above a threshold; precision is None without detections."""

    threshold: float
    precision: float | None
    recall: float
    f1: float
    false_per_image: float


@dataclass(frozen=True)
class Operating(JsonRecord):
    """The suggested threshold, for all classes together and for each class with enough labels where one meets the wish.

    wish: what it is chosen for. met: whether a threshold meets the wish; if none does, the nearest is suggested. low,
    high: the limits of the threshold in 95 % of the resamples of the images; None where no resample has a label.
    """

    wish: str
    met: bool
    point: OperatingPoint
    low: float | None
    high: float | None
    per_class: dict[str, OperatingPoint]


class Curve(NamedTuple):
    """Precision (NaN without detections) and recall at each of THRESHOLDS, float64 [99]."""

    precision: np.ndarray
    recall: np.ndarray


class _Counts(NamedTuple):
    """At each of THRESHOLDS, in each image: hits and detections, [images, 99]; and the labels, [images]."""

    hits: np.ndarray
    reported: np.ndarray
    labels: np.ndarray

    def summed(self) -> "_Counts":
        """The sums over all images: [1, 99] and [1]."""
        return _Counts(*(values.sum(axis=0, keepdims=True) for values in self))

    def weighted(self, weights: np.ndarray) -> "_Counts":
        """The sums over the images of each resample, `weights` [resamples, images]."""
        return _Counts(*(weights @ values for values in self))

    def f1(self) -> np.ndarray:
        """F1 of each row, [rows, 99]; 0 without objects and detections."""
        total = self.reported + self.labels[:, None]
        return np.divide(2 * self.hits, total, out=np.zeros(total.shape), where=total > 0)

    def precision(self) -> np.ndarray:
        """Precision of each row, [rows, 99]; NaN without detections."""
        return np.divide(self.hits, self.reported, out=np.full(self.hits.shape, np.nan), where=self.reported > 0)

    def recall(self) -> np.ndarray:
        """Recall of each row, [rows, 99]; 0 without objects."""
        return self.hits / np.maximum(self.labels, 1)[:, None]

    def false_alarms(self) -> np.ndarray:
        """The number of false detections of each row, [rows, 99]."""
        return self.reported - self.hits


def operating(
    matches: list[ClassMatches], images: int, weights: np.ndarray, names: list[str], wish: Wish
) -> tuple[Operating, Curve]:
    """The threshold that meets a `wish`, and precision and recall at all thresholds.

    matches: of each class that has a label, in the order of `names`, the names of these classes. weights: how often
    each image is drawn in each resample, int [resamples, images].
    """
    of_classes = [_counts(of_class, images) for of_class in matches]
    every = _Counts(*(np.sum(values, axis=0) for values in zip(*of_classes)))
    whole = every.summed()
    [place], [met] = _chosen(whole, wish, np.array([images]))
    resampled = every.weighted(weights)
    places, _ = _chosen(resampled, wish, weights.sum(axis=1))
    low, high = interval(THRESHOLDS[places[resampled.labels > 0]])
    per_class = {}
    for name, counts in zip(names, of_classes, strict=True):
        of_class = counts.summed()
        [best], [granted] = _chosen(of_class, wish, np.array([images]))
        if granted and of_class.labels[0] >= FEWEST_LABELS:
            per_class[name] = _point(of_class, int(best), images)
    limits = (None if np.isnan(limit) else round(limit, 2) for limit in (low, high))
    suggested = Operating(str(wish), bool(met), _point(whole, int(place), images), *limits, per_class)
    return suggested, Curve(whole.precision()[0], whole.recall()[0])


def in_words(operating: Operating) -> str:
    """One phrase on the threshold and on precision, recall, F1 and false alarms at it."""
    point = operating.point
    precision = "–" if point.precision is None else f"{point.precision:.3f}"
    missed = "" if operating.met else f", the nearest to {operating.wish}"
    spread = "" if operating.low is None else f" ({operating.low:.2f} to {operating.high:.2f})"
    return (
        f"at confidence {point.threshold:.2f}{spread}{missed}: precision {precision}, recall {point.recall:.3f}, "
        f"F1 {point.f1:.3f}, {point.false_per_image:.2f} false alarms per image"
    )


def f1_of(curve: Curve) -> np.ndarray:
    """F1 at each of THRESHOLDS, float64 [99]; 0 where no detection is right."""
    precision = np.nan_to_num(curve.precision)
    total = precision + curve.recall
    return np.divide(2 * precision * curve.recall, total, out=np.zeros(len(total)), where=total > 0)


def no_curve() -> Curve:
    """The curve of a model whose outputs nothing decodes."""
    return Curve(*np.full((2, len(THRESHOLDS)), np.nan))


def _counts(matches: ClassMatches, images: int) -> _Counts:
    # A detection counts at the thresholds below its score: at the first so many.
    below = np.searchsorted(THRESHOLDS, matches.score.astype(float))
    counted = np.ones(len(below), bool) if matches.ignored is None else ~matches.ignored[:, AT]

    def above(chosen: np.ndarray) -> np.ndarray:
        steps = len(THRESHOLDS) + 1
        by_number = np.bincount(matches.image[chosen] * steps + below[chosen], minlength=images * steps)
        return by_number.reshape(images, steps)[:, :0:-1].cumsum(axis=1)[:, ::-1].astype(float)

    return _Counts(above(counted & matches.hit[:, AT]), above(counted), matches.labels.astype(float))


def _chosen(counts: _Counts, wish: Wish, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index into THRESHOLDS for each row of `counts`, over `images` images, and whether it meets the wish.

    Where several thresholds meet the wish, the lowest is taken, since it finds most objects.
    """
    if wish.kind == F1:
        return _smoothed(counts.f1()).argmax(axis=1), np.ones(len(counts.labels), bool)
    if wish.kind == PRECISION:
        value = np.nan_to_num(counts.precision(), nan=-1)
        granted = value >= wish.limit
    else:
        value = -counts.false_alarms() / images[:, None]
        granted = value >= -wish.limit
    met = granted.any(axis=1)
    return np.where(met, granted.argmax(axis=1), value.argmax(axis=1)), met


def _smoothed(curves: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, [rows, 99]; beyond the ends the last values are repeated."""
    width = 2 * SMOOTHED + 1
    padded = np.pad(curves, ((0, 0), (SMOOTHED, SMOOTHED)), mode="edge")
    sums = np.pad(padded.cumsum(axis=1), ((0, 0), (1, 0)))
    return (sums[:, width:] - sums[:, :-width]) / width


def _point(counts: _Counts, place: int, images: int) -> OperatingPoint:
    """The operating point at the threshold of index `place`, rounded to four digits."""
    precision = counts.precision()[0, place]
    return OperatingPoint(
        float(THRESHOLDS[place]),
        None if np.isnan(precision) else round(float(precision), 4),
        round(float(counts.recall()[0, place]), 4),
        round(float(counts.f1()[0, place]), 4),
        round(float(counts.false_alarms()[0, place]) / images, 4),
    )
