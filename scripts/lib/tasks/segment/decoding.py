"""From coefficients and prototypes to masks at the image's size.

An object's mask is where the sum of the prototypes, weighted by its coefficients, is above 0 inside its box:
YOLACT, Bolya et al. 2019, https://arxiv.org/abs/1904.02689, section 3.2 (a sigmoid above 0.5 is a sum above 0).
Between the prototypes' cells the sum is interpolated linearly, as in Ultralytics' `process_mask_native`
(ultralytics/utils/ops.py), which undoes the letterbox in whole cells; here it is undone exactly, as for boxes.
"""

from dataclasses import replace

import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.head import SPLIT
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.segment.masks import MASK, as_rows, empty, encoded
from lib.tasks.task import Predicted

COEFFICIENTS, PROTOTYPES = "coefficients", "prototypes"  # the roles of the task's maps
AT_ONCE = 64  # masks whose sums of prototypes are in memory at a time
IN_CACHE = 2**15  # pixels that are interpolated at a time, so that they fit into the cache


def predict(outputs: OutputSpec, raw: list[np.ndarray]) -> Predicted:
    """Boxes and scores, the mask coefficients of each, [N, M], and the shared prototypes [1, M, H/4, W/4]."""
    predictions = outputs.predictions(raw)
    of_cells = outputs.cell_values(raw, COEFFICIENTS) if outputs.head == SPLIT else outputs.joined_columns(raw)
    return Predicted(predictions, of_cells, outputs.shared(raw))


def found(outputs: OutputSpec, predicted: Predicted, rows: np.ndarray, boxes: Instances, fit: Letterbox) -> Instances:
    """The detections: the kept boxes, with masks of the image's size."""
    stride, [prototypes] = outputs.shared_maps[0].stride, predicted.shared
    masks = masks_of(boxes.boxes, predicted.columns[rows], prototypes[0], stride, fit)
    return replace(boxes, extras={MASK: masks})


def masks_of(
    boxes: np.ndarray, coefficients: np.ndarray, prototypes: np.ndarray, stride: int, fit: Letterbox
) -> np.ndarray:
    """The masks [n], encoded as in lib.tasks.segment.masks, of objects with `boxes` [n, 4] in pixels of the image.

    coefficients: float32 [n, M]. prototypes: float32 [M, H, W], of cells of `stride` input pixels.
    """
    across, down = (
        _positions(side, border, scale, stride, cells)
        for side, border, scale, cells in zip(
            fit.source, (fit.left, fit.top), fit.scales, (prototypes.shape[2], prototypes.shape[1])
        )
    )
    masks = []
    for first in range(0, len(boxes), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        # [n, W, H], because COCO's run lengths go column by column.
        sums = np.tensordot(coefficients[some].astype(np.float32), prototypes.transpose(0, 2, 1), axes=1)
        masks += [_mask(of_cells, box, across, down, fit.source) for of_cells, box in zip(sums, boxes[some])]
    return as_rows(masks)


def _positions(side: int, border: int, scale: float, stride: int, cells: int) -> np.ndarray:
    """The position of each pixel's centre, along an image's side, among the cells of the prototypes, float64 [side].

    0 is the centre of the first cell; beyond the first and the last cell their values are repeated, as in PyTorch's
    `interpolate(mode="bilinear", align_corners=False)`.
    """
    middles = (np.arange(side) + 0.5) * scale + border
    return np.clip(middles / stride - 0.5, 0, cells - 1)


def _mask(sums: np.ndarray, box: np.ndarray, across: np.ndarray, down: np.ndarray, size: tuple[int, int]) -> bytes:
    """The pixels of a box whose interpolated sum of prototypes, [W, H] by cell, is above 0.

    A pixel is in the box if its upper left corner is, as in Ultralytics' `crop_mask`.
    """
    x1, y1, x2, y2 = np.ceil(box).astype(int)
    if x1 >= x2 or y1 >= y2:
        return empty(size)
    sums, across = _cropped(sums, across[x1:x2], 0)
    sums, down = _cropped(sums, down[y1:y2], 1)
    sums = _interpolated(sums.T, down).T
    columns = np.empty((len(across), len(down)), bool)
    some = max(1, IN_CACHE // len(down))
    for first in range(0, len(across), some):
        part = slice(first, first + some)
        np.greater(_interpolated(sums, across[part]), 0, out=columns[part])
    return encoded(columns, (int(x1), int(y1)), size)


def _cropped(values: np.ndarray, positions: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of `values` [W, H] that increasing positions along an axis need, and the positions within that part."""
    first, last = int(positions[0]), int(positions[-1]) + 2
    return values[first:last] if axis == 0 else values[:, first:last], positions - first


def _interpolated(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The rows of `values` [n, m], interpolated at fractional positions [k], float32 [k, m]."""
    low = positions.astype(int)
    steps = np.diff(values, axis=0, append=values[-1:])
    between = steps[low]
    between *= (positions - low).astype(np.float32)[:, None]
    between += values[low]
    return between
