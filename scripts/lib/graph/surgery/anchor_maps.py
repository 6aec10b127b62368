"""Finds the last convolution of each stride of a model with anchors, by the graph's structure."""

import numpy as np
import onnx

from lib.detector.families import cells
from lib.detector.families.anchors import MOST_LAYERS
from lib.graph.surgery.graph import Graph


def head_maps(graph: Graph) -> tuple[str, ...]:
    """The map of each stride that the outputs are computed from, the finest first; empty if not one per stride.

    A map is the output of a convolution, or of a Mul or Add by constants after it.
    """
    above = graph.upwards(graph.outputs, _is_convolution)
    nearest = [node.output[0] for node in above if _is_convolution(node)]
    if any(len(graph.shape(name)) != 4 for name in nearest):
        return ()
    maps = sorted((_scaled(graph, name) for name in nearest), key=lambda name: -graph.shape(name)[2])
    strides = [stride_of(graph, name) for name in maps]
    if not 2 <= len(maps) <= MOST_LAYERS or None in strides or len(set(strides)) < len(strides):
        return ()
    return tuple(maps)


def _is_convolution(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv"


def channel_constant(graph: Graph, node: onnx.NodeProto, tensor: str) -> np.ndarray | None:
    """The constant per channel that a Mul or Add applies to the map `tensor`, [K]; None for any other node.

    A single number is that of every channel: a model that was quantized dynamically has one scale for all weights.
    """
    if node.op_type not in ("Mul", "Add"):
        return None
    [other] = (name for name in node.input if name != tensor) if tensor in node.input else [""]
    value, shape = graph.constant(other), graph.shape(tensor)
    if value is None or len(shape) != 4 or value.ndim > len(shape):
        return None
    if value.size == 1:
        return np.full(shape[1], value.item(), value.dtype)
    return value.reshape(-1) if value.shape[-3:] == (shape[1], 1, 1) else None


def _scaled(graph: Graph, tensor: str) -> str:
    """The map after the channel constants that follow a convolution."""
    readers = graph.consumers(tensor)
    if (
        len(readers) == 1
        and len(set(readers[0].input)) == 2
        and channel_constant(graph, readers[0], tensor) is not None
    ):
        return _scaled(graph, readers[0].output[0])
    return tensor


def stride_of(graph: Graph, name: str) -> int | None:
    """Input pixels per cell of a map [1, K, H, W], or None if its cells are not square."""
    shape, imgsz = graph.shape(name), graph.imgsz
    if len(shape) != 4 or not all(shape):
        return None
    stride = imgsz.height // shape[2]
    return stride if stride > 1 and cells(imgsz, stride) == shape[2:] else None
