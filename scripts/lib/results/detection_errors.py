"""errors.json: a variant's errors in each evaluation image, worst first, and what to draw over some of the images."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lib.accuracy.image_errors import Marked, changes, confusion, marked
from lib.detector.instances import Instances
from lib.results.sweep import Variant
from lib.step.typed_json import JsonRecord, omitted_if_none
from lib.tasks.task import Task

MOST_ERRORS, MOST_CHANGED = 12, 6  # images to draw: those with most errors, and those that INT8 changes most
# What is drawn over an image, in this order.
TRUTH, UNCOUNTED, RIGHT, MISSED, FALSE = "truth", "uncounted", "right", "missed", "false"


@dataclass(frozen=True)
class ImageErrors(JsonRecord):
    """False detections and missed objects of an image, in INT8 and in FP32.

    objects: labelled objects that count. changed: detections that only one of the two models has.
    """

    image: str
    objects: int
    false: int
    missed: int
    fp32_false: int
    fp32_missed: int
    changed: int

    @property
    def errors(self) -> int:
        """Number of errors in INT8."""
        return self.false + self.missed


@dataclass(frozen=True)
class Tag(JsonRecord):
    """A text at an object: its kind, and its position in pixels of the image."""

    kind: str
    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Drawing(JsonRecord):
    """What to draw over an image: the lines and the dots of each kind as the data of an SVG path, and the texts.

    dots: keypoints; None where there are none.
    """

    lines: dict[str, str]
    dots: dict[str, str] | None = omitted_if_none(kw_only=True)
    tags: tuple[Tag, ...]


@dataclass(frozen=True)
class DrawnImage(JsonRecord):
    """An image, its size in pixels, and what to draw over it for each model."""

    image: str
    width: int
    height: int
    int8: Drawing
    fp32: Drawing


@dataclass(frozen=True)
class DetectionErrors(JsonRecord):
    """A variant's errors above a confidence threshold; FP32 has the same threshold.

    threshold: None where nothing decodes the variant; then the rest is empty. images: worst first. confusion: rows are
    labels, columns detections, in the order of `names`; the last row and column are the background. drawn: the worst
    images first, then those that INT8 changes most.
    """

    variant: Variant
    threshold: float | None
    names: tuple[str, ...] = ()
    images: tuple[ImageErrors, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    drawn: tuple[DrawnImage, ...] = ()

    def of(self, image: str) -> ImageErrors:
        """The errors of one image."""
        return next(errors for errors in self.images if errors.image == image)


class Evaluated(NamedTuple):
    """An image's name and size, its labels, and its detections in INT8 and in FP32."""

    image: str
    size: tuple[int, int]
    labels: Instances
    int8: Instances
    fp32: Instances


def detection_errors(
    variant: Variant, threshold: float, names: list[str], images: list[Evaluated], task: Task
) -> DetectionErrors:
    """The errors of a variant and of its FP32 baseline above the confidence `threshold`."""
    int8 = [marked(of_image.labels, of_image.int8, threshold, task) for of_image in images]
    fp32 = [marked(of_image.labels, of_image.fp32, threshold, task) for of_image in images]
    errors = [
        ImageErrors(
            of_image.image,
            int(np.sum(~ours.ignored)),
            int(ours.false.sum()),
            int(ours.missed.sum()),
            int(theirs.false.sum()),
            int(theirs.missed.sum()),
            changes(of_image.fp32, of_image.int8, threshold, task),
        )
        for of_image, ours, theirs in zip(images, int8, fp32)
    ]
    order = sorted(range(len(images)), key=lambda n: (-errors[n].errors, -errors[n].changed, errors[n].image))
    return DetectionErrors(
        variant,
        threshold,
        tuple(names),
        tuple(errors[n] for n in order),
        tuple(tuple(map(int, row)) for row in confusion(int8, len(names), task)),
        tuple(
            DrawnImage(
                images[n].image,
                *images[n].size,
                _drawing(int8[n], images[n].size, names, task),
                _drawing(fp32[n], images[n].size, names, task),
            )
            for n in _shown(errors, order)
        ),
    )


def _shown(errors: list[ImageErrors], order: list[int]) -> list[int]:
    """The numbers of the images to draw; where none has an error, the first ones that have an object."""
    worst = [n for n in order if errors[n].errors][:MOST_ERRORS]
    changed = sorted((n for n in order if errors[n].changed), key=lambda n: -errors[n].changed)[:MOST_CHANGED]
    shown = list(dict.fromkeys([*worst, *changed]))
    return shown or [n for n in order if errors[n].objects][:MOST_CHANGED]


def _drawing(mark: Marked, size: tuple[int, int], names: list[str], task: Task) -> Drawing:
    """The drawing for an image: labels that are found, ignored or missed, and right and false detections.

    Missed labels and detections are named, detections also with their score.
    """
    uncounted = ~mark.right & ~mark.false
    kinds = (
        (TRUTH, mark.labels[mark.found & ~mark.ignored], None),
        (UNCOUNTED, mark.labels[mark.ignored], None),
        (UNCOUNTED, mark.detections[uncounted], None),
        (RIGHT, mark.detections[mark.right], "{name} {score:.2f}"),
        (MISSED, mark.labels[mark.missed], "{name}"),
        (FALSE, mark.detections[mark.false], "{name} {score:.2f}"),
    )
    lines, dots, tags = {}, {}, []
    for kind, instances, text in kinds:
        for outline, box, score, c in zip(
            task.outlines(instances, size), instances.boxes, instances.scores, instances.classes
        ):
            for line in outline:
                paths = dots if len(line) == 1 else lines
                paths[kind] = paths.get(kind, "") + _path(line)
            if text:
                x, y = np.clip(box[:2], 0, size)
                tags.append(Tag(kind, text.format(name=names[c], score=score), round(float(x), 1), round(float(y), 1)))
    return Drawing(lines, tuple(tags), dots=dots or None)


def _path(line: np.ndarray) -> str:
    """A line [points, 2] as SVG path data; it is closed where it ends at its first point; a single point is `h0`."""
    points = [f"{x:.1f} {y:.1f}".replace(".0", "") for x, y in line]
    if len(points) == 1:
        return f"M{points[0]}h0"
    return f"M{'L'.join(points[:-1])}Z" if points[0] == points[-1] else f"M{'L'.join(points)}"
