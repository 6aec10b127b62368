"""Splits the channels that a depthwise convolution reads into groups of similar range, each with its own INT8 scale.

x ─ Conv W ─ act ─ depthwise V ─ act ─ Conv U
                                                 x ┬ Conv W[a] ─ act ─ depthwise V[a] ─ act ─┐
                                           →       └ Conv W[b] ─ act ─ depthwise V[b] ─ act ─┴ Concat ─ Conv U[:, a b]

The NPU has one scale per feature map. A channel that reaches 0.03 next to one that reaches 139 (the stem of YOLOX-nano)
is rounded to nothing, and the depthwise filter that reads it compensates with weights of 59 where others have 0.1: the
noise becomes as large as the signal. After an activation that is not homogeneous (SiLU, hard swish) `equalize` cannot
help. Here the arithmetic of each filter stays the same.

The depthwise convolution may also read a MaxPool of the activation, or a Concat of several activations, whose parts
then have a filter and a scale each. Other convolutions may read the same feature map too; they get the groups joined,
with one scale. At three such places PicoDet-S loses all that it loses.

Which feature maps, and how: the rounding noise in the outputs of the convolutions U follows from the ranges measured on
images; a channel adds  step^2 / 12 * sum(v^2) * sum(u^2).  It is compared with the variance of U's outputs. Channels,
sorted by range, are divided by dynamic programming where the noise becomes smallest, into the fewest groups that bring
it below LIMIT, and into MOST at most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx

from lib.graph.surgery.channel_statistics import ChannelStatistics, channel_statistics
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.graph.surgery.proof import TOLERANCE, Tolerance

# MaxPool and these, with constants of one value, compute each channel by itself, and all alike.
ACTIVATIONS = (
    "Sigmoid", "Mul", "Add", "Div", "HardSwish", "HardSigmoid", "Relu", "LeakyRelu", "Clip", "Tanh", "MaxPool"
)  # fmt: skip
STEPS = 255  # of INT8
LIMIT = 0.005  # fraction of the variance; figures in docs/int8_experiments.md
MOST = 3
SMALLEST = 1e-4  # of the mean variance of all channels: the least variance that a channel counts with


class _Source(NamedTuple):
    """What makes some channels of a feature map: a convolution and an activation behind it."""

    before: onnx.NodeProto
    activation: list[onnx.NodeProto]
    made: str  # the output of the activation
    first: int  # the number of its first channel in the feature map
    count: int

    def groups_of(self, groups: list[np.ndarray]) -> list[np.ndarray]:
        """Those of `groups` that are channels of this source."""
        return [channels for channels in groups if self.first <= channels[0] < self.first + self.count]


class _Site(NamedTuple):
    """A depthwise convolution and its surroundings."""

    sources: list[_Source]  # of the feature map that it reads; several where that is their Concat
    others: list[onnx.NodeProto]  # other convolutions that read it
    depthwise: onnx.NodeProto
    second: list[onnx.NodeProto]  # the activation after it
    read: str  # the input of the depthwise convolution
    place: onnx.NodeProto  # the first node that reads this feature map; branches go before it
    made: str  # its output
    end: str  # the output of the second activation, which the readers read
    readers: list[onnx.NodeProto]


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether there is such a depthwise convolution."""
    return any(_site(graph, node) for node in graph.model.graph.node)


def rewrite(graph: Graph, form: OutputForm, images: Sequence[np.ndarray]) -> None:
    """Divide the channels by their ranges on `images`, uint8 [H, W, C] of the model's size and channels."""
    sites = [site for node in graph.model.graph.node if (site := _site(graph, node))]
    measured = [name for site in sites for name in (site.read, *(reader.output[0] for reader in site.readers))]
    statistics = channel_statistics(graph, measured, images)
    for name in [site.depthwise.output[0] for site in sites]:
        # Dividing a site changes its neighbours, so sites are looked up again.
        site = _site(graph, graph.producer(name))
        if len(groups := _groups(graph, site, statistics)) > 1:
            _divide(graph, site, groups)
            graph.tidy()


def _site(graph: Graph, node: onnx.NodeProto) -> _Site | None:
    """A depthwise convolution with its surroundings, if all can be divided; None for any other node."""
    if not _is_depthwise(graph, node):
        return None
    read = node.input[0]
    sources, others = _sources(graph, read), [other for other in graph.consumers(read) if other != node]
    second, end = _activation_below(graph, node.output[0])
    readers = graph.consumers(end)
    if not sources or {read, end} & set(graph.outputs) or not readers:
        return None
    if not all(is_plain(graph, each) for each in (*readers, *others)) or (others and len(sources) > 1):
        return None
    return _Site(sources, others, node, second, read, graph.consumers(read)[0], node.output[0], end, readers)


def _sources(graph: Graph, tensor: str) -> list[_Source]:
    """What makes a feature map, in the order of its channels; empty if something else does, or reads a part of it."""
    joint = graph.producer(tensor)
    is_joint = joint is not None and joint.op_type == "Concat" and attribute(joint, "axis") in (1, -3)
    sources, first = [], 0
    for part in joint.input if is_joint else [tensor]:
        before, activation = _activation_above(graph, part)
        read_elsewhere = is_joint and (graph.consumers(part) != [joint] or part in graph.outputs)
        if before is None or not is_plain(graph, before) or read_elsewhere:
            return []
        sources.append(_Source(before, activation, part, first, graph.shape(part)[1]))
        first += sources[-1].count
    return sources


def _is_depthwise(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "Conv" or not _has_known_weights(graph, node):
        return False
    filters, channels = graph.shape(node.input[1])[:2]
    return channels == 1 and filters == attribute(node, "group", 1) == graph.shape(node.input[0])[1] > 1


def is_plain(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution without groups whose weights are constants."""
    return node.op_type == "Conv" and attribute(node, "group", 1) == 1 and _has_known_weights(graph, node)


def _has_known_weights(graph: Graph, node: onnx.NodeProto) -> bool:
    return all(graph.constant(name) is not None for name in node.input[1:])


def _activation_above(graph: Graph, tensor: str) -> tuple[onnx.NodeProto | None, list[onnx.NodeProto]]:
    """The convolution whose activation makes `tensor`, and the activation's nodes; None if there is none."""
    node = graph.producer(tensor)
    while node is not None and node.op_type in ACTIVATIONS:
        node = graph.producer(node.input[0])
    if node is None:
        return None, []
    nodes, end = _activation_below(graph, node.output[0])
    return (node, nodes) if end == tensor else (None, [])


def _activation_below(graph: Graph, tensor: str) -> tuple[list[onnx.NodeProto], str]:
    """The nodes of an activation of `tensor`, in order, and its output; no nodes and `tensor` if there is none."""
    nodes, made = [], [tensor]
    for node in graph.model.graph.node:
        varying = [name for name in node.input if graph.constant(name) is None]
        fixed = [graph.constant(name) for name in node.input if name and name not in varying]
        plain = node.op_type in ACTIVATIONS and all(values.size == 1 for values in fixed)
        if plain and varying and set(filter(None, varying)) <= set(made):
            nodes.append(node)
            made.append(node.output[0])
    ends = [
        name for name in made if name in graph.outputs or any(reader not in nodes for reader in graph.consumers(name))
    ]
    return (nodes, ends[0]) if ends == made[-1:] else ([], tensor)


def _groups(graph: Graph, site: _Site, statistics: dict[str, ChannelStatistics]) -> list[np.ndarray]:
    """The channel numbers of each group, source by source; one group if dividing gains nothing."""
    reach = statistics[site.read].high - statistics[site.read].low
    gain = (graph.constant(site.depthwise.input[1]).astype(np.float64) ** 2).sum(axis=(1, 2, 3))
    outputs = [passed_on(graph, reader, statistics[reader.output[0]].variance) for reader in site.readers]
    amplification = gain * np.concatenate(outputs).mean(axis=0)
    if len(site.sources) > 1 and (whole := divided(reach, amplification, 1))[1] < LIMIT:
        return whole[0]
    spans = [slice(source.first, source.first + source.count) for source in site.sources]

    def part(place: int, count: int) -> tuple[list[np.ndarray], float]:
        groups, share = divided(reach[spans[place]], amplification[spans[place]], count)
        return [channels + spans[place].start for channels in groups], share

    parts = [part(place, 1) for place in range(len(spans))]
    while sum(share for _, share in parts) >= LIMIT:
        # One more group where it removes most of the noise.
        finer = {
            place: part(place, len(groups) + 1)
            for place, (groups, _) in enumerate(parts)
            if len(groups) < min(MOST, site.sources[place].count)
        }
        if not finer:
            break
        best = max(finer, key=lambda place: parts[place][1] - finer[place][1])
        parts[best] = finer[best]
    return [channels for groups, _ in parts for channels in groups]


def passed_on(graph: Graph, reader: onnx.NodeProto, variance: np.ndarray) -> np.ndarray:
    """The noise in a convolution's output for noise of variance 1 in each channel, by its variance, [filters, C]."""
    weights = graph.constant(reader.input[1]).astype(np.float64)
    floor = max(SMALLEST * variance.mean(), np.finfo(np.float64).tiny)
    return (weights**2).sum(axis=(2, 3)) / np.maximum(variance, floor)[:, None]


def divided(reach: np.ndarray, amplification: np.ndarray, count: int) -> tuple[list[np.ndarray], float]:
    """Channels in `count` groups with the least noise, and that noise.

    reach: the range of each channel, [C]. amplification: the weight of noise of variance 1 in each channel.
    """
    order = np.argsort(reach, kind="stable")
    reach, sums = reach[order], np.concatenate([[0], np.cumsum(amplification[order])])
    channels = len(order)
    least, cut = np.full((count + 1, channels + 1), np.inf), np.zeros((count + 1, channels + 1), int)
    least[0, 0] = 0
    for groups in range(1, count + 1):
        for end in range(groups, channels + 1):
            begins = np.arange(groups - 1, end)
            noise = least[groups - 1, begins] + reach[end - 1] ** 2 * (sums[end] - sums[begins])
            cut[groups, end] = begins[noise.argmin()]
            least[groups, end] = noise.min()
    parts, end = [], channels
    for groups in range(count, 0, -1):
        parts.append(order[cut[groups, end] : end])
        end = cut[groups, end]
    return parts[::-1], least[count, channels] / STEPS**2 / 12


def _divide(graph: Graph, site: _Site, groups: list[np.ndarray]) -> None:
    """Add one branch per group, and join them for the readers."""
    reads, ends = [], []
    for source in site.sources:
        for channels in source.groups_of(groups):
            number = len(ends)
            chain = (*source.activation, *site.second)
            made = (source.before.output[0], site.made, *(name for node in chain for name in node.output))
            names = {name: f"{name}/group_{number}" for name in made}
            _add_filters(graph, site, source.before, channels - source.first, names)
            _copy(graph, site, source.activation, names)
            reads.append(names[source.made])
            _add_filters(graph, site, site.depthwise, channels, names | {site.read: reads[-1]}, group=len(channels))
            _copy(graph, site, site.second, names)
            ends.append(names[site.end])
    order = np.concatenate(groups)
    _read_groups(graph, site, site.readers, site.end, ends, order)
    if site.others:
        _read_groups(graph, site, site.others, site.read, reads, order)


def _read_groups(graph: Graph, site: _Site, readers: list, tensor: str, groups: list[str], order: np.ndarray) -> None:
    """Make convolutions read the joined `groups` of a tensor, with the channels of their weights in that `order`."""
    joined = graph.add("Concat", groups, f"{tensor}/groups", before=site.place, axis=1)
    for reader in readers:
        graph.read_channels(reader, joined, order)


def _add_filters(graph: Graph, site: _Site, node: onnx.NodeProto, channels: np.ndarray, names: dict, **changed) -> None:
    """Add some filters of a convolution as a separate convolution, with tensors renamed by `names`."""
    source = names.get(node.input[0], node.input[0])
    graph.add_filters(node, source, channels, names[node.output[0]], site.place, **changed)


def _copy(graph: Graph, site: _Site, nodes: list[onnx.NodeProto], names: dict) -> None:
    """Add a copy of an activation with tensors renamed by `names`."""
    for node in nodes:
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        inputs = [names.get(name, name) for name in node.input]
        graph.add(node.op_type, inputs, names[node.output[0]], before=site.place, **attributes)


# Sums over channels in another order round differently, and boxes that are exponentials amplify that, small ones too.
# In a YOLOX-nano at 416 whose channels differ by a factor of thousands, boxes move by up to 0.095 px, and by 0.036 px
# if onnxruntime only fuses other nodes. That is 2.3e-4 of the side; channels that are mixed up move boxes by whole
# pixels.
PASS = Pass("group_channels", needed, rewrite, tolerance=Tolerance(1e-3, TOLERANCE.score), measures_images=True)
