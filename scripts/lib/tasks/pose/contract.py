"""The task's part of a bundle's contract: boxes as in detection, then the keypoints of the detections."""

from lib.detector.output_spec import OutputSpec
from lib.tasks import detect
from lib.tasks.pose.keypoints import AGREES, FINE, FINE_END, REACH, count_of, has_fine, tells_visibility

_PLACE = (
    "keypoint k of a detection, in input pixels, for the cell of its n in column x, row y: px = (real[2 k] + x + 0.5) "
    "* stride, py = (real[2 k + 1] + y + 0.5) * stride, real values of the map `keypoints` of that stride, k = 0 to {}"
)
_FINE = (
    f"in place of real[j], {REACH:g} * fine[j], real values of the map `{FINE}` of that stride, where |fine[j]| < "
    f"{FINE_END} and |{REACH:g} * fine[j] - real[j]| <= {AGREES}"
)
_VISIBILITY = (
    "visibility of keypoint k = real[k] of the map `visibility`, 0 to 1; the model has applied the sigmoid, so apply "
    "no sigmoid"
)
_NO_VISIBILITY = "the model does not predict the visibility of keypoints"


def contract_lines(outputs: OutputSpec) -> list[str]:
    """How to decode as lib.tasks.pose.keypoints does, one sentence per step."""
    *boxes, to_image = detect.contract_lines(outputs)
    return [
        *boxes,
        _PLACE.format(count_of(outputs) - 1),
        *([_FINE] if has_fine(outputs) else []),
        _VISIBILITY if tells_visibility(outputs) else _NO_VISIBILITY,
        to_image,
    ]
