"""Biases that make up for what INT8 shifts: `algorithm: corrected`, whose ranges are those of `normal`.

INT8 does not only add noise. Values that hardly change over an image are all rounded to the same side, so a channel is
shifted as a whole, and such shifts add up from layer to layer. Bias correction (Nagel et al. 2019, section 4.2,
https://arxiv.org/abs/1906.04721) adds the mean difference of a convolution's sums from FP32's to its bias, filter by
filter and in the order of computation, so that each convolution reads corrected maps.

Here a value counts as much as the activation behind the convolution passes on of a change. With equal weights, values
far below 0 decide, which a SiLU turns into 0 whatever their error, and the outputs of some models get worse.
"""

from collections.abc import Container, Iterable

import numpy as np
import onnx
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lib.npu.nodewise import Values, first_images, forget, results_of, rounding_of, slope_behind
from lib.npu.twin.ranges import step_of
from lib.npu.twin.rounding import FILTER_AXES, round_weights
from lib.npu.twin.structure import Structure
from lib.step import console

# Pixels of all images together: the maps of all images are in memory at a time, some 130 bytes for each pixel.
PIXELS = 128 * 320 * 320
# What a value counts at least. If the activation passes on nothing of a filter anywhere, the plain mean remains.
_LEAST = 1e-3


def corrected_biases(
    structure: Structure, tensors: Iterable[np.ndarray], names: Container[str]
) -> dict[str, np.ndarray]:
    """The biases to build a structure with, float32 [filters] by the names of the convolutions' outputs.

    structure: with the ranges to build with. tensors: the network's input for each calibration image, float32
    [1, C, H, W]; only the first ones are taken, as many as PIXELS allows, but at least one. names: the convolutions
    that may be corrected, by their outputs. Raises UserError for an operator that only the toolkit can run.
    """
    return _Correction(structure, first_images(structure, tensors, PIXELS), names).run()


class _Correction:
    """Computes a structure in FP32 and in INT8, node by node on all images."""

    def __init__(self, structure: Structure, tensors: list[np.ndarray], names: Container[str]):
        self.graph, self.names = structure.model.graph, names
        self.opsets, self.readers, self.finished = structure.opsets(), structure.readers(), structure.finished()
        self.constants, self.rounded = structure.constants(), rounding_of(structure)
        given = structure.input().name
        self.fp32: list[Values] = [{given: tensor} for tensor in tensors]
        self.int8: list[Values] = [{given: self.rounded(given, tensor)} for tensor in tensors]

    def run(self) -> dict[str, np.ndarray]:
        biases: dict[str, np.ndarray] = {}
        nodes = tqdm(self.graph.node, "biases", file=console.terminal(), disable=None)
        # As when ranges are measured: with more threads, matrix products would add in another order.
        with threadpool_limits(1, "blas"):
            for node, finished in zip(nodes, self.finished):
                sums, bias = self._computed(node)
                if bias is not None:
                    biases[node.output[0]] = bias
                for values, results in zip(self.int8, sums):
                    values.update({name: self.rounded(name, value) for name, value in results.items()})
                forget(finished, [*self.fp32, *self.int8])
        return biases

    def _computed(self, node: onnx.NodeProto) -> tuple[list[Values], np.ndarray | None]:
        """What the node gives in INT8 before it is rounded, for each image, and its corrected bias if it has one.

        In FP32 its results join the values.
        """
        for values, results in zip(self.fp32, results_of(step_of(node, self.constants, self.opsets), node, self.fp32)):
            values.update(results)
        if node.op_type not in FILTER_AXES or node.input[1] not in self.constants:
            return results_of(step_of(node, self.constants, self.opsets, self.rounded), node, self.int8), None
        weights, _ = round_weights(self.constants[node.input[1]], FILTER_AXES[node.op_type])
        sums = results_of(step_of(node, self.constants | {node.input[1]: weights}, self.opsets), node, self.int8)
        [output] = node.output
        if output not in self.names:
            return sums, None
        pairs = [(fp32[output], int8[output]) for fp32, int8 in zip(self.fp32, sums)]
        shift = _mean_shift(pairs, slope_behind(self.readers.get(output, [])))
        for values in sums:
            values[output] = values[output] + shift.reshape(1, -1, 1, 1)
        return sums, shift + (self.constants[node.input[2]] if len(node.input) > 2 else 0)


def _mean_shift(pairs: list[tuple[np.ndarray, np.ndarray]], slope) -> np.ndarray:
    """The weighted mean of FP32 minus INT8 for each filter, float32 [filters], of a convolution's sums [1, C, H, W]."""
    shifts, weights = np.float64(0), np.float64(0)
    for fp32, int8 in pairs:
        weight = slope(fp32) + _LEAST
        shifts = shifts + (weight * (fp32 - int8)).sum(axis=(0, 2, 3), dtype=np.float64)
        weights = weights + weight.sum(axis=(0, 2, 3), dtype=np.float64)
    return (shifts / weights).astype(np.float32)
