"""The output heads, and how each one's raw outputs become predictions: boxes in input pixels, scores in 0..1.

Shapes are [batch, channel, height, width]; C classes, N anchor points, strides 8, 16, 32.

  exported  [1, 4+C, N]       cx, cy, w, h in input pixels; scores after sigmoid
  single    [1, 4+C, N, 1]    cx, cy, w, h divided by the input's width and height; scores after sigmoid
  split     per stride s: [1, 4*R, H/s, W/s] box logits (R = 16 bins a side), [1, C, H/s, W/s] scores after sigmoid

A model from Darknet has an anchor-based head instead (lib.detector.anchors): the same `exported` and `single` with as
many predictions as its [yolo] layers make, and as `split` per layer box map, objectness and scores. Its widths and
heights are limited to the input's: the exponential that they come from knows no bound, and would take all of INT8's
range.

DFL: Generalized Focal Loss, Li et al. 2020, https://arxiv.org/abs/2006.04388, eq. 3 to 6: a side's distance is the mean
of its bins 0..R-1 under the softmax of their logits, in units of the stride.
"""

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.anchors import YoloLayer, decode_maps
from lib.step.errors import UserError

EXPORTED, SINGLE, SPLIT = "exported", "single", "split"
HEADS = (SINGLE, SPLIT)
HEAD_KEY = "rv1106.head"  # the ONNX metadata that says which head a graph was given
STRIDES = (8, 16, 32)
DFL_BINS = 16


def decode(outputs: list[np.ndarray], head: str, imgsz: ImageSize, darknet: tuple[YoloLayer, ...] = ()) -> np.ndarray:
    """Predictions float32 [N, 4+C] of one picture: cx, cy, w, h in input pixels, then class scores.

    `outputs` are the raw outputs of a model with that `head`, in their order; `darknet` its [yolo] layers, if it has
    some. Raises UserError when their shapes are not the head's.
    """
    if head != SPLIT:
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
    return shapes[1][1] if head == SPLIT else shapes[0][1] - 4


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
        or any(box.shape[1] % 4 for box in boxes)
    ):
        raise UserError(
            f"outputs {shapes} are not the 'split' head of {imgsz}: box logits and scores of {cells} are expected"
        )
    points, strides = anchor_points(imgsz)
    distances = dfl(_cells_first(boxes))
    low, high = points - distances[:, :2], points + distances[:, 2:]
    return np.concatenate([(low + high) / 2 * strides, (high - low) * strides, _cells_first(scores)], axis=1)


def _cells_first(maps: list[np.ndarray]) -> np.ndarray:
    """Feature maps [1, K, H, W] of all strides as one [N, K]."""
    return np.concatenate([each.reshape(each.shape[1], -1).T for each in maps]).astype(np.float32)
