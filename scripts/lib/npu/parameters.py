"""The parameters that an algorithm gives a model in place of its own."""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from lib.npu.algorithms import CORRECTED, GPTQ
from lib.npu.biases import corrected_biases
from lib.npu.twin.structure import Parameters, Structure, convolutions
from lib.npu.weights import gptq_weights


def parameters_of(
    algorithm: str, structure: Structure, source: onnx.ModelProto, tensors: Iterable[np.ndarray]
) -> Parameters:
    """The parameters of `algorithm`, one of OF_PARAMETERS.

    structure: with the ranges to build with. source: the ONNX that is built. tensors: the network's input for each
    calibration image, float32 [1, C, H, W]. Raises UserError for an operator that only the toolkit can run.
    """
    found = convolutions(source)
    if algorithm == CORRECTED:
        return Parameters(biases=corrected_biases(structure, tensors, found))
    assert algorithm == GPTQ
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
    own = {output: constants[node.input[1]] for output, node in found.items() if node.input[1] in constants}
    return Parameters(weights=gptq_weights(structure, tensors, own))
