"""How far a model's outputs are from FP32's on some images, as one number; no label is needed.

For each output map of each image, the squared difference is divided by the map's own size, and the number is the square
of the mean square root of these fractions. Their plain mean would not work: a detection that moves to the neighbouring
cell, as happens easily with one-to-one heads, would cost as much as everything else together.
"""

import numpy as np

from lib.detector.head import BOX, SPLIT
from lib.detector.output_spec import OutputSpec

_OBJECTNESS, _SCORES = "objectness", "scores"
# (values, weights of the values)
Weighted = tuple[np.ndarray, np.ndarray]


class Difference:
    """The FP32 outputs for each image, with which outputs are compared."""

    def __init__(self, spec: OutputSpec | None, fp32: list[list[np.ndarray]]):
        """spec: what the outputs mean; None if that is not known. fp32: the outputs for each image."""
        self._spec = spec
        self._maps = [_maps(spec, outputs) for outputs in fp32]
        self._sizes = [
            sum(float((weights * (values - _level(values)) ** 2).sum()) for values, weights in maps) / len(fp32)
            for maps in zip(*self._maps)
        ]

    def of(self, outputs: list[list[np.ndarray]]) -> float:
        """The difference of the outputs for the first images; 0 if they are equal."""
        shares = [
            float((weights * (values - fp32) ** 2).sum()) / (size or 1.0)
            for given, maps in zip(outputs, self._maps)
            for values, (fp32, weights), size in zip(_values(self._spec, given), maps, self._sizes, strict=True)
        ]
        return float(np.sqrt(shares).mean() ** 2)


def _level(values: np.ndarray) -> np.ndarray:
    """The level of a map's channels that does not depend on the image."""
    return values.mean(axis=tuple(range(2, values.ndim)), keepdims=True)


def _values(spec: OutputSpec | None, outputs: list[np.ndarray]) -> list[np.ndarray]:
    """The maps in the outputs. Boxes and scores in one output count as two maps."""
    if spec is None or spec.head == SPLIT:
        return outputs
    joined, *others = outputs
    return [joined[:, :BOX], joined[:, BOX:], *others]


def _maps(spec: OutputSpec | None, outputs: list[np.ndarray]) -> list[Weighted]:
    """The maps for one image in FP32; each cell is weighted by the model's score for an object there."""
    values = _values(spec, outputs)
    if spec is None:
        weights = [np.float32(1)] * len(values)
    elif spec.head == SPLIT:
        maps = dict(zip([(output.role, output.stride) for output in spec.maps()], values, strict=True))
        sure = _OBJECTNESS if any(role == _OBJECTNESS for role, _ in maps) else _SCORES
        weights = [
            _best(maps[sure, stride]) if role != sure and (sure, stride) in maps else np.float32(1)
            for role, stride in maps
        ]
    else:
        weights = [_best(values[1]), *[np.float32(1)] * (len(values) - 1)]
    return list(zip(values, weights, strict=True))


def _best(scores: np.ndarray) -> np.ndarray:
    return scores.max(axis=1, keepdims=True)
