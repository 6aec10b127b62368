"""What a converted model is measured against: label files, a folder of images for each class, or FP32 itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from lib import tasks
from lib.accuracy.channels import better_channels
from lib.accuracy.classes import in_rows
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.evaluation import compared, measure, measure_classes
from lib.accuracy.inference import detect_all, onnx_runner
from lib.accuracy.labels import with_sigmas
from lib.accuracy.matching import SURE
from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.accuracy.operating import in_words
from lib.accuracy.undecoded_set import UndecodedSet
from lib.convert.class_labels import ClassLabels
from lib.convert.comparison import int8_agreement
from lib.convert.conversion import Adapted, Conversion
from lib.convert.labels import Labels
from lib.convert.lines import classes_line
from lib.data.input_form import InputForm
from lib.detector.head import AS_IS
from lib.detector.instances import Instances
from lib.graph.onnx_file import load
from lib.step.errors import UserError
from lib.tasks.classify.labels import whole_image

RESAMPLES = 1000  # of the images, for the interval of the retention
LITTLE = 0.9  # share of FP32 that a model keeps in INT8, below which there is a warning


@dataclass(frozen=True)
class Measured:
    """The labels of each image that a conversion compared, and the metrics of each precision. names: the classes."""

    truth: list[Instances]
    fp32: Metrics
    int8: Metrics
    held_out: bool  # whether no image was used for calibration
    names: list[str]


class Truth(Protocol):
    """What INT8 is measured against. images: those to compare on; None: those that are not calibrated with."""

    images: list[Path] | None

    def demand(self, adapted: Adapted, images: Iterable[Path]) -> None:
        """Raise UserError, before the build, if the model or a label of `images` does not fit."""

    def measured(self, conversion: Conversion, held_out: bool) -> tuple[Measured | None, list[str]]:
        """The metrics, None without labels, and lines about them; `held_out` as in Measured."""


class NoLabels:
    """FP32's own detections."""

    images = None

    def demand(self, adapted: Adapted, images: Iterable[Path]) -> None:
        """Every model has outputs to compare."""

    def measured(self, conversion: Conversion, held_out: bool) -> tuple[None, list[str]]:
        """Lines about how far INT8 is from FP32."""
        images, outputs, on = conversion.comparisons, conversion.adapted.outputs, _compared_on(conversion, held_out)
        if outputs is None:
            return None, [f"compared   INT8 with FP32 {on}, output by output"]
        agreement = int8_agreement(images, outputs.task)
        if not agreement.sure:
            none = f"none in FP32 with a score of at least {SURE}, {on}: do they show what the model detects?"
            return None, [f"detections {none}"]
        overlap = f"{tasks.get(outputs.task).overlap_name} {agreement.overlap:.3f}"
        found = agreement.matched / agreement.sure
        share = f"{agreement.matched} of FP32's {agreement.sure} ({found:.1%}), mean {overlap}"
        line = f"detections INT8 finds {share}, mean change of score {agreement.score_change:+.3f}, {on}"
        return None, [line, *far_off(found)]


@dataclass
class LabelFiles:
    """Label files of a detector, in the folder `folder`, of images in `dataset`.

    model: the file, for messages. scratch: an empty folder for copies. seed: of the resamples. kpt_shape and sigmas: as
    in lib.data.keypoints.
    """

    images: ClassVar[None] = None
    model: Path
    folder: Path
    dataset: Path
    scratch: Path
    seed: int
    kpt_shape: object = None
    sigmas: object = None
    copies: dict[Path, Path] = field(default_factory=dict, init=False)  # those of the labels, by image

    def demand(self, adapted: Adapted, images: Iterable[Path]) -> None:
        """Raise UserError for a model whose outputs are not decoded, and as Labels.checked does."""
        if adapted.outputs is None:
            raise UserError(
                f"--labels are for the mAP of a detector, but {self.model} gets the head as_is{adapted.why}; for a "
                "classifier, give a folder of images for each class, without label files"
            )
        self.copies = self._labels(adapted).checked(list(images), self.scratch)

    def measured(self, conversion: Conversion, held_out: bool) -> tuple[Measured, list[str]]:
        """mAP, and the retention with its interval."""
        images, classes, task = conversion.comparisons, conversion.adapted.classes, conversion.adapted.outputs.task
        truth = self._labels(conversion.adapted).of(self.copies, images)
        if self.sigmas:
            truth = [with_sigmas(labels, self.sigmas) for labels in truth]
        names, sizes = [image.path.name for image in images], [image.size for image in images]
        (fp32, baseline), (int8, resampled) = (
            measure(truth, DetectionSet(names, sizes, instances, task), classes, RESAMPLES, self.seed)
            for instances in ([image.fp32 for image in images], [image.int8 for image in images])
        )
        kept = compared(int8, resampled, baseline)
        of, boxes, on = "", [], _compared_on(conversion, held_out)
        if fp32.box_map50_95 is not None:
            of = f"of {tasks.get(task).objects} "
            boxes = [f"boxes      mAP50-95 FP32 {fp32.box_map50_95:.4f}, INT8 {int8.box_map50_95:.4f}"]
        return Measured(truth, fp32, int8, held_out, classes), [
            *self._channels_line(conversion, truth, (fp32, baseline)),
            f"mAP50-95   FP32 {fp32.map50_95:.4f}, INT8 {int8.map50_95:.4f} ({_share_kept(kept)}) {of}{on}",
            f"mAP50      FP32 {fp32.map50:.4f}, INT8 {int8.map50:.4f}",
            *boxes,
            f"threshold  best F1 {in_words(int8.operating)}",
            *far_off(kept.retention_high),
        ]

    def _labels(self, adapted: Adapted) -> Labels:
        return Labels(self.folder, self.dataset, adapted.classes, adapted.outputs.task, self.kpt_shape)

    def _channels_line(self, conversion: Conversion, truth: list[Instances], measured) -> list[str]:
        """A line on which order of channels is better in FP32, if the difference is more than noise."""
        adapted, images = conversion.adapted, [image.path for image in conversion.comparisons]

        def measure_in(form: InputForm):
            title = f"FP32 in {form.channels.upper()}"
            detections = detect_all(partial(onnx_runner, adapted.onnx), adapted.outputs, images, 1, title, form)
            return measure(truth, detections, adapted.classes, RESAMPLES, self.seed)

        line = better_channels(conversion.form, measured, measure_in)
        return [f"channels   {line}"] if line else []


@dataclass(frozen=True)
class ClassFolders:
    """A folder of images for each class of a classifier. model: the file, for messages. seed: of the resamples."""

    model: Path
    labels: ClassLabels
    seed: int

    @property
    def images(self) -> list[Path]:
        """Those of ClassLabels."""
        return self.labels.images

    def demand(self, adapted: Adapted, images: Iterable[Path]) -> None:
        """Raise UserError for a detector, and as ClassLabels.demand does."""
        if adapted.outputs:
            raise UserError(
                f"{self.labels.folder} has images and no label files, as for a classifier, but {self.model} is a "
                "detector; give a folder of label files"
            )
        self.labels.demand(load(adapted.onnx), self.model)

    def measured(self, conversion: Conversion, held_out: bool) -> tuple[Measured, list[str]]:
        """Top-1 and top-5, and the retention with its interval."""
        images, kinds = conversion.comparisons, self.labels.of(conversion.comparisons)
        undecoded = UndecodedSet([image.path.name for image in images], AS_IS)
        (fp32, baseline), (int8, resampled) = (
            measure_classes(undecoded, in_rows(best), kinds, RESAMPLES, self.seed)
            for best in ([image.fp32_best for image in images], [image.int8_best for image in images])
        )
        kept = compared(int8, resampled, baseline)
        truth = [whole_image(image.size, kind) for image, kind in zip(images, kinds)]
        on = _compared_on(conversion, held_out)
        return Measured(truth, fp32, int8, held_out, self.labels.names), [
            classes_line(self.labels.names),
            f"top-1      FP32 {fp32.top1:.4f}, INT8 {int8.top1:.4f} ({_share_kept(kept)}) {on}",
            f"top-5      FP32 {fp32.top5:.4f}, INT8 {int8.top5:.4f}",
            *far_off(kept.retention_high),
        ]


def far_off(kept: float | None) -> list[str]:
    """A warning if INT8 keeps no more than this share of what FP32 has, which no choice of images explains."""
    if kept is None or kept >= LITTLE:
        return []
    return [
        "warning    this model loses much in INT8; before you flash it, compare --algorithm normal, corrected and "
        "gptq, or take another model (docs/int8_accuracy.md)"
    ]


def _compared_on(conversion: Conversion, held_out: bool) -> str:
    """The end of a line: on which images the models were compared."""
    return f"on {len(conversion.comparisons)} images that it was {'not ' if held_out else ''}calibrated with"


def _share_kept(kept: ComparedMetrics) -> str:
    """The retention in words."""
    if kept.retention is None:
        return "nothing to keep"
    limits = f"{kept.retention_low:.1%} to {kept.retention_high:.1%}"
    return f"{kept.retention:.1%} kept, 95 % interval {limits}"
