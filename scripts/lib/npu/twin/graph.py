"""The twin of a structure: an ONNX that rounds where the simulator rounds, and computes in float in between."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lib.npu.twin.rounding import FILTER_AXES, Rounding, round_bias, round_weights
from lib.npu.twin.structure import COPY, Structure, attributes
from lib.step.errors import UserError

# Operators copied unchanged, between rounded inputs and a rounded output.
_PLAIN = {
    "Add", "AveragePool", "Clip", "Concat", "Elu", "GlobalAveragePool", "HardSigmoid", "HardSwish", "LeakyRelu",
    "MaxPool", "Mul", "PRelu", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Sub", "Tanh",
    "Transpose",
}  # fmt: skip
# Operators that only pass values on: rounding on the scale that the values already have changes nothing.
_SELECTING = {"Concat", "MaxPool", "Reshape", "Slice", "Split", "Transpose"}


def twin_of(structure: Structure, exact: bool = True, rounded: bool = True) -> onnx.ModelProto:
    """The twin; its tensors have the structure's names and the simulator's values, dequantized.

    Its input is the network's: float32 [1, C, H, W], normalized as for FP32.
    exact: SiLU as the simulator computes it, x * (1 / (1 + exp(-x))); otherwise with onnxruntime's faster sigmoid,
    which differs in the last bit and so changes one rounding in two million.
    rounded: whether values are rounded; otherwise the same operators in FP32.
    Raises UserError, which names the operator, for one that the twin does not support.
    """
    return Twin(structure, exact, rounded).model()


def is_selecting(node: onnx.NodeProto) -> bool:
    """Whether an operator only passes values on, some of them or all."""
    return node.op_type in _SELECTING or (
        node.op_type == "Resize" and attributes(node).get("mode", "nearest") == "nearest"
    )


class Twin:
    """Builds a twin node by node."""

    def __init__(self, structure: Structure, exact: bool, rounded: bool = True):
        self.structure, self.exact, self.rounded = structure, exact, rounded
        self.constants = structure.constants()
        self.roundings = structure.roundings() if rounded else {}
        self.nodes: list[onnx.NodeProto] = []
        self.values: dict[str, np.ndarray] = {}
        self.special: dict[str, Callable] = {
            COPY: self._convert,
            "Conv": self._convolution,
            "ConvTranspose": self._convolution,
            "exSwish": self._swish,
            "exSoftmax13": self._softmax,
            "exSDPAttention": self._attention,
        }

    def model(self) -> onnx.ModelProto:
        """The complete twin."""
        source = self.structure.model
        for node in source.graph.node:
            self._add(node)
        used = {name for node in self.nodes for name in node.input}
        kept = {name: value for name, value in (self.constants | self.values).items() if name in used}
        graph = helper.make_graph(
            self.nodes,
            "twin",
            [self.structure.input()],
            list(source.graph.output),
            [numpy_helper.from_array(np.asarray(value), name) for name, value in kept.items()],
        )
        opsets = self.structure.opsets()
        if max((entry.version for entry in opsets), default=0) < 13:
            raise UserError("the twin of the simulator needs a model of opset 13 or above")
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = min(source.ir_version, onnx.IR_VERSION)
        return model

    def _add(self, source: onnx.NodeProto) -> None:
        """Add the node, with its outputs rounded where the simulator rounds them."""
        node = onnx.NodeProto()
        node.CopyFrom(source)
        rounded = [name for name in source.output if name in self.roundings and not self._is_rounded(source, name)]
        for number, name in enumerate(source.output):
            if name in rounded:
                node.output[number] = f"{name}/sums"
        if source.op_type in self.special:
            self.special[source.op_type](node)
        elif source.op_type in _PLAIN:
            self.nodes.append(node)
        else:
            raise UserError(f"the twin of the simulator does not support the operator {source.op_type} ({source.name})")
        for name in rounded:
            self._round(f"{name}/sums", name, self.roundings[name])

    def _is_rounded(self, node: onnx.NodeProto, output: str) -> bool:
        """Whether the result of `node` is already on the steps of `output`."""
        given = [name for name in node.input if name and name not in self.constants]
        return is_selecting(node) and all(self.roundings.get(name) == self.roundings[output] for name in given)

    def _round(self, source: str, target: str, rounding: Rounding) -> None:
        scale = self._value(f"{target}/scale", np.float32(rounding.scale))
        zero_point = self._value(f"{target}/zero_point", np.int8(rounding.zero_point))
        self._node("QuantizeLinear", [source, scale, zero_point], f"{target}/stored")
        self._node("DequantizeLinear", [f"{target}/stored", scale, zero_point], target)

    def _convert(self, node) -> None:
        self._node("Identity", list(node.input), node.output[0])

    def _softmax(self, node) -> None:
        self._node("Softmax", list(node.input), node.output[0], axis=attributes(node).get("axis", -1))

    def _convolution(self, node) -> None:
        if not self.rounded:
            self.nodes.append(node)
            return
        given, weights, *bias = node.input
        if (
            given not in self.roundings
            or weights not in self.constants
            or attributes(node).get("auto_pad", "NOTSET") != "NOTSET"
        ):
            raise UserError(
                f"the twin of the simulator does not support the {node.op_type} {node.name}: its weights are computed"
            )
        if node.op_type == "ConvTranspose" and attributes(node).get("group", 1) > 1:
            raise UserError(f"the twin of the simulator does not support a grouped ConvTranspose ({node.name})")
        biases = self.constants[bias[0]] if bias else None
        self._sums(node, self.roundings[given], self.constants[weights], FILTER_AXES[node.op_type], biases)

    def _sums(self, node, given: Rounding, weights: np.ndarray, axis: int, bias: np.ndarray | None) -> None:
        """Add the sums of a convolution that reads a tensor rounded as `given`; its filters are along `axis`."""
        target = node.output[0]
        rounded, scales = round_weights(weights, axis)
        node.input[1] = self._value(f"{target}/weights", rounded)
        if bias is not None:
            node.input[2] = self._value(f"{target}/bias", round_bias(bias, given.scale, scales))
        self.nodes.append(node)

    def _swish(self, node) -> None:
        [given], [target] = node.input, node.output
        factor = f"{target}/sigmoid"
        if self.exact:
            one = self._value("one", np.float32(1))
            self._node("Neg", [given], f"{target}/negative")
            self._node("Exp", [f"{target}/negative"], f"{target}/exp")
            self._node("Add", [f"{target}/exp", one], f"{target}/one_more")
            self._node("Reciprocal", [f"{target}/one_more"], factor)
        else:
            self._node("Sigmoid", [given], factor)
        self._node("Mul", [given, factor], target)

    def _attention(self, node) -> None:
        """Queries, keys [B, D, 1, N] and values [B, E, 1, N] to [B, E, 1, N]: softmax(scale queries·keys) · values.

        The products of queries and keys are rounded before they are scaled, the weights after the softmax.
        """
        [queries, keys, values], [target] = node.input, node.output
        settings = attributes(node)
        scale = self._value(f"{target}/factor", np.float32(settings["scale"]))
        for source, name, order in ((queries, "queries", [0, 2, 3, 1]), (keys, "keys", [0, 2, 1, 3])):
            self._node("Transpose", [source], f"{target}/{name}", perm=order)
        self._node("Transpose", [values], f"{target}/values", perm=[0, 2, 3, 1])
        self._node("MatMul", [f"{target}/queries", f"{target}/keys"], f"{target}/products/sums")
        self._inner(f"{target}/products", settings["q_matmul"])
        self._node("Mul", [f"{target}/products", scale], f"{target}/scaled")
        self._node("Softmax", [f"{target}/scaled"], f"{target}/weights/sums", axis=-1)
        self._inner(f"{target}/weights", settings["q_softmax"])
        self._node("MatMul", [f"{target}/weights", f"{target}/values"], f"{target}/turned")
        self._node("Transpose", [f"{target}/turned"], target, perm=[0, 3, 1, 2])

    def _inner(self, name: str, setting: str) -> None:
        """Round a tensor inside an operator; its range has its own name."""
        if self.rounded:
            self._round(f"{name}/sums", name, self.roundings[setting])
        else:
            self._node("Identity", [f"{name}/sums"], name)

    def _node(self, kind: str, inputs: list[str], output: str, **settings) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **settings))

    def _value(self, name: str, value) -> str:
        self.values[name] = value
        return name
