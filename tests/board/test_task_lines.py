"""Lines of the board's program with task values are read, written, and resumed; invalid ones are detected."""

import json

import numpy as np
import pytest

from lib.board.lines import ImageResult, read_lines, to_line
from lib.board.progress import Progress
from lib.board.run import BoardRun
from lib.board.summary import detection_set
from lib.bundle.same_detections import demand_same
from lib.data.imgsz import ImageSize
from lib.detector.families import OutputMap
from lib.detector.families.distances import Distances
from lib.detector.families.sides import STRIDES
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec

KEYPOINTS = [1.5, 2.5, 0.25, 30, 40.125, 1]
POSE = OutputSpec(
    ImageSize(64, 64), SPLIT, Distances(), 1, "pose", extras=tuple(OutputMap("keypoints", s, 4) for s in STRIDES)
)


def line(*rows) -> bytes:
    value = {"image": "a.jpg", "run_us": 26000, "decode_us": 800, "detections": rows}
    return json.dumps(value).encode() + b"\n"


ROW = [0, 0.5, 1, 2, 3, 4.25, KEYPOINTS]


def result() -> ImageResult:
    [found] = read_lines(line(ROW, ROW), POSE).results
    return found


def test_keypoints_are_the_same_after_reading_and_writing():
    detections = result().detections
    assert detections.extras["keypoints"].tolist() == [[[1.5, 2.5, 0.25], [30, 40.125, 1]]] * 2
    assert detections.extras["keypoints"].dtype == np.float32
    [again] = read_lines(to_line(result(), "pose").encode(), POSE).results
    demand_same(detections, again.detections, "pose")
    [nothing] = read_lines(line(), POSE).results
    assert nothing.detections.extras["keypoints"].shape == (0, 2, 3)
    assert read_lines(to_line(nothing, "pose").encode(), POSE).results[0].detections.extras.keys() == {"keypoints"}


def test_unfinished_results_are_resumed_with_task_values(tmp_path):
    Progress(tmp_path, "key", POSE).add([result()])
    kept = Progress(tmp_path, "key", POSE).results["a.jpg"]
    demand_same(result().detections, kept.detections, "pose")
    run = BoardRun(None, [(64, 64)], [kept], [], [], "pose")
    assert detection_set(run).task == "pose" and "keypoints" in detection_set(run).instances[0].extras


@pytest.mark.parametrize(
    "row",
    [ROW[:6], [*ROW[:6], KEYPOINTS[:5]], [*ROW[:6], [*KEYPOINTS[:5], "x"]], [*ROW[:6], [*KEYPOINTS[:5], float("nan")]],
     [*ROW[:6], 7], 7],
)  # fmt: skip
def test_a_line_without_task_values_is_invalid(row):
    printed = read_lines(line(ROW) + line(row), POSE)
    assert len(printed.results) == 1 and printed.garbage
