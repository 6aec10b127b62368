"""Prepares a graph for one image, after its input, for simplification and recognition."""

import numpy as np
import onnx

from lib.graph.onnx_file import metadata
from lib.graph.surgery.detector import selects
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.prepare.before_nms import before_nms, nms_of
from lib.graph.surgery.prepare.dequantize import dequantize, is_quantized


def prepare(model: onnx.ModelProto, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, list[str]]:
    """A copy of `model` in float and without NMS, and one sentence for the user per change.

    images: uint8 [H, W, C] of the model's size, in its InputForm, to measure and prove on, besides noise drawn from
    `seed`. A model that needs no change is returned unchanged. Raises UserError when a change is not possible, or
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
            "its metadata says end2end, but it outputs all predictions, not only the best: NMS is used "
            "(which does not hurt a one-to-one head)"
        )
    return model, notes
