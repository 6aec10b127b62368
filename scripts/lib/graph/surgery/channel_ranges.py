"""How far each channel of a feature map reaches on images, in FP32."""

import numpy as np
import onnx
from onnx import helper

from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.graph import Graph


def channel_ranges(
    graph: Graph, tensors: list[str], images: list[np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each tensor [1, C, H, W] the smallest and the largest value that each channel takes, [C] both, 0 among them.

    images: uint8 [H, W, C] of the model's size and channels.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    known = set(graph.outputs)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, graph.shape(name))
        for name in dict.fromkeys(tensors)
        if name not in known
    )
    session = open_session(model.SerializeToString())
    ranges = {name: (np.zeros(graph.shape(name)[1]), np.zeros(graph.shape(name)[1])) for name in tensors}
    for image in images:
        for name, values in zip(tensors, infer_image(session, image, tensors)):
            low, high = ranges[name]
            np.minimum(low, values.min(axis=(0, 2, 3)), out=low)
            np.maximum(high, values.max(axis=(0, 2, 3)), out=high)
    return ranges
