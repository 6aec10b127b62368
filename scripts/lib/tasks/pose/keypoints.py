"""Keypoints of raw outputs, in pixels of the image.

A map of keypoints holds x and y of one keypoint after the other in strides from the middle of the cell; a map of
visibility, where a model has one, holds a probability of each:

  x = (v + cell + 0.5) * stride

YOLO26 predicts so itself (ultralytics/nn/modules/head.py, `Pose26.kpts_decode`: `(kpt + anchor) * stride`, anchors in
the middle of cells). YOLOv8 and YOLO11 predict x = (2 v + cell) * stride (`Pose.kpts_decode`,
`kpt * 2 + anchor - 0.5`); graph surgery makes it the same by the weights of one convolution.
"""

from dataclasses import replace

import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.families.sides import MIDDLE
from lib.detector.instances import Instances
from lib.detector.nms import CONFIDENCE, IOU, MOST, in_image, keep
from lib.detector.output_spec import OutputSpec

KEYPOINTS, VISIBILITY = "keypoints", "visibility"  # roles of maps; the first is also the name of the instances' extra
VALUES = 3  # x, y, visibility: what a keypoint has here, whatever the model tells


def count_of(outputs: OutputSpec) -> int:
    """K, the keypoints of an object."""
    return next(output.channels for output in outputs.extras if output.role == KEYPOINTS) // 2


def tells_visibility(outputs: OutputSpec) -> bool:
    """Whether the model predicts how visible a keypoint is."""
    return any(output.role == VISIBILITY for output in outputs.extras)


def columns_of(outputs: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
    """x, y and, where the model tells it, visibility of each keypoint of each prediction, in pixels of the input.

    raw: the outputs of the head `split`. float32 [N, K, 2 or 3].
    """
    points, strides = outputs.family.centres(outputs.imgsz)
    middles = points + np.float32(MIDDLE - outputs.family.offset)
    places = _cell_values(outputs, raw, KEYPOINTS).reshape(len(points), -1, 2)
    columns = [(places + middles[:, None]) * strides[:, None]]
    if tells_visibility(outputs):
        columns.append(_cell_values(outputs, raw, VISIBILITY)[:, :, None])
    return np.concatenate(columns, axis=2)


def _cell_values(outputs: OutputSpec, raw: list[np.ndarray], role: str) -> np.ndarray:
    maps = [values for output, values in zip(outputs.maps(), raw) if output.role == role]
    return np.concatenate([values.reshape(values.shape[1], -1).T for values in maps]).astype(np.float32)


def instances(
    outputs: OutputSpec,
    raw: list[np.ndarray],
    fit: Letterbox,
    confidence: float = CONFIDENCE,
    iou: float = IOU,
    most: int = MOST,
) -> Instances:
    """What raw outputs detect in an image that was letterboxed by `fit`: boxes, and the keypoints of those kept.

    extras: keypoints, float32 [n, K, 3]: x, y in pixels of the image, cut at its edges as Ultralytics does
    (`ops.scale_coords`), and visibility 0..1; 1 where the model tells none.
    """
    predictions, overlap = outputs.predictions(raw), None if outputs.end2end else iou
    rows, classes = keep(predictions, confidence, overlap, most)
    boxes = in_image(predictions, rows, classes, fit)
    columns = columns_of(outputs, raw)[rows]
    keypoints = np.ones((*columns.shape[:2], VALUES), np.float32)
    width, height = fit.source
    shifted = (columns[:, :, :2] - (fit.left, fit.top)) / fit.scales
    keypoints[:, :, :2] = np.clip(shifted, 0, (width, height))
    if tells_visibility(outputs):
        keypoints[:, :, 2] = columns[:, :, 2]
    return replace(boxes, extras={KEYPOINTS: keypoints})
