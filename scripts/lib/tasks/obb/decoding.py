"""From raw outputs to rotated boxes.

Formulas: the angle from a sigmoid for YOLOv8 and 11, `OBB.forward_head`, and directly for YOLO26, `OBB26.forward_head`
(ultralytics/nn/modules/head.py); the centre along rotated axes, `dist2rbox` (ultralytics/utils/tal.py).
"""

import math
from dataclasses import replace

import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.head import BOX, SELECTED, SPLIT
from lib.detector.instances import Instances
from lib.detector.nms import candidates
from lib.detector.output_spec import OutputSpec
from lib.step.errors import UserError
from lib.tasks.obb import nms
from lib.tasks.obb.maps import ANGLE, TURN
from lib.tasks.obb.rectangles import boxes_around
from lib.tasks.task import Predicted


def predict(outputs: OutputSpec, raw: list[np.ndarray]) -> Predicted:
    """cx, cy, w, h of the rotated boxes, scores, and one column: the angle in radians."""
    predictions = outputs.predictions(raw)
    if outputs.head == SPLIT:
        angles = _angles(outputs, raw)
        predictions[:, :2] = _turned_centres(outputs, predictions[:, :2], angles[:, 0])
        return Predicted(predictions, angles)
    if outputs.head == SELECTED:
        # The end-to-end head of this task gives cx, cy, w, h, not corners: `OBB.decode_bboxes`.
        predictions[:, :BOX] = raw[0][0, :, :BOX]
    return Predicted(predictions, outputs.joined_columns(raw))


def keep(predicted: Predicted, confidence: float, iou: float | None, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions remain after the NMS of rotated rectangles, and their classes, best first."""
    rows, classes = candidates(predicted.predictions, confidence)
    kept = slice(most) if iou is None else nms.keep(_rectangles(predicted, rows), classes, iou, most)
    return rows[kept], classes[kept]


def found(outputs: OutputSpec, predicted: Predicted, rows: np.ndarray, boxes: Instances, fit: Letterbox) -> Instances:
    """Rotated boxes: extras["rotated"] float32 [n, 5] are cx, cy, w, h in pixels of the image and the angle.

    `boxes` are the boxes around them, cut at the image's edges. Raises UserError if the image was stretched: what is a
    rectangle in the input is then not one in the image.
    """
    if not math.isclose(*fit.scales):
        raise UserError(
            "the task obb cannot be used with letterbox: stretch, because a rotated box in a stretched image is not a "
            "rectangle in the image itself; use letterbox: centre or top_left"
        )
    rotated = _to_image(_rectangles(predicted, rows), fit)
    around = np.clip(boxes_around(rotated), 0, (*fit.source, *fit.source))
    return replace(boxes, boxes=around.astype(np.float32), extras={"rotated": rotated.astype(np.float32)})


def _rectangles(predicted: Predicted, rows: np.ndarray) -> np.ndarray:
    """The rotated rectangles of some predictions, float32 [n, 5], in input pixels."""
    rotated = np.concatenate([predicted.predictions[rows, :BOX], predicted.columns[rows]], axis=1)
    rotated[:, 2:BOX] = rotated[:, 2:BOX].clip(min=0)  # predicted distances may be negative
    return rotated


def _angles(outputs: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
    """Radians float32 [N, 1] of the head `split`."""
    if outputs.extras[0].role == TURN:
        return (outputs.cell_values(raw, TURN) - 0.25) * math.pi
    return outputs.cell_values(raw, ANGLE)


def _turned_centres(outputs: OutputSpec, centres: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Centres [N, 2] of boxes in input pixels, from offsets that run along the boxes' own rotated sides.

    In float64, as in obb.h on the board, so that both round to the same float32.
    """
    points, strides = outputs.family.centres(outputs.imgsz)
    points = (points * strides).astype(np.float64)
    along, across = (centres - points).T
    cos, sin = np.cos(angles.astype(np.float64)), np.sin(angles.astype(np.float64))
    return points + np.stack([along * cos - across * sin, along * sin + across * cos], axis=1)


def _to_image(rotated: np.ndarray, fit: Letterbox) -> np.ndarray:
    """Rectangles [n, 5] from input pixels to pixels of the image, float64."""
    rotated = rotated.astype(np.float64)
    centre, size, angle = np.split(rotated, (2, BOX), axis=1)
    return np.concatenate([(centre - (fit.left, fit.top)) / fit.scale, size / fit.scale, angle], axis=1)
