"""Gives all channels of a feature map the same range, so that INT8's one scale per tensor fits them all.

x ─ Conv W ─ LeakyRelu ─ … ─ Conv V ─ y      →      x ─ Conv s·W ─ LeakyRelu ─ … ─ Conv V/s ─ y      s > 0 per channel

The NPU has one scale per filter, but only one for a whole feature map. If one channel spans 0..20 and another 0..0.2,
the second is left with two or three values. The rewrite is exact because everything in between is positively
homogeneous, f(s x) = s f(x): cross-layer equalization, Nagel et al. 2019, https://arxiv.org/abs/1906.04721, section
4.1. That paper also equalizes weights; here only the ranges of activations count, measured on images.

Channels that must have a common scale form a group: those on both sides of an activation, a pooling or a Resize, the
summands and the sum of an Add, and a channel in all its readers. A group that reaches the input, an output or an
operator that is not listed below is not rescaled.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from lib.graph.surgery.channel_statistics import channel_statistics
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass

HOMOGENEOUS = ("LeakyRelu", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool")
NEGATIVE = 0.7  # weight of a value below zero relative to one above it; figures in the docs
LARGEST_FACTOR = 1024.0  # a channel with almost no range on these images may have one on others


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether a channel can be rescaled."""
    return bool(_free_tensors(_groups(graph)))


def rewrite(graph: Graph, form: OutputForm, images: Sequence[np.ndarray]) -> None:
    """Rescale the weights of the convolutions by ranges measured on `images`, uint8 RGB [H, W, 3] of the model's size.

    Without images the ranges are unknown, and the weights are kept.
    """
    groups = _groups(graph)
    factors = _factors(groups, _ranges(graph, _free_tensors(groups), images))
    for node in _scalable_convolutions(graph):
        made, read = (factors[groups[name]] for name in (node.output[0], node.input[0]))
        weights = graph.constant(node.input[1]).astype(np.float64)
        read = read[_channels_read(node, weights.shape)]
        _replace(graph, node.input[1], weights * made[:, None, None, None] / read[:, :, None, None])
        if len(node.input) > 2:
            _replace(graph, node.input[2], graph.constant(node.input[2]) * made)


def _groups(graph: Graph) -> dict[str, np.ndarray]:
    """The group of every channel of every feature map [1, C, H, W]; group 0 must keep its scale."""
    first, count = {}, 1
    for name in dict.fromkeys([graph.input, *(name for node in graph.model.graph.node for name in node.output)]):
        if len(graph.shape(name)) == 4:
            first[name] = count
            count += graph.shape(name)[1]
    channels = {name: np.arange(graph.shape(name)[1]) + start for name, start in first.items()}
    pairs = [(channels[name], 0 * channels[name]) for name in (graph.input, *graph.outputs) if name in channels]
    scalable = {node.output[0] for node in _scalable_convolutions(graph)}
    for node in graph.model.graph.node:
        if node.output[0] not in scalable:
            pairs += _ties(graph, node, channels)
    labels = _connected(count, pairs)
    return {name: labels[numbers] for name, numbers in channels.items()}


def _ties(graph: Graph, node: onnx.NodeProto, channels: dict[str, np.ndarray]) -> list[tuple]:
    """Pairs of channels that `node` ties together; an unknown node ties all its channels to group 0."""
    read = [channels[name] for name in node.input if name in channels]
    made = channels.get(node.output[0], np.zeros(0, int))
    if node.op_type in HOMOGENEOUS or (node.op_type == "Resize" and _is_homogeneous_resize(node)):
        moved = read[:1]
    elif node.op_type == "Add":
        moved = read if len(read) == 2 else []
    elif node.op_type == "Concat" and attribute(node, "axis") == 1 and len(read) == len(node.input):
        moved = [np.concatenate(read)]
    elif node.op_type == "Slice" and (part := _sliced(graph, node)) is not None:
        moved = [channels_read[part] for channels_read in read[:1]]
    else:
        moved = []
    if moved and all(len(source) == len(made) for source in moved):
        return [(source, made) for source in moved]
    touched = [channels[name] for name in (*node.input, *node.output) if name in channels]
    return [(touched_channels, 0 * touched_channels) for touched_channels in touched]


def _is_homogeneous_resize(node: onnx.NodeProto) -> bool:
    # Cropping fills in a value that would also have to be scaled.
    return attribute(node, "coordinate_transformation_mode") != b"tf_crop_and_resize"


def _sliced(graph: Graph, node: onnx.NodeProto) -> slice | None:
    """The channels that a Slice along axis 1 takes, or None if it cuts along another axis or at run time."""
    values = [graph.constant(name) for name in node.input[1:]]
    if len(values) < 3 or any(value is None or value.size != 1 for value in values) or values[2].item() != 1:
        return None
    start, end, _, *step = (value.item() for value in values)
    return slice(start, end, *step)


def _scalable_convolutions(graph: Graph) -> list[onnx.NodeProto]:
    """The convolutions whose weights are constant and not shared."""
    initializers = {tensor.name for tensor in graph.model.graph.initializer}
    return [
        node
        for node in graph.model.graph.node
        if node.op_type == "Conv"
        and len(graph.shape(node.output[0])) == 4
        and all(name in initializers and len(graph.consumers(name)) == 1 for name in node.input[1:])
    ]


def _channels_read(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    """The input channel of each weight: [filters, channels per group]."""
    filters, channels = shape[:2]
    group = np.arange(filters) // (filters // attribute(node, "group", 1))
    return group[:, None] * channels + np.arange(channels)


def _connected(count: int, pairs: list[tuple]) -> np.ndarray:
    """For each of 0..count-1, the smallest number connected with it through `pairs` of arrays of numbers."""
    # Imported here: code that only reads a model does not need it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = (np.concatenate([np.zeros(0, int), *side]) for side in (zip(*pairs) if pairs else ((), ())))
    edges = coo_array((np.ones(len(first), bool), (first, second)), (count, count))
    _, component = connected_components(edges, directed=False)
    _, smallest = np.unique(component, return_index=True)
    return smallest[component]


def _free_tensors(groups: dict[str, np.ndarray]) -> list[str]:
    """The feature maps with a channel whose scale can be chosen."""
    return [name for name, labels in groups.items() if labels.any()]


def _ranges(graph: Graph, tensors: list[str], images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """For each tensor, the largest value of each channel on the images, [C]; negative ones are weighted by NEGATIVE."""
    channels = channel_statistics(graph, tensors, images)
    return {name: np.maximum(each.high, -NEGATIVE * each.low.astype(np.float32)) for name, each in channels.items()}


def _factors(groups: dict[str, np.ndarray], ranges: dict[str, np.ndarray]) -> np.ndarray:
    """The factor of each group, which widens it to the widest range among the groups that share a tensor with it."""
    count = max(labels.max() for labels in groups.values()) + 1
    range_of = np.zeros(count)
    for name, widest_of in ranges.items():
        np.maximum.at(range_of, groups[name], widest_of)
    neighbours = [(tied[:-1], tied[1:]) for tied in (groups[name][groups[name] > 0] for name in ranges)]
    families = _connected(count, neighbours)
    widest = np.zeros(count)
    np.maximum.at(widest, families, range_of)
    factors = np.ones(count)
    # A channel that is zero on every image has no range.
    np.divide(widest[families], range_of, out=factors, where=range_of > 0)
    factors = np.minimum(factors, LARGEST_FACTOR)
    factors[0] = 1
    return factors


def _replace(graph: Graph, name: str, values: np.ndarray) -> None:
    [old] = (tensor for tensor in graph.model.graph.initializer if tensor.name == name)
    old.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))


PASS = Pass("equalize", needed, rewrite, measures_images=True)
