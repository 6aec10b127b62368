"""The task's part of a bundle's contract: boxes as in detection, then the keypoints of the detections."""

from lib.detector.output_spec import OutputSpec
from lib.tasks import detect
from lib.tasks.pose.keypoints import AGREES, FINE_END, REACH, count_of, has_fine, tells_visibility

_PLACE = (
    "keypoint k of a detection of prediction n, of its cell in column x, row y: px = (real[2 k] + x + 0.5) * stride, "
    "py = (real[2 k + 1] + y + 0.5) * stride, real values of the map of keypoints of the same stride, k = 0 to {}"
)
_FINE = (
    f"in place of real[j], {REACH:g} * fine[j] of the map of fine keypoints of the same stride, where |fine[j]| < "
    f"{FINE_END} and |{REACH:g} * fine[j] - real[j]| <= {AGREES}"
)
_VISIBILITY = "its visibility = real[k] of the map of visibility, a probability already: no sigmoid"
_NO_VISIBILITY = "the model does not tell how visible a keypoint is"


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
