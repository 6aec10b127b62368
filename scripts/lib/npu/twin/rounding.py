"""The toolkit's roundings to INT8, to the bit: tensors have one scale, filters one each; both have a zero point."""

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = -128, 127
STEPS = HIGHEST - LOWEST


@dataclass(frozen=True)
class Rounding:
    """A value is stored as round(value / scale) + zero_point, -128..127, a half to the even neighbour."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Rounding":
        """The rounding whose steps span `low` to `high`, widened to hold 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        # A tensor that is 0 throughout needs no scale; any will do.
        scale = (high - low) / STEPS or 1.0
        return cls(scale, int(np.clip(np.round(LOWEST - low / scale), LOWEST, HIGHEST)))

    def steps(self, values: np.ndarray) -> np.ndarray:
        """The stored whole numbers of `values` that lie on the steps, as float64."""
        return np.round(values.astype(np.float64) / self.scale) + self.zero_point


def whole_weights(weights: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 weights in whole steps (float32, -255..255), and each filter's scale as float64 [filters].

    Filters lie along `axis`. Scale and zero point are found in float64, weights are divided by the scale in float32:
    where a weight lies half way between two steps, as weights do that were INT8 before, any other way rounds some of
    them to the other side.
    """
    filters = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    low = np.minimum(filters.min(axis=1), 0).astype(np.float64)
    high = np.maximum(filters.max(axis=1), 0).astype(np.float64)
    scales = (high - low) / STEPS
    scales[scales == 0] = 1.0
    zero_points = np.round(LOWEST - low / scales).astype(np.float32)[:, None]
    stored = np.clip(np.round(filters / scales.astype(np.float32)[:, None]) + zero_points, LOWEST, HIGHEST)
    shape = np.moveaxis(weights, axis, 0).shape
    return np.ascontiguousarray(np.moveaxis((stored - zero_points).reshape(shape), 0, axis)), scales


def round_weights(weights: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 weights as INT8 leaves them, and each filter's scale, as `whole_weights` finds both."""
    whole, scales = whole_weights(weights, axis)
    return whole * along(scales.astype(np.float32), weights.ndim, axis), scales


def along(values: np.ndarray, dimensions: int, axis: int) -> np.ndarray:
    """A value per filter, to be broadcast over a tensor of that many dimensions whose filters lie along `axis`."""
    return values.reshape([-1 if number == axis else 1 for number in range(dimensions)])


def round_bias(bias: np.ndarray, input_scale: float, weight_scales: np.ndarray) -> np.ndarray:
    """Float32 bias [filters] in whole steps of input scale times filter scale."""
    step = (weight_scales * input_scale).astype(np.float32)
    return np.round(bias / step) * step
