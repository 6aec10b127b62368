"""Compares the twin with the simulator's dumps layer by layer; each layer gets the simulator's own input."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from lib.npu.twin.graph import twin_of
from lib.npu.twin.run import open_twin
from lib.npu.twin.structure import Structure


@dataclass(frozen=True)
class Layer:
    """A rounded tensor: its operator, how many of its values are equal in the twin, and how far off the others are.

    worst: in steps of the tensor's scale.
    """

    name: str
    operator: str
    values: int
    equal: int
    worst: int


def compare_layers(structure: Structure, dumps: Mapping[str, np.ndarray], tensor: np.ndarray) -> list[Layer]:
    """Compare each rounded tensor that the simulator dumped, in the order of computation.

    dumps: the simulator's tensors by name, dequantized. tensor: the network's input for these dumps.
    """
    roundings = structure.roundings()
    names = [name for node in structure.model.graph.node for name in node.output if name in roundings and name in dumps]
    session = open_twin(_apart(twin_of(structure), names))
    given = {name: dumps[name] for name in names} | {structure.input().name: tensor}
    computed = session.run(
        [_own(name) for name in names], {each.name: given[each.name] for each in session.get_inputs()}
    )
    operators = {name: node.op_type for node in structure.model.graph.node for name in node.output}
    layers = []
    for name, values in zip(names, computed):
        difference = np.abs(roundings[name].steps(values) - roundings[name].steps(dumps[name]))
        layers.append(
            Layer(name, operators[name], difference.size, int((difference == 0).sum()), int(difference.max(initial=0)))
        )
    return layers


def _apart(twin: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The twin with each tensor of `names` as an input; the value that it computes itself is the output `_own`."""
    wanted = set(names)
    for node in twin.graph.node:
        for number, name in enumerate(node.output):
            if name in wanted:
                node.output[number] = _own(name)
    del twin.graph.output[:]
    twin.graph.input.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    twin.graph.output.extend(helper.make_tensor_value_info(_own(name), onnx.TensorProto.FLOAT, None) for name in names)
    return twin


def _own(name: str) -> str:
    return f"{name}/own"
