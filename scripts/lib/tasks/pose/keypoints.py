"""Decodes keypoints from raw outputs, in pixels of the image.

A map of keypoints holds x and y of one keypoint after the other, in strides from the middle of the cell; a map of
visibility, if a model has one, holds one probability per keypoint:

  x = (v + cell + 0.5) * stride

In INT8 a map has 256 steps from its lowest to its highest value. For 40 strides they are 1.3 px at stride 8,
too coarse for small people. So there is a second map of the same values, the *fine* one: it holds v / REACH and has the
range -1 to 1, so its steps are 0.03 strides. A value is taken from there unless it is too large; large values belong to
large objects, for which the steps of the other map are small.

YOLO26 itself predicts this (ultralytics/nn/modules/head.py, `Pose26.kpts_decode`: `(kpt + anchor) * stride`, anchors in
the middle of cells). YOLOv8 and YOLO11 predict x = (2 v + cell) * stride (`Pose.kpts_decode`,
`kpt * 2 + anchor - 0.5`); graph surgery converts it by changing the weights of one convolution.
"""

from dataclasses import replace

import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.families import FINER
from lib.detector.families.sides import MIDDLE
from lib.detector.head import SPLIT
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.task import Predicted

# Roles of maps; the first is also the name of the instances' extra.
KEYPOINTS, FINE, VISIBILITY = "keypoints", f"keypoints{FINER}", "visibility"
REACH = 4.0  # strides; a power of two, so that v / REACH is exact
# A fine value is used if it is closer to 0 than FINE_END, two steps from the end of its range, and if it is not farther
# from the other map's than AGREES, in strides (other algorithms than `normal` may cut its range).
FINE_END, AGREES = 0.984375, 0.5
VALUES = 3  # x, y, visibility: the values of a keypoint here, even if the model predicts no visibility


def count_of(outputs: OutputSpec) -> int:
    """K, the number of keypoints per object."""
    return next(output.channels for output in outputs.extras if output.role == KEYPOINTS) // 2


def tells_visibility(outputs: OutputSpec) -> bool:
    """Whether the model predicts how visible a keypoint is."""
    return any(output.role == VISIBILITY for output in outputs.extras)


def has_fine(outputs: OutputSpec) -> bool:
    """Whether the model has the fine map; one that an earlier version of this project has split has none."""
    return any(output.role == FINE for output in outputs.extras)


def predict(outputs: OutputSpec, raw: list[np.ndarray]) -> Predicted:
    """Boxes and scores, and for each keypoint the columns x, y and, if the model predicts it, visibility.

    In pixels of the input. Raises UserError when the outputs do not fit the head.
    """
    predictions = outputs.predictions(raw)
    if outputs.head != SPLIT:
        return Predicted(predictions, outputs.joined_columns(raw))
    points, strides = outputs.family.centres(outputs.imgsz)
    middles = points + np.float32(MIDDLE - outputs.family.offset)
    places = _places(outputs, raw).reshape(len(points), -1, 2)
    columns = [(places + middles[:, None]) * strides[:, None]]
    if tells_visibility(outputs):
        columns.append(outputs.cell_values(raw, VISIBILITY)[:, :, None])
    return Predicted(predictions, np.concatenate(columns, axis=2).reshape(len(points), -1))


def _places(outputs: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
    """v of each prediction's keypoints, float32 [N, 2K], in strides; from the fine map where it has the value."""
    coarse = outputs.cell_values(raw, KEYPOINTS)
    if not has_fine(outputs):
        return coarse
    fine = outputs.cell_values(raw, FINE)
    scaled = fine * np.float32(REACH)
    # Differences in float64 are exact, as in pose.h.
    agrees = np.abs(scaled.astype(np.float64) - coarse) <= AGREES
    return np.where((np.abs(fine) < FINE_END) & agrees, scaled, coarse)


def found(outputs: OutputSpec, predicted: Predicted, rows: np.ndarray, boxes: Instances, fit: Letterbox) -> Instances:
    """The detections: the kept boxes, with their keypoints.

    extras: keypoints, float32 [n, K, 3]: x, y in pixels of the image, cut at its edges as in Ultralytics
    (`ops.scale_coords`), and visibility 0..1, which is 1 if the model predicts none.
    """
    values = VALUES if tells_visibility(outputs) else VALUES - 1
    columns = predicted.columns[rows].reshape(len(rows), count_of(outputs), values)
    keypoints = np.ones((*columns.shape[:2], VALUES), np.float32)
    shifted = (columns[:, :, :2] - (fit.left, fit.top)) / fit.scales
    keypoints[:, :, :2] = np.clip(shifted, 0, fit.source)
    keypoints[:, :, 2:values] = columns[:, :, 2:]
    return replace(boxes, extras={KEYPOINTS: keypoints})
