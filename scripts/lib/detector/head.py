"""The output heads, and decoding of those that join the predictions: boxes in input pixels, scores in 0..1.

Shapes are [batch, channel, height, width]. There are C classes and N predictions, whose number and order depend on the
model's family. A task adds E numbers to each prediction; detection adds none.

  exported  [1, 4+C+E, N]     cx, cy, w, h in input pixels; scores after sigmoid; what the task adds, decoded
  selected  [1, K, 6+E]       x1, y1, x2, y2 in input pixels, score, class: the K best predictions of a one-to-one head
  single    [1, 4+C, N, 1]    cx, cy, w, h divided by width and height, limited to 0..1; scores after sigmoid
  split     the family's maps, lib.detector.families, with scores after sigmoid
  as_is     whatever the graph gives; it is not decoded, except a classifier's [1, C, 1, 1]

One-to-one head: YOLOv10, Wang et al. 2024, https://arxiv.org/abs/2405.14458, section 3.1: trained to predict each
object only once, so that no NMS is needed.
"""

import numpy as np

from lib.data.imgsz import ImageSize
from lib.step.errors import UserError

EXPORTED, SELECTED, SINGLE, SPLIT, AS_IS = "exported", "selected", "single", "split", "as_is"
# The heads of a detector: their outputs are decoded, so there are a mAP, a C decoder and a bundle.
HEADS = (SINGLE, SPLIT)
# The only task for `single`; keypoints, coefficients and angles of other tasks need maps of their own.
TASK_OF_SINGLE = "detect"
# The task of classifiers, which have only the head `as_is`; also the entry `task` in Ultralytics' exports of them.
CLASSIFY = "classify"
# All heads that surgery can give a graph. Instead of detections, `as_is` is judged by its outputs' likeness to FP32.
ALL_HEADS = (*HEADS, AS_IS)
BOX = 4  # quantities of a box


def decode_joined(
    outputs: list[np.ndarray], head: str, imgsz: ImageSize, points: int, classes: int, columns: int = 0
) -> np.ndarray:
    """Predictions float32 [points, 4+C] of the head `exported` or `single`, which may also have a task's `columns`.

    Raises UserError for other shapes.
    """
    shapes, expected = [output.shape for output in outputs], (1, BOX + classes + columns, points)
    expected += (1,) if head == SINGLE else ()
    if shapes != [expected]:
        raise UserError(f"outputs {shapes} are not the '{head}' head of {imgsz}: one {expected} is expected")
    predictions = outputs[0].reshape(-1, points)[: BOX + classes].T.astype(np.float32)
    if head == SINGLE:
        predictions[:, :BOX] *= np.array([*imgsz, *imgsz], np.float32)
    return predictions


def decode_selected(outputs: list[np.ndarray], classes: int, columns: int = 0) -> np.ndarray:
    """K predictions float32 [K, 4+C] with one score each: those of the other classes are 0.

    Each may also have a task's `columns`. Raises UserError for other shapes, or a class outside 0..classes-1.
    """
    shapes = [output.shape for output in outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1 or shapes[0][2] != BOX + 2 + columns:
        raise UserError(
            f"outputs {shapes} are not those of an end-to-end head: one [1, K, {BOX + 2 + columns}] is expected"
        )
    low, high, score, chosen = np.split(outputs[0][0, :, : BOX + 2].astype(np.float32), (2, 4, 5), axis=1)
    chosen = chosen[:, 0].astype(int)
    if chosen.min() < 0 or chosen.max() >= classes:
        raise UserError(f"the end-to-end head gives class {chosen.max()}, but the model has {classes} classes")
    scores = np.zeros((len(chosen), classes), np.float32)
    scores[np.arange(len(chosen)), chosen] = score[:, 0]
    return np.concatenate([(low + high) / 2, high - low, scores], axis=1)
