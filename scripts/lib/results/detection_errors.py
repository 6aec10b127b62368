"""errors.json: what a variant gets wrong in each evaluation image, worst first, and what to draw over some of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lib.accuracy.image_errors import Marked, changes, confusion, marked
from lib.detector.instances import Instances
from lib.results.sweep import Variant
from lib.step.typed_json import JsonRecord, omitted_if_none
from lib.tasks.task import Task

MOST_ERRORS, MOST_CHANGED = 12, 6  # images that are drawn for each
# What is drawn over an image, in this order.
TRUTH, UNCOUNTED, RIGHT, MISSED, FALSE = "truth", "uncounted", "right", "missed", "false"


@dataclass(frozen=True)
class ImageErrors(JsonRecord):
    """False detections and missed objects of an image, in INT8 and in FP32.

    objects: labelled ones that count. changed: detections that one of the two has and the other has not.
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
        """In INT8."""
        return self.false + self.missed


@dataclass(frozen=True)
class Tag(JsonRecord):
    """A text at an object: its kind, and where it stands, in pixels of the image."""

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
    """An image of so many pixels, and what to draw over it of each model."""

    image: str
    width: int
    height: int
    int8: Drawing
    fp32: Drawing


@dataclass(frozen=True)
class DetectionErrors(JsonRecord):
    """What a variant gets wrong above a threshold; the same threshold for FP32.

    threshold: None where nothing decodes the variant; then there is nothing else. images: worst first. confusion: by
    label and by detection, in the order of `names`; the last row and column are the background. drawn: the worst images
    first, and behind them those that INT8 changes most.
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
    """An image by its name and size, its labels, and what is detected in INT8 and in FP32."""

    image: str
    size: tuple[int, int]
    labels: Instances
    int8: Instances
    fp32: Instances


def detection_errors(
    variant: Variant, threshold: float, names: list[str], images: list[Evaluated], task: Task
) -> DetectionErrors:
    """What a variant and its FP32 baseline get wrong above `threshold`."""
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
    """The numbers of the images to draw: where none has an error the first ones that have an object."""
    worst = [n for n in order if errors[n].errors][:MOST_ERRORS]
    changed = sorted((n for n in order if errors[n].changed), key=lambda n: -errors[n].changed)[:MOST_CHANGED]
    shown = list(dict.fromkeys([*worst, *changed]))
    return shown or [n for n in order if errors[n].objects][:MOST_CHANGED]


def _drawing(mark: Marked, size: tuple[int, int], names: list[str], task: Task) -> Drawing:
    """The marks of an image: labels that are found, that do not count, and that are missed; right and false detections.

    Each of the last three has its name, and a detection its score.
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
    """A line [points, 2] as the data of an SVG path; it is closed where it ends as it begins, and a dot is `h0`."""
    points = [f"{x:.1f} {y:.1f}".replace(".0", "") for x, y in line]
    if len(points) == 1:
        return f"M{points[0]}h0"
    return f"M{'L'.join(points[:-1])}Z" if points[0] == points[-1] else f"M{'L'.join(points)}"
