"""Weights rounded so that a convolution's sums change least: `algorithm: gptq`, whose ranges are those of `normal`.

The toolkit rounds each weight to the nearest step. GPTQ (Frantar et al. 2022, https://arxiv.org/abs/2210.17323) rounds
the weights of a filter one after another, and changes those that are left so that they make up for the error, as far
as the values that they are multiplied with go together in the calibration images. The toolkit rounds the result to
itself, because the smallest and the largest weight of a filter stay where they are, and its steps with them.

A position of the map counts as much as the activation behind the convolution passes on of a change there. The published
method weights all positions equally.
"""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from scipy import linalg
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lib.npu.nodewise import Values, first_images, forget, results_of, rounding_of, slope_behind
from lib.npu.twin.ranges import step_of
from lib.npu.twin.rounding import FILTER_AXES, LOWEST, STEPS, round_weights, steps_of_filters, whole_filters
from lib.npu.twin.structure import Structure, attributes
from lib.step import console

# More images bring no gain (docs/int8_experiments.md), and the maps of all of them are in memory at a time.
IMAGES, PIXELS = 16, 16 * 640 * 640
# Positions of a convolution's output that its rounding is based on, from all images together.
POSITIONS = 40_000
_SEED = 0  # of the choice of these positions
_LEAST = 1e-4  # what a position counts at least
_DAMPING = 0.01  # added to the moments' diagonal, as a share of its mean; the value of the paper
_BLOCK = 64  # weights of a filter whose errors are passed on to the rest at a time; only a matter of speed


def gptq_weights(
    structure: Structure, tensors: Iterable[np.ndarray], own: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The weights to build a structure with, float32 on the toolkit's steps, by the convolutions' outputs.

    structure: with the ranges to build with. tensors: the network's input for each calibration image, float32
    [1, C, H, W]; at most IMAGES of PIXELS together are taken. own: the weights of the ONNX that is built, by the
    convolutions' outputs. A convolution that the toolkit gave other weights is left as it is, and so are transposed
    ones. Raises UserError for an operator that only the toolkit can run.
    """
    images = first_images(structure, islice(tensors, IMAGES), PIXELS)
    return _Rounding(structure, images, own).run()


class _Rounding:
    """Computes a structure in INT8, node by node on all images, with each convolution's weights rounded on the way."""

    def __init__(self, structure: Structure, tensors: list[np.ndarray], own: dict[str, np.ndarray]):
        self.graph, self.own = structure.model.graph, own
        self.opsets, self.readers, self.finished = structure.opsets(), structure.readers(), structure.finished()
        self.constants, self.rounded = structure.constants(), rounding_of(structure)
        given = structure.input().name
        self.values: list[Values] = [{given: self.rounded(given, tensor)} for tensor in tensors]
        self.random = np.random.default_rng(_SEED)

    def run(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        # As when ranges are measured: with more threads, matrix products would add in another order.
        with threadpool_limits(1, "blas"):
            nodes = tqdm(self.graph.node, "weights", file=console.terminal(), disable=None)
            for node, finished in zip(nodes, self.finished):
                constants = self.constants
                if node.op_type in FILTER_AXES and node.input[1] in constants:
                    weights = constants[node.input[1]]
                    if self._may_round(node):
                        weights = found[node.output[0]] = self._weights(node)
                    constants = constants | {node.input[1]: round_weights(weights, FILTER_AXES[node.op_type])[0]}
                results = results_of(step_of(node, constants, self.opsets, self.rounded), node, self.values)
                for values, made in zip(self.values, results):
                    values.update({name: self.rounded(name, value) for name, value in made.items()})
                forget(finished, self.values)
        return found

    def _may_round(self, node: onnx.NodeProto) -> bool:
        own = self.own.get(node.output[0])
        return (
            node.op_type == "Conv"
            and attributes(node).get("auto_pad", "NOTSET") == "NOTSET"
            and own is not None
            and np.array_equal(own, self.constants[node.input[1]])
        )

    def _weights(self, node: onnx.NodeProto) -> np.ndarray:
        """The convolution's weights on the toolkit's steps."""
        weights, groups = self.constants[node.input[1]], attributes(node).get("group", 1)
        filters = weights.reshape(groups, len(weights) // groups, -1)
        rounded = [gptq(each, moments) for each, moments in zip(filters, self._moments(node, filters.shape))]
        return np.stack(rounded).reshape(weights.shape)

    def _moments(self, node: onnx.NodeProto, shape: tuple[int, int, int]) -> np.ndarray:
        """Of each group's inputs the second moments, float64 [groups, K, K], of K values that a filter reads.

        shape: groups, filters of a group, K. Positions are weighted by the mean squared slope of the activations.
        """
        groups, filters, size = shape
        slope = slope_behind(self.readers.get(node.output[0], []))
        sums = results_of(step_of(node, self.constants, self.opsets), node, self.values)
        moments, counted = np.zeros((groups, size, size)), np.zeros((groups, 1, 1))
        for values, made in zip(self.values, sums):
            slopes = slope(made[node.output[0]]).reshape(groups, filters, -1)
            number = min(slopes.shape[2], max(1, POSITIONS // len(self.values)))
            positions = self.random.choice(slopes.shape[2], number, replace=False)
            counts = ((slopes[:, :, positions] ** 2).mean(axis=1) + _LEAST)[:, None]
            read = _read(values[node.input[0]], node, self.constants[node.input[1]].shape[2:], positions)
            read = read.reshape(groups, size, number)
            moments += np.matmul(read * counts, read.swapaxes(1, 2))
            counted += counts.sum(axis=2, keepdims=True, dtype=np.float64)
        return moments / counted


def _read(values: np.ndarray, node: onnx.NodeProto, kernel: tuple[int, int], positions: np.ndarray) -> np.ndarray:
    """What a convolution of `values` [1, C, H, W] reads for positions of its output, [C, kernel, kernel, positions]."""
    settings = attributes(node)
    top, left, bottom, right = settings.get("pads", [0, 0, 0, 0])
    down, across = settings.get("strides", [1, 1])
    apart = settings.get("dilations", [1, 1])
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    window = [(size - 1) * step + 1 for size, step in zip(kernel, apart)]
    windows = sliding_window_view(padded, window, axis=(1, 2))[:, ::down, ::across, :: apart[0], :: apart[1]]
    rows, columns = np.divmod(positions, windows.shape[2])
    return np.ascontiguousarray(np.moveaxis(windows[:, rows, columns], 1, -1))


def gptq(filters: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Filters, float32 [F, K], rounded to the toolkit's steps so that their products with the inputs change little.

    moments: the inputs' second moments, float64 [K, K]. `round_weights` leaves the result as it is.
    """
    scales, zero_points = steps_of_filters(filters)
    steps = whole_filters(filters, scales, zero_points)
    low = LOWEST - zero_points
    high = low + STEPS
    kept = _kept(filters, steps, low, high)
    diagonal = np.diagonal(moments)
    # Inputs that are always 0 have no moment; their weights are rounded to the nearest step.
    damped = moments + np.diag(np.where(diagonal > 0, _DAMPING * diagonal.mean(), 1.0))
    order = np.argsort(
        -diagonal, kind="stable"
    )  # the weights that matter most first, while others can make up for them
    factor = _factor_of_inverse(damped[np.ix_(order, order)])
    # In steps, from the zero point.
    left, kept, steps = filters[:, order] / scales[:, None], kept[:, order], steps[:, order].astype(np.float64)
    for begin in range(0, len(order), _BLOCK):
        end = min(begin + _BLOCK, len(order))
        errors = np.zeros((len(filters), end - begin))
        for column in range(begin, end):
            nearest = np.clip(np.rint(left[:, column]), low, high)
            steps[:, column] = np.where(kept[:, column], steps[:, column], nearest)
            error = (left[:, column] - steps[:, column]) / factor[column, column]
            errors[:, column - begin] = error
            left[:, column + 1 : end] -= np.outer(error, factor[column, column + 1 : end])
        left[:, end:] -= errors @ factor[begin:end, end:]
    rounded = np.empty_like(steps)
    rounded[:, order] = steps
    return (rounded * scales[:, None]).astype(np.float32)


def _kept(filters: np.ndarray, steps: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which weights stay at the ends of their filter's steps, [F, K]; sets `steps` there.

    low, high: the ends, [F]. Without a weight there, the filter would get other steps.
    """
    kept = np.zeros(filters.shape, bool)
    rows = np.arange(len(filters))
    for place, end in ((filters.argmin(axis=1), low), (filters.argmax(axis=1), high)):
        # Where all weights have the same sign, one end is 0; where all are 0, the ends mean nothing.
        used = rows[(end != 0) & (filters[rows, place] != 0)]
        kept[used, place[used]] = True
        steps[used, place[used]] = end[used]
    return kept


def _factor_of_inverse(matrix: np.ndarray) -> np.ndarray:
    """The upper triangular U with U^T U = matrix^-1, of a symmetric positive definite matrix."""
    inverse = linalg.cho_solve(linalg.cho_factor(matrix, lower=True), np.eye(len(matrix)))
    return linalg.cholesky(inverse, lower=False)
