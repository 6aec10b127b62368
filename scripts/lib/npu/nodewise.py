"""Computes a structure node by node on several images at a time, so that each convolution can be adjusted in turn."""

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
import onnx
from scipy.special import expit

from lib.npu.twin.ranges import Step
from lib.npu.twin.structure import Structure, attributes

# The tensors of one image by name.
Values = dict[str, np.ndarray]


def first_images(structure: Structure, tensors: Iterable[np.ndarray], pixels: int) -> list[np.ndarray]:
    """As many of the network's inputs, float32 [1, C, H, W], as have no more than `pixels` together; at least one."""
    height, width = (side.dim_value for side in structure.input().type.tensor_type.shape.dim[2:])
    return list(islice(tensors, max(1, pixels // (height * width))))


def rounding_of(structure: Structure) -> Callable[[str, np.ndarray], np.ndarray]:
    """A function of a tensor's name and values: the values as INT8 holds them, or unchanged if they are not rounded."""
    roundings = structure.roundings()
    return lambda name, values: roundings[name].nearest(values) if name in roundings else values


def results_of(step: Step, node: onnx.NodeProto, images: list[Values]) -> list[Values]:
    """What the step of a node makes of each image's values, by the names of the node's outputs."""
    return [{name: results[name] for name in node.output} for results in map(step, images)]


def forget(names: list[str], images: list[Values]) -> None:
    """Drop the values of these names, of which some are no values (constants)."""
    for values in images:
        for name in names:
            values.pop(name, None)


def slope_behind(readers: list[onnx.NodeProto]) -> Callable[[np.ndarray], np.ndarray]:
    """How much of a small change the activation that alone reads a tensor passes on; 1 if there is none."""
    kinds = {reader.op_type for reader in readers}
    if kinds == {"exSwish"}:
        return _slope_of_silu
    if kinds == {"Sigmoid"}:
        return _slope_of_sigmoid
    if kinds in ({"Relu"}, {"LeakyRelu"}):
        below = np.float32(attributes(readers[0]).get("alpha", 0.01) if kinds == {"LeakyRelu"} else 0)
        return lambda values: np.where(values > 0, np.float32(1), below)
    return np.ones_like


def _slope_of_silu(values: np.ndarray) -> np.ndarray:
    sigmoid = expit(values)
    return np.abs(sigmoid * (1 + values * (1 - sigmoid)))


def _slope_of_sigmoid(values: np.ndarray) -> np.ndarray:
    sigmoid = expit(values)
    return sigmoid * (1 - sigmoid)
