"""The task's part of a bundle's contract: from boxes and scores of all predictions to detections."""

from lib.detector.nms import MOST, MOST_CANDIDATES
from lib.detector.output_spec import OutputSpec

CANDIDATES = (
    "candidates: each class of each n with a score above the confidence threshold, sorted by score (highest first), "
    "then n, then class; at most the first {}"
)
_NMS = (
    "class-wise NMS: remove each box whose IoU with a remaining box before it, of the same class, is above the IoU "
    "threshold"
)
NO_NMS = "no NMS: the head is one-to-one and predicts each object once; the candidates are the detections"
_TO_IMAGE = "image = (input - (left, top)) / letterbox scale, clipped to the image"


def contract_lines(outputs: OutputSpec) -> list[str]:
    """What `lib.detector.nms.keep` does with the boxes, one sentence per step."""
    return [
        CANDIDATES.format(MOST if outputs.end2end else MOST_CANDIDATES),
        NO_NMS if outputs.end2end else _NMS,
        _TO_IMAGE,
    ]
