"""NC1HWC2, the memory layout of the NPU's outputs: channels in groups of C2, the last group padded.

Channel c of cell (y, x) of [batch, C, H, W] is at [batch, c // C2, y, x, c % C2] of [batch, ceil(C / C2), H, W, C2].
"""

import math

import numpy as np

from lib.npu.rknn_file import RknnTensor

# The padding is undefined on the board. With the largest value, a decoder that wrongly reads it makes false detections.
PADDING = 127


def to_native(stored: np.ndarray, native_shape: tuple[int, ...]) -> np.ndarray:
    """Convert INT8 [1, C, H, W] to the NPU's layout [1, C1, H, W, C2]; the padding is PADDING."""
    _, c1, height, width, c2 = native_shape
    padded = np.full((1, c1 * c2, height, width), PADDING, np.int8)
    padded[:, : stored.shape[1]] = stored
    return np.ascontiguousarray(padded.reshape(1, c1, c2, height, width).transpose(0, 1, 3, 4, 2))


def as_map(tensor: RknnTensor) -> RknnTensor:
    """A vector, such as a classifier's [1, C], as a map [1, C, 1, 1]; the values follow each other in every layout.

    Any other output is returned unchanged.
    """
    values = math.prod(tensor.shape)
    if len(tensor.shape) == 4 or max(tensor.shape, default=1) != values or math.prod(tensor.native_shape) != values:
        return tensor
    return tensor._replace(shape=(1, values, 1, 1), native_shape=(1, values, 1, 1, 1))


def from_native(native: np.ndarray, channels: int) -> np.ndarray:
    """Convert INT8 [1, C1, H, W, C2] to [1, channels, H, W], without the padding."""
    _, c1, height, width, c2 = native.shape
    return native.transpose(0, 1, 4, 2, 3).reshape(1, c1 * c2, height, width)[:, :channels]
