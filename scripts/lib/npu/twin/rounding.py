"""The toolkit's rounding to INT8, exact to the bit: one scale per tensor or per filter, both with a zero point."""

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = -128, 127
STEPS = HIGHEST - LOWEST
FILTER_AXES = {"Conv": 0, "ConvTranspose": 1}  # the axis of a convolution's weights along which its filters are


@dataclass(frozen=True)
class Rounding:
    """A value is stored as round(value / scale) + zero_point, -128..127, with halves rounded to even."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Rounding":
        """The rounding whose steps span `low` to `high`, widened to contain 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        # A tensor of only zeros works with any scale.
        scale = (high - low) / STEPS or 1.0
        return cls(scale, int(np.clip(np.round(LOWEST - low / scale), LOWEST, HIGHEST)))

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The float32 `values` as INT8 holds them: the nearest steps, at most the range's ends."""
        scale = np.float32(self.scale)
        return np.clip(np.rint(values / scale), LOWEST - self.zero_point, HIGHEST - self.zero_point) * scale

    def steps(self, values: np.ndarray) -> np.ndarray:
        """The stored integers of `values` that are on the steps, as float64."""
        return np.round(values.astype(np.float64) / self.scale) + self.zero_point


def steps_of_filters(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scale and the zero point of each filter, float64 [filters], of float32 weights [filters, weights]."""
    low = np.minimum(filters.min(axis=1), 0).astype(np.float64)
    high = np.maximum(filters.max(axis=1), 0).astype(np.float64)
    scales = (high - low) / STEPS
    scales[scales == 0] = 1.0
    return scales, np.round(LOWEST - low / scales)


def whole_weights(weights: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 weights as whole steps (float32, -255..255), and each filter's scale, float64 [filters].

    Filters are along `axis`. Scale and zero point are computed in float64, but weights are divided by the scale in
    float32: for weights exactly between two steps, as former INT8 weights are, any other order rounds some of them the
    other way.
    """
    filters = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    scales, zero_points = steps_of_filters(filters)
    shape = np.moveaxis(weights, axis, 0).shape
    whole = whole_filters(filters, scales, zero_points).reshape(shape)
    return np.ascontiguousarray(np.moveaxis(whole, 0, axis)), scales


def whole_filters(filters: np.ndarray, scales: np.ndarray, zero_points: np.ndarray) -> np.ndarray:
    """Float32 weights [filters, weights] as whole steps (float32, -255..255) of what `steps_of_filters` gives."""
    zero_points = zero_points.astype(np.float32)[:, None]
    stored = np.clip(np.round(filters / scales.astype(np.float32)[:, None]) + zero_points, LOWEST, HIGHEST)
    return stored - zero_points


def round_weights(weights: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 weights rounded to INT8, and each filter's scale, both as in `whole_weights`."""
    whole, scales = whole_weights(weights, axis)
    return whole * along(scales.astype(np.float32), weights.ndim, axis), scales


def along(values: np.ndarray, dimensions: int, axis: int) -> np.ndarray:
    """A value per filter, shaped to broadcast over a tensor of that many dimensions whose filters are along `axis`."""
    return values.reshape([-1 if number == axis else 1 for number in range(dimensions)])


def round_bias(bias: np.ndarray, input_scale: float, weight_scales: np.ndarray) -> np.ndarray:
    """Float32 bias [filters], rounded to whole steps of input scale times filter scale."""
    step = (weight_scales * input_scale).astype(np.float32)
    return np.round(bias / step) * step
