"""What evaluate.py says of a model's detections, metrics/….json."""

from dataclasses import dataclass

from lib.accuracy.operating import Operating
from lib.step.typed_json import JsonRecord, omitted_if_none


@dataclass(frozen=True)
class ClassMetrics(JsonRecord):
    """Average precision (0..1) of one class, and how many labelled objects it has."""

    map50_95: float
    map50: float
    boxes: int


@dataclass(frozen=True)
class OutputLikeness(JsonRecord):
    """How like FP32's an output in INT8 is: mean cosine over the images, signal to noise of all its values in dB."""

    name: str
    cosine: float
    snr_db: float


@dataclass(frozen=True)
class Metrics(JsonRecord):
    """COCO's mAP (0..1) on so many images; low and high are the limits of the 95 % interval of map50_95.

    These are None where no resample has a label. per_class: every class with a labelled object, by its name.

    undecoded: why nothing decodes the model's outputs; then there is no mAP at all. outputs: how like FP32's they are,
    of a model in INT8. operating: the confidence threshold to detect with. task: by whose overlap the mAP is, None for
    boxes; box_map50_95: the mAP by boxes beside it.
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


@dataclass(frozen=True)
class ComparedMetrics(Metrics):
    """Metrics beside those of the FP32 baseline on the same images: the share of its map50_95 that is retained.

    With the limits of its 95 % interval. None where the baseline finds nothing: it has nothing to retain.
    """

    retention: float | None
    retention_low: float | None
    retention_high: float | None
