"""Replaces integer operators by float ones between DequantizeLinear and QuantizeLinear, which compute the same.

x ─ QLinearConv ─ y            →        x ─ DequantizeLinear ─ Conv ─ QuantizeLinear ─ y
x ─ ConvInteger ─ Cast         →        x ─ DequantizeLinear ─ Conv ─ Cast

Their weights become float constants, the values that the integers stand for.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lib.step.errors import UserError

# The float operator, each input's places as (tensor, scale, zero point), and the places of the output's scale and zero.
# https://onnx.ai/onnx/operators/, https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
_OF_TWO = (((0, 1, 2), (3, 4, 5)), (6, 7))
_OF_ONE = (((0, 1, 2),), (3, 4))
TWINS = {
    "QLinearConv": ("Conv", *_OF_TWO),
    "QLinearMatMul": ("MatMul", *_OF_TWO),
    "QLinearAdd": ("Add", *_OF_TWO),
    "QLinearMul": ("Mul", *_OF_TWO),
    "QLinearSigmoid": ("Sigmoid", *_OF_ONE),
    "QLinearLeakyRelu": ("LeakyRelu", *_OF_ONE),
    "QLinearSoftmax": ("Softmax", *_OF_ONE),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", *_OF_ONE),
    "QLinearAveragePool": ("AveragePool", *_OF_ONE),
    "QGemm": ("Gemm", ((0, 1, 2), (3, 4, 5)), (7, 8)),
}
CONCAT = "QLinearConcat"
BIAS = {"QLinearConv": 8, "QGemm": 6}  # place of the int32 bias, whose scale is the product of both inputs' scales
WHOLE = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
OPERATORS = {CONCAT, *TWINS, *WHOLE}
ONLY_WITH_SCALES = ("channels_last", "opset")  # attributes that the float operators lack; the first must be 0


@dataclass(frozen=True)
class Steps:
    """How integers stand for values, `(number - zero) * scale`: one scale, or one per channel of `axis`."""

    scale: np.ndarray
    zero: np.ndarray
    axis: int = 0

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """The float32 values that the integers stand for."""
        return (
            (numbers.astype(np.float64) - self._along(self.zero, numbers)) * self._along(self.scale, numbers)
        ).astype(np.float32)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Values after QuantizeLinear and DequantizeLinear."""
        limits = np.iinfo(self.zero.dtype)
        numbers = np.rint(values / self._along(self.scale, values)) + self._along(self.zero, values)
        return self.values(np.clip(numbers, limits.min, limits.max))

    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value, for a single scale."""
        limits = np.iinfo(self.zero.dtype)
        low, high = self.values(np.array([limits.min, limits.max]))
        return float(low), float(high)

    def same(self, other: "Steps") -> bool:
        """Whether integers stand for the same values in both."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero, other.zero)

    def _along(self, values: np.ndarray, tensor: np.ndarray) -> np.ndarray:
        if values.size == 1:
            return values.astype(np.float64).reshape(())
        shape = [1] * tensor.ndim
        shape[self.axis] = values.size
        return values.astype(np.float64).reshape(shape)


def as_pairs(model: onnx.ModelProto) -> None:
    """Replace the OPERATORS of `model`, whose constants are initializers, in place.

    Raises UserError for an operator whose scales or weights are computed.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        nodes.extend(_Twin(node, constants, model.graph).nodes if node.op_type in OPERATORS else [node])
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class _Twin:
    """The float nodes that replace one operator."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, np.ndarray], graph: onnx.GraphProto):
        self.node, self.constants, self.graph = node, constants, graph
        self.nodes = []
        if node.op_type in WHOLE:
            self._whole()
            return
        inputs, (scale, zero) = self._places()
        names = [self._float(number, *(node.input[place] for place in places)) for number, places in enumerate(inputs)]
        bias = BIAS.get(node.op_type, len(node.input))
        if bias < len(node.input) and node.input[bias]:
            step = np.multiply(*(self._known(node.input[places[1]]) for places in inputs)).reshape(-1)
            names.append(self._constant(self._known(node.input[bias]) * step, "bias"))
        result = f"{node.output[0]}/float"
        operator = "Concat" if node.op_type == CONCAT else TWINS[node.op_type][0]
        self._add(operator, names, result)
        pair = [result, node.input[scale], *([node.input[zero]] if zero < len(node.input) else [])]
        self.nodes.append(helper.make_node("QuantizeLinear", pair, [node.output[0]], f"{node.name}/quantize"))

    def _places(self):
        if self.node.op_type == CONCAT:
            return [(place, place + 1, place + 2) for place in range(2, len(self.node.input), 3)], (0, 1)
        return TWINS[self.node.op_type][1:]

    def _whole(self) -> None:
        """ConvInteger, MatMulInteger: zero points are subtracted before, scales are applied after."""
        tensor, weights, zero, shift = [*self.node.input, "", ""][:4]
        shift = self._known(shift) if shift else np.zeros((), np.int8)
        numbers = self._known(weights)
        axis = 0 if self.node.op_type == "ConvInteger" else numbers.ndim - 1
        wide = Steps(np.ones(shift.shape), shift, axis).values(numbers)
        one = self._constant(np.ones(()), "one")
        pair = [tensor, one, *([zero] if zero else [])]
        shifted = f"{self.node.output[0]}/shifted"
        self.nodes.append(helper.make_node("DequantizeLinear", pair, [shifted], f"{self.node.name}/dequantize"))
        self._add(WHOLE[self.node.op_type], [shifted, self._constant(wide, "weights")], self.node.output[0])

    def _float(self, number: int, tensor: str, scale: str, zero: str) -> str:
        """Add the nodes that make an input float, and return its name."""
        if tensor in self.constants:
            numbers = self.constants[tensor]
            # A filter's scales are for its first axis, a matrix's for its last.
            axis = 0 if self.node.op_type == "QLinearConv" else numbers.ndim - 1
            return self._constant(Steps(self._known(scale), self._known(zero), axis).values(numbers), f"in_{number}")
        name = f"{self.node.output[0]}/in_{number}"
        self.nodes.append(helper.make_node("DequantizeLinear", [tensor, scale, zero], [name], f"{name}/dequantize"))
        return name

    def _add(self, operator: str, inputs: list[str], output: str) -> None:
        twin = helper.make_node(operator, inputs, [output], self.node.name)
        twin.attribute.extend(entry for entry in self.node.attribute if entry.name not in ONLY_WITH_SCALES)
        self.nodes.append(twin)

    def _constant(self, value: np.ndarray, what: str) -> str:
        name = f"{self.node.output[0]}/{what}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def _known(self, name: str) -> np.ndarray:
        if name not in self.constants:
            raise UserError(
                f"{self.node.op_type} '{self.node.name}' computes its weights or scales at run time; use the model "
                "before quantization"
            )
        return self.constants[name]
