"""The output heads, and how each one's raw outputs become predictions: boxes in input pixels, scores in 0..1.

Shapes are [batch, channel, height, width]; C classes, N anchor points, strides 8, 16, 32.

  exported  [1, 4+C, N]       cx, cy, w, h in input pixels; scores after sigmoid
  selected  [1, K, 6]         x1, y1, x2, y2 in input pixels, score, class: the K best predictions of a one-to-one head
  single    [1, 4+C, N, 1]    cx, cy, w, h divided by width and height, limited to 0..1; scores after sigmoid
  split     per stride s: a box map, and [1, C, H/s, W/s] scores after sigmoid

A model's family says what its box maps hold:

  dfl        [1, 4*R, H/s, W/s]  logits of R bins a side (YOLOv8, v9, v10, 11, 12, v5u: R = 16)
  distances  [1, 4,   H/s, W/s]  left, top, right, bottom in strides from the cell's centre (YOLO26)
  anchors                        Darknet's anchor-based head, lib.detector.anchors

A Darknet model has the same `exported` and `single` with as many predictions as its [yolo] layers make, and as `split`
per layer box map, objectness and scores. Its widths and heights are limited to the input's: the exponential that they
come from knows no bound, and would take all of INT8's range.

DFL: Generalized Focal Loss, Li et al. 2020, https://arxiv.org/abs/2006.04388, eq. 3 to 6: a side's distance is the mean
of its bins 0..R-1 under the softmax of their logits, in units of the stride.
One-to-one head: YOLOv10, Wang et al. 2024, https://arxiv.org/abs/2405.14458, section 3.1: trained to predict each
object once, so its predictions need no NMS.
"""

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.anchors import YoloLayer, decode_maps
from lib.step.errors import UserError

EXPORTED, SELECTED, SINGLE, SPLIT = "exported", "selected", "single", "split"
HEADS = (SINGLE, SPLIT)
HEAD_KEY = "rv1106.head"  # the ONNX metadata that says which head a graph was given
END2END_KEY = "rv1106.end2end"  # the ONNX metadata that is there when the head is one-to-one
DFL, DISTANCES, ANCHORS = "dfl", "distances", "anchors"
STRIDES = (8, 16, 32)
DFL_BINS = 16
SIDES = 4


def decode(
    outputs: list[np.ndarray],
    head: str,
    imgsz: ImageSize,
    darknet: tuple[YoloLayer, ...] = (),
    classes: int | None = None,
) -> np.ndarray:
    """Predictions float32 [N, 4+C] of one image: cx, cy, w, h in input pixels, then class scores.

    `outputs` are the raw outputs of a model with that `head`, in their order; `darknet` its [yolo] layers, if it has
    some; `classes` is C, which the head `selected` alone does not tell by its shape. Raises UserError when their shapes
    are not the head's.
    """
    if head == SELECTED:
        predictions = _decode_selected(outputs, classes)
    elif head != SPLIT:
        points = sum(layer.predictions(imgsz) for layer in darknet) or anchor_points(imgsz)[1].size
        predictions = _decode_joined(outputs, head, imgsz, points)
    elif darknet:
        predictions = decode_maps(outputs, darknet, imgsz)
    else:
        predictions = _decode_split(outputs, imgsz)
    if darknet and head != SINGLE:
        # The head `single` has done it already.
        predictions[:, 2:4] = np.minimum(predictions[:, 2:4], np.array(imgsz, np.float32))
    return predictions


def class_count(shapes: list, head: str, darknet: tuple[YoloLayer, ...] = ()) -> int:
    """Number of classes that a model with `head` and outputs of `shapes` scores. Raises UserError for others."""
    if darknet:
        return darknet[0].classes
    if len(shapes) < (2 if head == SPLIT else 1) or any(len(shape) < 3 for shape in shapes):
        raise UserError(f"outputs {shapes} are not those of the head '{head}'")
    return shapes[1][1] if head == SPLIT else shapes[0][1] - SIDES


def _decode_selected(outputs: list[np.ndarray], classes: int) -> np.ndarray:
    """K predictions with one score each: those of the other classes are 0."""
    shapes = [output.shape for output in outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1 or shapes[0][2] != SIDES + 2:
        raise UserError(f"outputs {shapes} are not those of an end-to-end head: one [1, K, 6] is expected")
    low, high, score, chosen = np.split(outputs[0][0].astype(np.float32), (2, 4, 5), axis=1)
    chosen = chosen[:, 0].astype(int)
    if chosen.min() < 0 or chosen.max() >= classes:
        raise UserError(f"the end-to-end head gives class {chosen.max()}, the model has {classes} classes")
    scores = np.zeros((len(chosen), classes), np.float32)
    scores[np.arange(len(chosen)), chosen] = score[:, 0]
    return np.concatenate([(low + high) / 2, high - low, scores], axis=1)


def _decode_joined(outputs: list[np.ndarray], head: str, imgsz: ImageSize, points: int) -> np.ndarray:
    shapes = [output.shape for output in outputs]
    tail = (points,) if head == EXPORTED else (points, 1)
    if len(shapes) != 1 or shapes[0][:1] + shapes[0][2:] != (1, *tail) or shapes[0][1] < 5:
        raise UserError(
            f"outputs {shapes} are not the '{head}' head of {imgsz}: one [1, 4+classes, {tail}] is expected"
        )
    predictions = outputs[0].reshape(-1, points).T.astype(np.float32)
    if head == SINGLE:
        predictions[:, :4] *= np.array([*imgsz, *imgsz], np.float32)
    return predictions


def anchor_points(imgsz: ImageSize) -> tuple[np.ndarray, np.ndarray]:
    """Centres of all cells in units of their stride, float32 [N, 2] as x, y, and the stride of each, float32 [N, 1]."""
    points, strides = [], []
    for stride in STRIDES:
        x, y = np.meshgrid(np.arange(imgsz.width // stride) + 0.5, np.arange(imgsz.height // stride) + 0.5)
        points.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def dfl(logits: np.ndarray) -> np.ndarray:
    """Distances float32 [n, 4] (left, top, right, bottom; in strides) of box logits [n, 4*R].

    Summed in float64, so that decode.h on the board, which sums in another order, rounds to the same float32.
    """
    bins = logits.reshape(len(logits), 4, -1).astype(np.float64)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    return (weights @ np.arange(bins.shape[2], dtype=np.float64) / weights.sum(axis=2)).astype(np.float32)


def _decode_split(outputs: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
    cells = [(imgsz.height // stride, imgsz.width // stride) for stride in STRIDES]
    shapes = [output.shape for output in outputs]
    boxes, scores = outputs[0::2], outputs[1::2]
    if (
        len(outputs) != 2 * len(STRIDES)
        or any(shape[:1] + shape[2:] != (1, *cell) for shape, cell in zip(shapes[0::2] + shapes[1::2], cells * 2))
        or any(box.shape[1] % SIDES for box in boxes)
    ):
        raise UserError(
            f"outputs {shapes} are not the 'split' head of {imgsz}: box maps and scores of {cells} are expected"
        )
    points, strides = anchor_points(imgsz)
    sides = _cells_first(boxes)
    distances = sides if sides.shape[1] == SIDES else dfl(sides)
    low, high = points - distances[:, :2], points + distances[:, 2:]
    return np.concatenate([(low + high) / 2 * strides, (high - low) * strides, _cells_first(scores)], axis=1)


def _cells_first(maps: list[np.ndarray]) -> np.ndarray:
    """Feature maps [1, K, H, W] of all strides as one [N, K]."""
    return np.concatenate([each.reshape(each.shape[1], -1).T for each in maps]).astype(np.float32)
