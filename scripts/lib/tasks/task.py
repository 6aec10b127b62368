"""The interface of a task: everything that the rest of the program asks of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.checked_labels import CheckedLabel, Words
from lib.data.formats.source import Lined, Source, box_line
from lib.data.letterbox import Letterbox
from lib.data.split import EVALUATION, read_split
from lib.detector.head import SPLIT
from lib.detector.instances import Instances
from lib.detector.nms import CONFIDENCE, IOU, MOST, keep, to_instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.bundle_part import BundlePart
from lib.tasks.crowds import share_inside

MOST_COUNTED = 100  # COCO's own limit for its headline figure


class Predicted(NamedTuple):
    """The predictions in one image's raw outputs, in pixels of the input.

    predictions: float32 [N, 4+C], cx, cy, w, h and class scores. columns: float32 [N, E], what the task adds to each,
    as in the head `exported`. shared: outputs that all predictions share.
    """

    predictions: np.ndarray
    columns: np.ndarray
    shared: tuple[np.ndarray, ...] = ()


def boxes_alone(outputs: OutputSpec, raw: list[np.ndarray]) -> Predicted:
    """Only boxes and scores."""
    predictions = outputs.predictions(raw)
    return Predicted(predictions, np.zeros((len(predictions), 0), np.float32))


def kept_boxes(predicted: Predicted, confidence: float, iou: float | None, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions remain after class-wise NMS of boxes, and their classes, as lib.detector.nms.keep."""
    return keep(predicted.predictions, confidence, iou, most)


def nothing_besides(
    outputs: OutputSpec, predicted: Predicted, rows: np.ndarray, boxes: Instances, fit: Letterbox
) -> Instances:
    """The boxes unchanged: the task adds nothing."""
    return boxes


def box_outlines(instances: Instances, size: tuple[int, int]) -> list[list[np.ndarray]]:
    """For each instance its box, as one closed line."""
    # x and y of the corners, around the box and back to the first.
    corners = instances.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]].reshape(-1, 5, 2)
    return [[corner] for corner in corners]


def as_they_stand(source: Source, kpt_shape: object) -> None:
    """None: the lines of label files are not rewritten."""


def no_coco_fields(instances: Instances, size: tuple[int, int]) -> list[dict]:
    """No fields besides box, area and class."""
    return [{} for _ in range(len(instances))]


@dataclass(frozen=True)
class Task:
    """A task: what an instance has besides its box, class and score, and everything that follows from it.

    name: the task's name in files and options, and of its folder
    c_header: the file in lib/bundle that decodes it in C
    check_label: (path, classes) → what a label file holds; raises UserError, naming file and line, for a broken one
    read_label: (path, image size (width, height), classes) → its instances in pixels of the image, every score 1;
        raises UserError as check_label does, and when the file is missing
    overlap: (n instances, m others) → how far each two are the same, 0..1, float64 [n, m]
    coco_iou_type: what faster-coco-eval calls that overlap; None where it has none, and mAP rests on `overlap`
    most_counted: how many detections of an image and class its mAP counts, the best ones
    draw: (Matplotlib axis, instances, a title for each, colour of a class by its number) draws them over an image
    outlines: (instances, image size) → for each the lines that show where it is, float [points, 2] x, y in pixels of
        the image; a line of one point is a dot
    contract_lines: (outputs) → how predictions become detections, one sentence per step, for other decoders' authors
    line_of: a format's annotation of an object → the numbers of its line in a label (lib.data.formats.lines)
    words_of: (data set, the user's `kpt_shape` or None) → a function that rewrites the words of each line of its label
        files; None if they are not rewritten
    objects: what its mAP is about, in the report's words, such as masks
    overlap_name: the name of `overlap` in the report
    share_inside: (n instances, m crowds) → the fraction of each instance inside each crowd, float64 [n, m]
    coco_fields: (instances, image size) → for each, the fields of COCO's annotation besides box, area and class
    predict: (outputs, raw outputs) → the predictions before any threshold, for every head. The proof of graph surgery
        compares them
    keep: (predicted, confidence, iou or None for no NMS, most) → which predictions are detections, and their classes
    found: (outputs, predicted, rows that are kept, their boxes in pixels of the image, fit) → the detections with
        everything that the task adds
    heads: the heads that a model of the task can have
    confidence: the threshold for scores that accuracy is measured with
    most: how many detections an image has at most
    bundle: what it adds to a deploy bundle besides boxes; None if nothing
    """

    name: str
    c_header: str
    check_label: Callable[[Path, int], CheckedLabel]
    read_label: Callable[[Path, tuple[int, int], int], Instances]
    overlap: Callable[[Instances, Instances], np.ndarray]
    coco_iou_type: str | None
    draw: Callable[..., None]
    contract_lines: Callable[[OutputSpec], list[str]]
    most_counted: int = MOST_COUNTED
    line_of: Lined = box_line
    words_of: Callable[[Source, object], Words | None] = as_they_stand
    outlines: Callable[[Instances, tuple[int, int]], list[list[np.ndarray]]] = box_outlines
    objects: str = "boxes"
    overlap_name: str = "IoU"
    share_inside: Callable[[Instances, Instances], np.ndarray] = share_inside
    coco_fields: Callable[[Instances, tuple[int, int]], list[dict]] = no_coco_fields
    predict: Callable[[OutputSpec, list[np.ndarray]], Predicted] = boxes_alone
    keep: Callable[[Predicted, float, float | None, int], tuple[np.ndarray, np.ndarray]] = kept_boxes
    found: Callable[[OutputSpec, Predicted, np.ndarray, Instances, Letterbox], Instances] = nothing_besides
    heads: tuple[str, ...] = (SPLIT,)
    confidence: float = CONFIDENCE
    most: int = MOST
    bundle: BundlePart | None = None

    def instances(
        self,
        outputs: OutputSpec,
        raw: list[np.ndarray],
        fit: Letterbox,
        confidence: float | None = None,
        iou: float = IOU,
        most: int | None = None,
    ) -> Instances:
        """The detections in the raw outputs for an image that was letterboxed by `fit`, with what the task adds.

        confidence, most: None for those of the task.
        """
        predicted = self.predict(outputs, raw)
        confidence, most = self.confidence if confidence is None else confidence, self.most if most is None else most
        rows, classes = self.keep(predicted, confidence, None if outputs.end2end else iou, most)
        boxes = to_instances(predicted.predictions, rows, classes, fit)
        return self.found(outputs, predicted, rows, boxes, fit)

    def ground_truth(self, dataset: Path, image: str, size: tuple[int, int], classes: int) -> Instances:
        """The labelled instances of an image of a data set's folder, as `read_label` gives them."""
        return self.read_label(label_file(dataset, image), size, classes)

    def labelled_images(self, dataset: Path, classes: int) -> list[str]:
        """The evaluation images that have a label, sorted. Raises UserError for a broken label."""
        images = read_split(dataset / "split.csv", (EVALUATION,), dataset / "images")
        return [name for name in images if self.check_label(label_file(dataset, name), classes).objects]


def label_file(dataset: Path, image: str) -> Path:
    """The label of an image of a data set's folder."""
    return dataset / "labels" / f"{Path(image).stem}.txt"
