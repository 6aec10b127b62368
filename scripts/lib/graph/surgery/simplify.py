"""Simplifies a graph with onnxslim (folds constants, drops idle nodes) and proves that the outputs are the same."""

import numpy as np
import onnx
import onnxslim

from lib.graph.surgery.proof import prove_same_outputs
from lib.step.errors import UserError


def simplify(model: onnx.ModelProto, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, float]:
    """A simplified copy of `model`, and the largest difference of its outputs as `prove_same_outputs` gives it.

    Raises UserError when onnxslim fails, or when the outputs differ by more than rounding on `images` (uint8 RGB
    [H, W, 3]) and on noise.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        simplified = onnxslim.slim(copy)
    # onnxslim has no error class of its own: a damaged graph can raise any Python error.
    except Exception as error:
        raise UserError(f"onnxslim cannot simplify the model ({type(error).__name__}: {error})") from error
    return simplified, prove_same_outputs(model, simplified, images, seed)
