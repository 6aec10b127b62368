"""What is done to a graph of one image before it is simplified and recognized."""

import numpy as np
import onnx

from lib.graph.surgery.prepare.dequantize import dequantize, is_quantized


def prepare(model: onnx.ModelProto, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, list[str]]:
    """A copy of `model` in float; and a sentence for people on each thing that was done.

    images: uint8 [H, W, C] of the model's size, as its InputForm has them, to measure and prove on, beside noise drawn
    from `seed`. A model that needs nothing comes back as it is. Raises UserError when something cannot be done, or
    changes what the model computes.
    """
    notes = []
    if is_quantized(model):
        model, note = dequantize(model, images, seed)
        notes.append(note)
    return model, notes
