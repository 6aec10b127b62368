"""What is done to a graph of one image before it is simplified and recognized."""

import numpy as np
import onnx

from lib.graph.onnx_file import metadata
from lib.graph.surgery.detector import selects
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.prepare.before_nms import before_nms, nms_of
from lib.graph.surgery.prepare.dequantize import dequantize, is_quantized


def prepare(model: onnx.ModelProto, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, list[str]]:
    """A copy of `model` in float and without NMS; and a sentence for people on each thing that was done.

    images: uint8 [H, W, C] of the model's size, as its InputForm has them, to measure and prove on, beside noise drawn
    from `seed`. A model that needs nothing comes back as it is. Raises UserError when something cannot be done, or
    changes what the model computes.
    """
    notes = []
    if is_quantized(model):
        model, note = dequantize(model, images, seed)
        notes.append(note)
    if nms := nms_of(model):
        model, note = before_nms(model, nms, images, seed)
        notes.append(note)
    if metadata(model).get("end2end") == "True" and not selects(Graph(model)):
        notes.append(
            "its metadata says end2end, but it puts out all predictions and not the best: NMS is done "
            "(a one-to-one head loses nothing by it)"
        )
    return model, notes
