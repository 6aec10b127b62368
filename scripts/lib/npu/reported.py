"""The ranges of a task's maps in the cells that can become a detection.

A map has one scale for all cells. A cell without an object has keypoints too, which nothing reports; those of YOLO26
reach up to twice as far as the reported ones, and widen every step.
"""

from functools import partial

import numpy as np

from lib import tasks
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec
from lib.npu.score_ranges import FACTORS, tensors_of
from lib.npu.twin.ranges import RangePass
from lib.npu.twin.structure import Ranges, Structure

# A cell whose best score (0..1) is below is taken for background. Weak detections count: calibration images show few
# objects of some sizes.
LEAST_SCORE = 0.01
# An end of a range keeps at least this share, since other objects may reach farther than those of calibration. With 0.5
# and 8 images, one of eight draws of YOLOv8n-pose lost 0.055 of its mAP; with 0.75 the worst lost 0.017.
LEAST_SHARE = 0.75


def range_pass(structure: Structure, outputs: OutputSpec | None) -> RangePass:
    """A pass that also measures the reported ranges, under `reported_name`. Raises UserError as RangePass does.

    outputs: None where nothing decodes the model.
    """
    maps = _maps(structure, outputs) if outputs else {}
    return RangePass(structure, partial(_measured, maps))


def within_reported(structure: Structure, ranges: Ranges, measured: Ranges, outputs: OutputSpec) -> Ranges:
    """The ranges, those of the task's `reported` maps cut to what cells with an object have.

    measured: on the calibration images, by `range_pass`. Where no image shows an object, or the toolkit measured, a
    range stays as it is.
    """
    cut = {}
    for name in _maps(structure, outputs):
        low, high = measured.get(reported_name(name), (0.0, 0.0))
        if name in ranges and low < high:
            cut[name] = _cut(ranges[name], low, high)
    return ranges | cut


def reported_name(tensor: str) -> str:
    """The key, among measured ranges, of the tensor's range in the cells that can become a detection."""
    return f"{tensor}/reported"


def _cut(ends: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    return max(ends[0], min(low, LEAST_SHARE * ends[0])), min(ends[1], max(high, LEAST_SHARE * ends[1]))


def _maps(structure: Structure, outputs: OutputSpec) -> dict[str, list[str]]:
    """The tensors of the task's `reported` maps; for each the tensors whose product is the scores of its cells."""
    if outputs.head != SPLIT:
        return {}
    roles = tasks.get(outputs.task).reported
    of_map = tensors_of(structure, [output.name for output in outputs.maps()])
    return {
        of_map[output.name]: [
            of_map[other.name] for other in outputs.maps() if other.role in FACTORS and other.stride == output.stride
        ]
        for output in outputs.extras
        if output.role in roles
    }


def _measured(maps: dict[str, list[str]], values: dict[str, np.ndarray]) -> Ranges:
    """The reported range of each map, of all tensors' values on an image; (0, 0) if it shows no object.

    Every range contains 0 when it is built, so (0, 0) changes no union.
    """
    ranges = {}
    for name, factors in maps.items():
        scores = np.prod([values[factor].max(axis=1) for factor in factors], axis=0)
        reported = np.moveaxis(values[name], 1, -1)[scores >= LEAST_SCORE]
        ranges[reported_name(name)] = (float(reported.min(initial=0)), float(reported.max(initial=0)))
    return ranges
