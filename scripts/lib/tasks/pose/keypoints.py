"""Decodes keypoints from raw outputs, in pixels of the image.

A map of keypoints holds x and y of one keypoint after the other, in strides from the middle of the cell; a map of
visibility, if a model has one, holds one probability per keypoint:

  x = (v + cell + 0.5) * stride

YOLO26 itself predicts this (ultralytics/nn/modules/head.py, `Pose26.kpts_decode`: `(kpt + anchor) * stride`, anchors in
the middle of cells). YOLOv8 and YOLO11 predict x = (2 v + cell) * stride (`Pose.kpts_decode`,
`kpt * 2 + anchor - 0.5`); graph surgery converts it by changing the weights of one convolution.
"""

from dataclasses import replace

import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.families.sides import MIDDLE
from lib.detector.head import SPLIT
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.task import Predicted

KEYPOINTS, VISIBILITY = "keypoints", "visibility"  # roles of maps; the first is also the name of the instances' extra
VALUES = 3  # x, y, visibility: the values of a keypoint here, even if the model predicts no visibility


def count_of(outputs: OutputSpec) -> int:
    """K, the number of keypoints per object."""
    return next(output.channels for output in outputs.extras if output.role == KEYPOINTS) // 2


def tells_visibility(outputs: OutputSpec) -> bool:
    """Whether the model predicts how visible a keypoint is."""
    return any(output.role == VISIBILITY for output in outputs.extras)


def predict(outputs: OutputSpec, raw: list[np.ndarray]) -> Predicted:
    """Boxes and scores, and for each keypoint the columns x, y and, if the model predicts it, visibility.

    In pixels of the input. Raises UserError when the outputs do not fit the head.
    """
    predictions = outputs.predictions(raw)
    if outputs.head != SPLIT:
        return Predicted(predictions, outputs.joined_columns(raw))
    points, strides = outputs.family.centres(outputs.imgsz)
    middles = points + np.float32(MIDDLE - outputs.family.offset)
    places = outputs.cell_values(raw, KEYPOINTS).reshape(len(points), -1, 2)
    columns = [(places + middles[:, None]) * strides[:, None]]
    if tells_visibility(outputs):
        columns.append(outputs.cell_values(raw, VISIBILITY)[:, :, None])
    return Predicted(predictions, np.concatenate(columns, axis=2).reshape(len(points), -1))


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
