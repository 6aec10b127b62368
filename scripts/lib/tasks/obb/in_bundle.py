"""The task's part of a bundle: obb.h, and the meaning of its maps and numbers."""

import numpy as np

from lib.detector.families import OutputMap
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.bundle_part import BundlePart
from lib.tasks.obb.maps import TURN
from lib.tasks.obb.rectangles import corners

_USAGE = """\
`x1` to `y2` of a detection are the axis-aligned box around its rotated box. `obb.h` computes the rotated box from the
same buffers:

```c
rv1106_rotated box; /* cx, cy, width, height in pixels of the image; angle in radians, clockwise in the image */
rv1106_rotated_box(&decoder, buffers, &fit, &detections[i], &box);
```"""
_NUMBERS = 5
_IN_AN_IMAGE = 4096  # px, beyond which the distance counts relative to the position
_NUMBER_BYTES = 14  # for a number and its comma, in a line of the board's program


def _map_meaning(output: OutputMap) -> dict[str, str]:
    if output.role == TURN:
        return {"0": "turn, 0 to 1; the angle in radians is (turn - 0.25) * pi"}
    return {"0": "angle, in radians"}


def _extras(outputs: OutputSpec, numbers: list[list[float]]) -> dict[str, np.ndarray]:
    return {"rotated": np.array(numbers, np.float32).reshape(len(numbers), _NUMBERS)}


def _apart(expected: Instances, detected: Instances) -> np.ndarray:
    """The largest distance of a corner from its counterpart.

    A rotated box is not cut at the image's edges: far outside, the distance is relative, because float32 rounds so.
    """
    points = corners(expected.extras["rotated"])
    differences = points - corners(detected.extras["rotated"])
    far = np.abs(points).max(axis=(1, 2)).clip(min=_IN_AN_IMAGE) / _IN_AN_IMAGE
    return np.hypot(differences[:, :, 0], differences[:, :, 1]).max(axis=1) / far


bundle_part = BundlePart(
    map_meaning=_map_meaning,
    numbers=lambda instances: list(instances.extras["rotated"]),
    decimals=(4, 4, 4, 4, 7),
    extras=_extras,
    apart=_apart,
    tolerance=1e-3,
    unit="px of a corner",
    line_bytes=lambda outputs: _NUMBER_BYTES * _NUMBERS,
    usage=lambda outputs: _USAGE,
    c_name=lambda outputs: f"obb_{outputs.extras[0].role}",
)
