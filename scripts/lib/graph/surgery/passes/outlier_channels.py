"""Splits the few channels that reach far beyond all others of a feature map, where keypoints are computed from it.

x ─ Conv W ─ SiLU ┬ Conv U (keypoints)         x ┬ Conv W ─ SiLU ─ others
                  └ others                       ├ Conv W ─ SiLU ─ Min(T) ────────────────┐
                                           →     ├ Conv W[o] - jT ─ Clip(0, T), j < last ─┤
                                                 └ Conv W[o] - jT ─ ReLU, j = last ───────┴ Concat ─ Conv U[:, all o]

The NPU has one scale per feature map. The map of stride 32 in YOLO26n-pose reaches 49 in one channel and 10 in nearly
all: INT8 rounds it five times as coarsely as it had to. Here each channel ends at T, and what it exceeds T by is in
further channels, each of which also ends at T, so all have one scale. Their sum is the channel's value again:
min(v, T) + clip(v - T, 0, T) + ... + relu(v - nT), so U's weights are repeated for them. This is channel splitting
(Zhao et al. 2019, https://arxiv.org/abs/1901.09504), but exact, because it is done behind a function that passes large
values on: for v above LEAST, SiLU(v) differs from v by less than half an INT8 step.

T is the least for which at most MOST further channels are needed. Nothing is done where it would not halve the range.
Boxes and scores read the map as it is, because they gain nothing (figures in docs/int8_accuracy.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx

from lib.graph.surgery.channel_statistics import channel_statistics
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.tasks.pose.keypoints import FINE, KEYPOINTS, VISIBILITY

LEAST = 8.0
MOST = 32
ROLES = (KEYPOINTS, FINE, VISIBILITY)  # outputs whose convolutions read the split map; others keep the map


class _Site(NamedTuple):
    """A feature map that convolutions of the keypoints read."""

    tensor: str
    before: onnx.NodeProto  # the convolution that it is made from
    readers: list[onnx.NodeProto]


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether convolutions of the keypoints read such a map."""
    return bool(_sites(graph, form))


def rewrite(graph: Graph, form: OutputForm, images: Sequence[np.ndarray]) -> None:
    """Split channels by their largest values on `images`, uint8 [H, W, C] of the model's size and channels."""
    sites = _sites(graph, form)
    statistics = channel_statistics(graph, [site.tensor for site in sites], images)
    for site in sites:
        high = statistics[site.tensor].high
        end = shared_end(high)
        if end <= high.max() / 2:
            _divide(graph, site, end, further(high, end))


def shared_end(high: np.ndarray, most: int = MOST) -> float:
    """The least end, LEAST or more, at which channels that reach `high`, [C], need at most `most` further ones."""
    # The number of further channels changes only where a channel's value is a multiple of the end.
    ends = {LEAST, *(value / (count + 1) for value in high for count in range(most + 1))}
    return min(float(end) for end in ends if end >= LEAST and further(high, end).sum() <= most)


def further(high: np.ndarray, end: float) -> np.ndarray:
    """How many further channels each channel needs, int [C]."""
    # A multiple of the end that is rounded upwards needs no further channel.
    return np.maximum(np.ceil(high / end - 1e-9).astype(int) - 1, 0)


def _sites(graph: Graph, form: OutputForm) -> list[_Site]:
    named = {output.name: output.role for output in form.spec.maps()}
    own = _above(graph, [name for name, role in named.items() if role in ROLES])
    kept = _above(graph, [name for name, role in named.items() if role not in ROLES])
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.model.graph.node:
        if node.output[0] in own and node.output[0] not in kept:
            for name in node.input:
                if name in kept:
                    readers.setdefault(name, []).append(node)
    sites = []
    for tensor, nodes in readers.items():
        before = _before_silu(graph, tensor)
        if before is not None and all(_is_plain(graph, node) for node in (before, *nodes)):
            sites.append(_Site(tensor, before, nodes))
    return sites


def _above(graph: Graph, outputs: list[str]) -> set[str]:
    """All tensors that `outputs` are computed from, and these."""
    return {name for node in graph.upwards(outputs) for name in node.output}


def _before_silu(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    """The convolution whose SiLU makes `tensor`; None if something else does."""
    product = graph.producer(tensor)
    if product is None or product.op_type != "Mul":
        return None
    for factor, other in (product.input, reversed(product.input)):
        sigmoid, before = graph.producer(factor), graph.producer(other)
        if sigmoid is not None and sigmoid.op_type == "Sigmoid" and sigmoid.input[0] == other and before is not None:
            return before
    return None


def _is_plain(graph: Graph, node: onnx.NodeProto) -> bool:
    known = all(graph.constant(name) is not None for name in node.input[1:])
    return node.op_type == "Conv" and attribute(node, "group", 1) == 1 and len(node.input) == 3 and known


def _divide(graph: Graph, site: _Site, end: float, counts: np.ndarray) -> None:
    weights, bias = (graph.constant(name) for name in site.before.input[1:])
    settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in site.before.attribute}
    name, place = f"{site.tensor}/outliers", site.readers[0]

    def filters(kind: str, channels: np.ndarray, below: np.ndarray) -> str:
        values = weights[channels], (bias[channels] - below).astype(bias.dtype)
        return graph.add("Conv", [site.before.input[0], *values], f"{name}/{kind}", before=place, **settings)

    every = np.arange(len(counts))
    value = filters("all", every, np.zeros(len(counts)))
    factor = graph.add("Sigmoid", [value], f"{name}/sigmoid", before=place)
    silu = graph.add("Mul", [value, factor], f"{name}/silu", before=place)
    low, high = np.zeros((), bias.dtype), np.array(end, bias.dtype)
    parts, order = [_clip(graph, silu, None, high, place)], [every]
    repeated = np.repeat(every, counts)
    number = np.concatenate([np.arange(1, count + 1) for count in counts])
    is_last = number == counts[repeated]
    for kind, chosen in (("inner", ~is_last), ("last", is_last)):
        if chosen.any():
            above = filters(kind, repeated[chosen], number[chosen] * end)
            parts.append(
                graph.add("Relu", [above], f"{above}/relu", before=place)
                if kind == "last"
                else _clip(graph, above, low, high, place)
            )
            order.append(repeated[chosen])
    joined = graph.add("Concat", parts, f"{name}/joined", before=place, axis=1)
    for reader in site.readers:
        graph.read_channels(reader, joined, np.concatenate(order))


def _clip(graph: Graph, tensor: str, low, high, place: onnx.NodeProto) -> str:
    ends = ["" if low is None else low, high]
    return graph.add("Clip", [tensor, *ends], f"{tensor}/clip", before=place)


PASS = Pass("outlier_channels", needed, rewrite, measures_images=True)
