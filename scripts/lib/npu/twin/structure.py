"""The toolkit's form of a model before the build, as its hybrid step writes it.

`X.model` is an ONNX with the operators that the toolkit fused (`exSwish`, `exSDPAttention`), `X.quantization.cfg` a
JSON with each tensor's type and range: its settings. (A YAML when the toolkit is used without lib.npu.toolkit.)
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from lib.npu.build import USE_TOOLKIT
from lib.npu.twin.rounding import FILTER_AXES, Rounding
from lib.step.errors import ToolkitError, UserError

# The toolkit's change between number types, at inputs and outputs; in FP32 it changes nothing.
COPY = "exDataConvert"
# A convolution's sums go unrounded into their only reader; those of a depthwise one only into some operators.
_FUSED_BEHIND_DEPTHWISE = {"Add", "Clip", "Elu", "PRelu", "Relu"}
_FUSED = _FUSED_BEHIND_DEPTHWISE | {"HardSwish", "LeakyRelu", "Sigmoid", "Tanh", "exSwish"}


# Lowest and highest value of each tensor, by name.
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Structure:
    """A model as the toolkit computes it: its fused ONNX, and the INT8 tensors' ranges (low, high) by name."""

    model: onnx.ModelProto
    ranges: Ranges

    def __post_init__(self):
        consts = {tensor.name for tensor in self.model.graph.initializer}
        if sum(given.name not in consts for given in self.model.graph.input) != 1:
            raise ToolkitError("rknn-toolkit2: the model of its hybrid step does not have exactly one input")

    def constants(self) -> dict[str, np.ndarray]:
        """The constants by name."""
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}

    def input(self) -> onnx.ValueInfoProto:
        """The input, which is listed together with constants."""
        consts = {tensor.name for tensor in self.model.graph.initializer}
        return next(given for given in self.model.graph.input if given.name not in consts)

    def opsets(self) -> list[onnx.OperatorSetIdProto]:
        """The imports of the standard operators' sets; those that the toolkit fused have none."""
        return [entry for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")]

    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each tensor, by its name, in the order of computation."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in dict.fromkeys(node.input):
                readers.setdefault(name, []).append(node)
        return readers

    def finished(self) -> list[list[str]]:
        """For each node, in the order of computation, the tensors that neither it nor a node behind it will read."""
        last = {name: number for number, node in enumerate(self.model.graph.node) for name in node.input}
        return [
            [name for name in dict.fromkeys((*node.input, *node.output)) if last.get(name, -1) <= number]
            for number, node in enumerate(self.model.graph.node)
        ]

    def with_ranges(self, ranges: Ranges) -> "Structure":
        """The structure with other ranges for the same tensors, each widened to contain 0.

        Raises ToolkitError when a tensor has no range.
        """
        if missing := self.ranges.keys() - ranges.keys():
            raise ToolkitError(f"there is no range for {len(missing)} tensors, {min(missing)} among them")
        ends = {name: ranges[name] for name in self.ranges}
        return replace(
            self, ranges={name: (float(min(low, 0)), float(max(high, 0))) for name, (low, high) in ends.items()}
        )

    def with_parameters(self, parameters: "Parameters") -> "Structure":
        """The structure with other weights and biases."""
        return replace(self, model=with_parameters(self.model, parameters))

    def write_ranges(self, quantization: Path) -> None:
        """Write the ranges to the hybrid step's file, in which nothing else may be changed."""
        settings = read_settings(quantization.read_text(encoding="utf-8"))
        for name, (low, high) in self.ranges.items():
            settings["quantize_parameters"][name] |= {"min": [low], "max": [high]}
        quantization.write_text(json.dumps(settings), encoding="utf-8")

    def output_scales(self) -> list[float]:
        """The step of each output's values, in the order of the outputs.

        Raises UserError for an output that is not INT8, which the twin does not round.
        """
        makers = {name: node for node in self.model.graph.node for name in node.output}
        roundings = self.roundings()
        outputs = {output.name: makers[output.name].input[0] for output in self.model.graph.output}
        if others := [output for output, source in outputs.items() if source not in roundings]:
            raise UserError(
                f"the twin of the simulator does not support the output {others[0]}, which is not INT8; {USE_TOOLKIT}"
            )
        return [roundings[source].scale for source in outputs.values()]

    def roundings(self) -> dict[str, Rounding]:
        """The rounding of each tensor that is rounded when it is computed."""
        unrounded = self._fused()
        return {name: Rounding.of_range(*ends) for name, ends in self.ranges.items() if name not in unrounded}

    def _fused(self) -> set[str]:
        """Convolutions' outputs that are not rounded, though they have a range. A sum fuses the first of its inputs."""
        readers = self.readers()
        fused: set[str] = set()
        for node in self.model.graph.node:
            [output, *_], behind = node.output, readers.get(node.output[0], [])
            if node.op_type != "Conv" or len(behind) != 1:
                continue
            [reader] = behind
            kinds = _FUSED_BEHIND_DEPTHWISE if attributes(node).get("group", 1) > 1 else _FUSED
            if reader.op_type in kinds and not (reader.op_type == "Add" and fused.intersection(reader.input)):
                fused.add(output)
        return fused


def convolutions(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The model's convolutions by the names of their outputs."""
    return {node.output[0]: node for node in model.graph.node if node.op_type in FILTER_AXES}


@dataclass(frozen=True)
class Parameters:
    """Weights and biases that replace a model's own, by the names of the convolutions' outputs.

    weights: float32, in the shape of those that they replace. biases: float32 [filters].
    """

    weights: dict[str, np.ndarray] = field(default_factory=dict)
    biases: dict[str, np.ndarray] = field(default_factory=dict)


def with_parameters(model: onnx.ModelProto, parameters: Parameters) -> onnx.ModelProto:
    """A copy of the model with other weights and biases."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    found = convolutions(changed)
    for number, kind, values in ((1, "weights", parameters.weights), (2, "bias", parameters.biases)):
        for output, value in values.items():
            # A constant of its own: exporters let convolutions with equal parameters share one.
            name = f"{output}/own_{kind}"
            changed.graph.initializer.append(numpy_helper.from_array(value, name))
            found[output].input[number:] = [name, *found[output].input[number + 1 :]]
    return changed


def attributes(node: onnx.NodeProto) -> dict:
    """A node's attributes by name, texts as str."""
    values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def inner_tensors(node: onnx.NodeProto) -> dict[str, str]:
    """The tensors inside an operator that have a range too, by the names of the attributes that name them."""
    if node.op_type != "exSDPAttention":
        return {}
    settings = attributes(node)
    return {name: settings[name] for name in ("q_matmul", "q_softmax")}


def read_settings(text: str) -> dict:
    """The settings of the hybrid step. Raises ToolkitError for what is not JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ToolkitError(_UNKNOWN_FORM) from error


def read_structure(model: onnx.ModelProto, settings: dict) -> Structure:
    """The structure of the hybrid step's ONNX and settings. Raises ToolkitError when they are not of the known form."""
    try:
        ranges = {
            name: (float(entry["min"][0]), float(entry["max"][0]))
            for name, entry in settings["quantize_parameters"].items()
            if entry["dtype"] == "int8"
        }
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ToolkitError(_UNKNOWN_FORM) from error
    return Structure(model, ranges)


_UNKNOWN_FORM = "rknn-toolkit2: the ranges of its hybrid step are not of the known form"
