"""The task's part of a bundle's contract: from boxes and scores of all predictions to detections."""

from lib.detector.nms import MOST, MOST_CANDIDATES
from lib.detector.output_spec import OutputSpec

CANDIDATES = (
    "candidates: every class of every n whose score is above the confidence threshold, in the order of score, then n, "
    "then class; the best {}"
)
_NMS = "class-wise NMS: a box that overlaps a better one of its class by more than the IoU threshold is dropped"
NO_NMS = "no NMS: the head is one-to-one, it predicts each object once; the candidates are the detections"
_TO_IMAGE = "image = (input - (left, top)) / letterbox scale, cut at the image's edges"


def contract_lines(outputs: OutputSpec) -> list[str]:
    """What `lib.detector.nms.keep` does with the boxes, one sentence per step."""
    return [
        CANDIDATES.format(MOST if outputs.end2end else MOST_CANDIDATES),
        NO_NMS if outputs.end2end else _NMS,
        _TO_IMAGE,
    ]
