"""The results of evaluate.py for a model's detections, metrics/….json."""

from dataclasses import dataclass

from lib.accuracy.operating import Operating
from lib.step.typed_json import JsonRecord, omitted_if_none


@dataclass(frozen=True)
class ClassMetrics(JsonRecord):
    """Average precision (0..1) of one class, and its number of labelled objects."""

    map50_95: float
    map50: float
    boxes: int


@dataclass(frozen=True)
class OutputLikeness(JsonRecord):
    """How similar an output in INT8 is to FP32: mean cosine over the images, signal to noise ratio over all in dB.

    top1, top5: for an output that is a vector, such as one value per class, the share of the images (0..1) where FP32's
    largest value is the largest in INT8, and where it is among INT8's five largest.
    """

    name: str
    cosine: float
    snr_db: float
    top1: float | None = omitted_if_none()
    top5: float | None = omitted_if_none()


@dataclass(frozen=True)
class Metrics(JsonRecord):
    """COCO's mAP (0..1) on a number of images; low and high are the limits of the 95 % interval of map50_95.

    The limits are None where no resample has a label. per_class: every class with a labelled object, by its name.

    undecoded: why nothing decodes the model's outputs; then there is no mAP. outputs: for a model in INT8, how similar
    its outputs are to FP32's. operating: the suggested confidence threshold. task: the task whose overlap the mAP uses,
    None for boxes. box_map50_95: for such a task, the mAP by boxes. top1, top5: for a classifier, the share of the
    images whose labelled class is the best one, and one of the five best; top1_low and top1_high are the limits of the
    95 % interval of top1.
    """

    images: int
    map50_95: float | None
    map50: float | None
    map50_95_low: float | None
    map50_95_high: float | None
    per_class: dict[str, ClassMetrics]
    undecoded: str | None = omitted_if_none(kw_only=True)
    outputs: tuple[OutputLikeness, ...] | None = omitted_if_none(kw_only=True)
    operating: Operating | None = omitted_if_none(kw_only=True)
    task: str | None = omitted_if_none(kw_only=True)
    box_map50_95: float | None = omitted_if_none(kw_only=True)
    top1: float | None = omitted_if_none(kw_only=True)
    top1_low: float | None = omitted_if_none(kw_only=True)
    top1_high: float | None = omitted_if_none(kw_only=True)
    top5: float | None = omitted_if_none(kw_only=True)

    @property
    def accuracy(self) -> float | None:
        """mAP50-95, or top-1 of a classifier; None where there is neither."""
        return self.map50_95 if self.top1 is None else self.top1


@dataclass(frozen=True)
class ComparedMetrics(Metrics):
    """Metrics with the retention: map50_95, of a classifier top1, divided by the FP32 baseline's on the same images.

    With the limits of its 95 % interval. None where the baseline finds nothing, so that there is nothing to retain.
    """

    retention: float | None
    retention_low: float | None
    retention_high: float | None
