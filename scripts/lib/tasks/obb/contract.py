"""The task's part of a bundle's contract: from boxes, scores and angles of all predictions to rotated boxes."""

from lib.detector.nms import MOST, MOST_CANDIDATES
from lib.detector.output_spec import OutputSpec
from lib.tasks.detect.contract import CANDIDATES, NO_NMS
from lib.tasks.obb.maps import TURN

_ANGLE = "angle of n = real value of the map `angle`"
_TURN = "angle of n = (real value of the map `turn` - 0.25) * pi"
_MEANING = "it goes from the x axis to the side w, in radians, clockwise on the screen: y points down"
_CENTRE = (
    "rotated box of n: w = x2 - x1, h = y2 - y1, and with (px, py) the middle of its cell in input pixels and "
    "(dx, dy) = ((x1 + x2) / 2 - px, (y1 + y2) / 2 - py): cx = px + dx cos(angle) - dy sin(angle), "
    "cy = py + dx sin(angle) + dy cos(angle)"
)
_NMS = (
    "class-wise NMS: remove each rotated box whose IoU with a remaining box before it, of the same class, is above the "
    "IoU threshold; the IoU is the probabilistic one of https://arxiv.org/abs/2106.06072"
)
_TO_IMAGE = (
    "image: cx, cy = (input - (left, top)) / letterbox scale; w, h = input / letterbox scale; the angle is the "
    "same. The detection's box is the smallest upright box around the four corners, clipped to the image"
)


def contract_lines(outputs: OutputSpec) -> list[str]:
    """How to decode the head `split` as lib.tasks.obb.decoding does, one sentence per step."""
    angle = _TURN if outputs.extras[0].role == TURN else _ANGLE
    return [
        f"{angle}; {_MEANING}",
        _CENTRE,
        CANDIDATES.format(MOST if outputs.end2end else MOST_CANDIDATES),
        NO_NMS if outputs.end2end else _NMS,
        _TO_IMAGE,
    ]
