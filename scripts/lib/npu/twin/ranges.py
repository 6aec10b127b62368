"""The ranges that the toolkit's algorithm `normal` finds, image by image and without the toolkit.

`normal` takes the smallest and the largest value of each tensor, so the ranges of a set are the union of its images'.
They are the toolkit's own to the last bit: each operator is run by itself in onnxruntime, SiLU with scipy's expit,
softmax and attention with NumPy, as in the toolkit. The toolkit then adjusts some ranges; `adjusted` implements the
adjustments that occur in detectors, and `chosen` checks on one image whether these suffice.
"""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper
from scipy.special import expit
from threadpoolctl import ThreadpoolController

from lib.npu.twin.structure import COPY, Ranges, Structure, attributes
from lib.step.errors import UserError
from lib.step.onnxruntime_session import Level, session_on_one_thread

# Beyond it, a sigmoid is 0 or 1 to a thousandth.
_SIGMOID_END = 7.0
# Where the range of an operator's input is cut; for HardSigmoid see _own_limits.
_LIMITS = {"Sigmoid": (-_SIGMOID_END, _SIGMOID_END), "HardSwish": (-3.0, np.inf), "Tanh": (-3.2, 3.2)}
# Operators whose output gets the input's range, whatever part of it they pass on.
_LIKE_INPUT = {"AveragePool", "MaxPool", "Pad", "Resize", "Slice"}
# Operators whose input gets the output's range before that, if nothing else reads the input.
_NARROW = {"MaxPool", "Pad", "Relu", "Resize", "Slice"}
# Operators through which a limit is passed back to the operator that computes the values.
_PASSES_LIMIT = {"Reshape", "Split", "Slice", "Transpose", "Concat"}
_RESHAPES = {"Reshape", "Transpose"}


class RangePass:
    """Runs a structure in FP32, operator by operator, as the toolkit does when it calibrates.

    Raises UserError, when made or when measuring, for an operator that it cannot run.
    """

    def __init__(self, structure: Structure):
        self.input = structure.input().name
        constants = structure.constants()
        opsets = structure.opsets()
        self.steps = [(node.op_type, step_of(node, constants, opsets)) for node in structure.model.graph.node]
        self.finished = structure.finished()
        self.threads = ThreadpoolController()

    def measure(self, tensor: np.ndarray) -> Ranges:
        """The range of each tensor for one image, given as the network's input, float32 [1, C, H, W]."""
        values = {self.input: tensor}
        ranges = {}
        # As in toolkit.py: with more threads, the matrix products of attention would add in another order.
        with self.threads.limit(limits=1, user_api="blas"):
            for (operator, step), finished in zip(self.steps, self.finished):
                for name, value in _of_operator(operator, step, values).items():
                    values[name] = value
                    ranges[name] = float(value.min()), float(value.max())
                # The memory of a value is used again for the next ones, which is faster than fresh memory.
                for name in finished:
                    values.pop(name, None)
        return ranges


def _of_operator(operator: str, call, *args):
    """The result of `call`; any kind of failure becomes one UserError, which names the operator."""
    try:
        return call(*args)
    except Exception as error:  # onnxruntime's own error classes have no common base
        raise UserError(f"the operator {operator} can be run only by the toolkit") from error


def union(ranges: Iterable[Ranges]) -> Ranges:
    """The ranges of a set of images from those of each."""
    first, *others = ranges
    return {
        name: (min([ends[0], *(each[name][0] for each in others)]), max([ends[1], *(each[name][1] for each in others)]))
        for name, ends in first.items()
    }


def chosen(structure: Structure, of_image: Ranges, of_set: Ranges) -> Ranges | None:
    """The ranges for building a structure whose own ranges are those on one image; None for unknown adjustments.

    of_image: measured on that image. of_set: measured on the whole calibration set.
    """
    own = {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in structure.ranges.items()}
    return adjusted(structure, of_set) if adjusted(structure, of_image) == own else None


def adjusted(structure: Structure, ranges: Ranges) -> Ranges:
    """The measured ranges after the toolkit's adjustments, as in a structure."""
    nodes, made = structure.model.graph.node, dict(ranges)
    for node in nodes:
        if node.op_type == "AveragePool" and node.input[0] in made:
            made[node.output[0]] = made[node.input[0]]
    makers = {name: node for node in nodes for name in node.output}
    readers = structure.readers()
    for node in reversed(nodes):
        given, target = node.input[0], node.output[0]
        if given not in made:
            continue
        if node.op_type == "Sigmoid":
            high = 1.0 if made[given][1] >= _SIGMOID_END else max(made[target][1], 0.5)
            _raise_high(target, high, made, structure.model)
        limits = made[target] if _narrows(node) else _own_limits(node)
        if _narrows(node) and len(readers[given]) == 1:
            # What is interpolated is rounded, so it may be outside its input's range by the last bit.
            made[given] = limits
        if limits:
            _limit(given, limits, made, makers, readers)
    for node in nodes:
        if node.op_type in _LIKE_INPUT and node.input[0] in made:
            made[node.output[0]] = made[node.input[0]]
    return {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in made.items() if name in structure.ranges}


def _narrows(node: onnx.NodeProto) -> bool:
    """Whether the toolkit gives the node's input the range of its output, if nothing else reads that."""
    return node.op_type in _NARROW or (node.op_type == "Clip" and len(node.input) == 3 and all(node.input))


def _own_limits(node: onnx.NodeProto) -> tuple[float, float] | None:
    """Where the toolkit cuts the range of the node's input, whatever its output is."""
    if node.op_type != "HardSigmoid":
        return _LIMITS.get(node.op_type)
    # max(0, min(1, alpha x + beta)) becomes 0 and 1 there.
    settings = attributes(node)
    alpha, beta = settings.get("alpha", 0.2), settings.get("beta", 0.5)
    return -beta / alpha, (1 - beta) / alpha


def _raise_high(name: str, high: float, ranges: Ranges, model: onnx.ModelProto) -> None:
    """Set the upper end of a tensor's range, and of its copies in another shape, to `high`."""
    ranges[name] = (ranges[name][0], high)
    for node in model.graph.node:
        if node.op_type in _RESHAPES and node.input[0] == name:
            _raise_high(node.output[0], high, ranges, model)


def _limit(name: str, limits: tuple[float, float], ranges: Ranges, makers: dict, readers: dict) -> None:
    """Cut the range of a tensor with one reader to `limits`, and those of the tensors that it is only a copy of."""
    if name not in ranges or len(readers[name]) > 1:
        return
    low, high = ranges[name]
    ranges[name] = (min(max(low, limits[0]), limits[1]), max(min(high, limits[1]), limits[0]))
    maker = makers.get(name)
    if maker is None or maker.op_type not in _PASSES_LIMIT:
        return
    if maker.op_type == "Split":
        lows, highs = zip(*(ranges[part] for part in maker.output))
        limits = min(lows), max(highs)
    for given in maker.input:
        _limit(given, limits, ranges, makers, readers)


# Values by name → a node's results by name.
Step = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def step_of(node: onnx.NodeProto, constants: dict[str, np.ndarray], opsets, rounded=None) -> Step:
    """A function that computes a node. Raises UserError, when made, for an operator that only the toolkit can run.

    constants: those of the structure, by name. opsets: its opset imports of standard operators. rounded: what becomes
    of tensors inside an operator, a function of name and values; by default they stay as they are.
    """
    return _of_operator(node.op_type, _step, node, constants, opsets, rounded or (lambda name, values: values))


def _step(node: onnx.NodeProto, constants: dict[str, np.ndarray], opsets, rounded) -> Step:
    if node.op_type == "exSwish":
        [given], [target] = node.input, node.output
        return lambda values: {target: values[given] * expit(values[given])}
    if node.op_type == COPY:
        [given], [target] = node.input, node.output
        return lambda values: {target: values[given]}
    if node.op_type == "exSDPAttention":
        return _attention(node, rounded)
    if node.op_type == "exSoftmax13":
        [given], [target], axis = node.input, node.output, attributes(node).get("axis", -1)
        return lambda values: {target: _softmax(values[given], axis)}
    used = dict.fromkeys(name for name in node.input if name)
    given = [name for name in used if name not in constants]
    names = list(node.output)
    graph = helper.make_graph(
        [node],
        "step",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in given],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(constants[name], name) for name in used if name in constants],
    )
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = session_on_one_thread(model.SerializeToString(), Level.ORT_DISABLE_ALL)
    return lambda values: dict(zip(names, session.run(names, {name: values[name] for name in given})))


def _softmax(values: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _attention(node: onnx.NodeProto, rounded) -> Step:
    """Queries, keys [B, D, 1, N] and values [B, E, 1, N] to [B, E, 1, N]; its two inner tensors have names too."""
    names, [target], settings = node.input, node.output, attributes(node)
    scale = np.float32(settings["scale"])

    def run(values):
        queries, keys, contents = (values[name][:, :, 0] for name in names)
        # A copy of the transposed keys would be multiplied in another order where OpenBLAS uses AVX-512.
        products = np.matmul(keys.swapaxes(1, 2), queries).swapaxes(1, 2)
        products = rounded(settings["q_matmul"], products)
        weights = rounded(settings["q_softmax"], _softmax(products * scale, -1))
        mixed = np.matmul(contents, weights.swapaxes(1, 2))[:, :, None]
        return {settings["q_matmul"]: products, settings["q_softmax"]: weights, target: mixed}

    return run
