"""The task's part of a bundle: pose.h, and the meaning of its maps and numbers."""

import numpy as np

from lib.detector.families import OutputMap
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.bundle_part import BundlePart
from lib.tasks.pose.keypoints import FINE, KEYPOINTS, REACH, VALUES, count_of, tells_visibility

_USAGE = """\
`pose.h` computes the keypoints of a detection from the same buffers:

```c
rv1106_keypoint keypoints[{count}]; /* x, y in pixels of the image; {visibility} */
rv1106_keypoints(&decoder, buffers, &fit, &detections[i], keypoints, {count});
```"""
_NUMBER_BYTES = 14  # for a number and its comma, in a line of the board's program


def _map_meaning(output: OutputMap) -> dict[str, str]:
    if output.role == FINE:
        return {
            "2 k": f"as in the map `{KEYPOINTS}`, divided by {REACH:g}; beyond -1 and 1 it is cut",
            "2 k + 1": f"as in the map `{KEYPOINTS}`, divided by {REACH:g}; beyond -1 and 1 it is cut",
        }
    if output.role == KEYPOINTS:
        return {
            "2 k": "x of keypoint k minus that of the middle of the cell, in strides",
            "2 k + 1": "y of keypoint k minus that of the middle of the cell, in strides",
        }
    return {"k": "visibility of keypoint k, 0 to 1"}


def _numbers(instances: Instances) -> list[np.ndarray]:
    return [keypoints.ravel() for keypoints in instances.extras[KEYPOINTS]]


def _extras(outputs: OutputSpec, numbers: list[list[float]]) -> dict[str, np.ndarray]:
    return {KEYPOINTS: np.array(numbers, np.float32).reshape(len(numbers), count_of(outputs), VALUES)}


def _apart(expected: Instances, detected: Instances) -> np.ndarray:
    """The distance in pixels; 0.01 of visibility counts as 0.001 pixel, the same ratio as for scores and boxes."""
    differences = np.abs(expected.extras[KEYPOINTS] - detected.extras[KEYPOINTS])
    return (differences * (1, 1, 10)).reshape(len(expected), -1).max(axis=1)


def _usage(outputs: OutputSpec) -> str:
    predicted = tells_visibility(outputs)
    visibility = "visibility 0 to 1" if predicted else "visibility is always 1: the model does not predict it"
    return _USAGE.format(count=count_of(outputs), visibility=visibility)


bundle_part = BundlePart(
    map_meaning=_map_meaning,
    numbers=_numbers,
    decimals=(4, 4, 6),
    extras=_extras,
    apart=_apart,
    tolerance=1e-3,
    unit="px of a keypoint",
    line_bytes=lambda outputs: _NUMBER_BYTES * VALUES * count_of(outputs),
    usage=_usage,
)
