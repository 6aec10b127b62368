"""A model of how the chip rounds a convolution, by a published description.

The description is that of a compiler for RV1103 and RV1106 without the vendor's code (github.com/dnhkng/open-rknpu,
MIT), whose integer reference matched a board byte for byte. Nothing here was compared with a board. By that description
a convolution's sums are integers and are rounded twice, each time to the nearest, halves to even:

  1. sums of filter f, in steps of input scale times weight scale_f: times round(2^14 scale_f / largest scale_f) / 2^14
  2. in steps of input scale times the layer's largest scale_f:      times a 15-bit factor / 2^shift

The description says too little about the vendor compiler's activations. So what is fused after a convolution is
computed in float from the result of step 1, and rounded once, in place of step 2. All other operators are the twin's.
"""

import math

import numpy as np
import onnx

from lib.npu.twin.graph import Twin
from lib.npu.twin.rounding import Rounding, along, whole_weights
from lib.npu.twin.structure import Structure

_FILTER_BITS = 14
_LARGEST_FACTOR = 2**15 - 1


def chip_of(structure: Structure) -> onnx.ModelProto:
    """As lib.npu.twin.graph.twin_of, with convolutions as above. Raises UserError as that does."""
    return _Chip(structure, exact=False).model()


class _Chip(Twin):
    def _sums(self, node, given: Rounding, weights: np.ndarray, axis: int, bias: np.ndarray | None) -> None:
        target, source = node.output[0], node.input[0]
        whole, scales = whole_weights(weights, axis)
        largest = float(scales.max())
        self._node("Div", [source, self._value(f"{target}/step", np.float32(given.scale))], f"{target}/steps")
        self._node("Round", [f"{target}/steps"], f"{target}/whole")
        node.input[0], node.input[1] = f"{target}/whole", self._value(f"{target}/weights", whole)
        if bias is not None:
            # Sums up to 2^24 are exact in float32; larger ones have a relative error of up to 2^-24.
            steps = np.round(bias / (scales * given.scale)).astype(np.float32)
            node.input[2] = self._value(f"{target}/bias", steps)
        node.output[0] = f"{target}/accumulated"
        self.nodes.append(node)
        factors = np.round(2**_FILTER_BITS * scales / largest) / 2**_FILTER_BITS
        self._node("Cast", [f"{target}/accumulated"], f"{target}/exact", to=onnx.TensorProto.DOUBLE)
        self._rounded(f"{target}/exact", along(factors, weights.ndim, 1), f"{target}/of_layer")
        source, scale = f"{target}/of_layer", largest * given.scale
        if (output := target.removesuffix("/sums")) != target:
            scale = self.roundings[output].scale
            self._rounded(source, of_15_bits(largest * given.scale / scale), f"{target}/of_output")
            source = f"{target}/of_output"
        self._node("Mul", [source, self._value(f"{target}/scale", np.float64(scale))], f"{target}/values")
        self._node("Cast", [f"{target}/values"], target, to=onnx.TensorProto.FLOAT)

    def _rounded(self, source: str, factor, target: str) -> None:
        factor = self._value(f"{target}/factor", np.asarray(factor, np.float64))
        self._node("Mul", [source, factor], f"{target}/product")
        self._node("Round", [f"{target}/product"], target)


def of_15_bits(factor: float) -> float:
    """The positive `factor` as the chip applies it: an integer below 2^15, and a shift."""
    shift = math.floor(math.log2(_LARGEST_FACTOR / factor))
    return round(factor * 2**shift) / 2**shift
