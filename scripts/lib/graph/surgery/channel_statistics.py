"""Statistics of the values in each channel of a feature map, over images, in FP32."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.proof import demand_size


@dataclass
class ChannelStatistics:
    """For each channel, [C]: the smallest and largest value (0 included), and means over all cells and images."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    mean_square: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """The variance of each channel, [C]."""
        return np.maximum(self.mean_square - self.mean**2, 0)


def channel_statistics(graph: Graph, tensors: list[str], images: Sequence[np.ndarray]) -> dict[str, ChannelStatistics]:
    """The statistics of each tensor [1, C, H, W] on `images`, uint8 [H, W, C] of the model's channels.

    Raises UserError when an image does not have the model's size.
    """
    names = list(dict.fromkeys(tensors))
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    known = set(graph.outputs)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, graph.shape(name))
        for name in names
        if name not in known
    )
    session = open_session(model.SerializeToString())
    statistics = {name: ChannelStatistics(*(np.zeros(graph.shape(name)[1]) for _ in range(4))) for name in names}
    for image in images:
        demand_size([image], graph.imgsz)
        for name, values in zip(names, infer_image(session, image, names)):
            known_so_far = statistics[name]
            known_so_far.low = np.minimum(known_so_far.low, values.min(axis=(0, 2, 3)))
            known_so_far.high = np.maximum(known_so_far.high, values.max(axis=(0, 2, 3)))
            known_so_far.mean += values.mean(axis=(0, 2, 3), dtype=np.float64) / len(images)
            known_so_far.mean_square += np.square(values, dtype=np.float64).mean(axis=(0, 2, 3)) / len(images)
    return statistics
