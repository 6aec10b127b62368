"""Splits the few channels that reach far beyond all others of a feature map, so that they do not set its INT8 scale.

x ─ Conv W ─ SiLU ┬ Conv U              x ┬ Conv W ─ SiLU ─ others
                  └ others                ├ Conv W ─ SiLU ─ Min(T) ────────────────┐
                                    →     ├ Conv W[o] - jT ─ Clip(0, T), j < last ─┤
                                          └ Conv W[o] - jT ─ ReLU, j = last ───────┴ Concat ─ Conv U[:, all o]

The NPU has one scale per feature map. The map of stride 32 in YOLO26n-pose reaches 49 in one channel and 10 in nearly
all; the map that YOLO26n's class scores of stride 32 are computed from, 127 and 17. INT8 rounds them five and seven
times as coarsely as it had to. Here each channel ends at T, and what it exceeds T by is in further channels, each of
which also ends at T, so all have one scale. Their sum is the channel's value again: min(v, T) + clip(v - T, 0, T) + ...
+ relu(v - nT), so U's weights are repeated for them. This is channel splitting (Zhao et al. 2019,
https://arxiv.org/abs/1901.09504), but exact, because it is done behind a function that passes large values on: for v
above LEAST, SiLU(v) differs from v by a tenth of an INT8 step.

T is the least for which few further channels are needed (`room`). It is done where T is at most NARROW of the largest
value, and where the rounding of the map is LIMIT or more of the variance of a reader's outputs, computed as in
`group_channels`: other maps gain nothing, and it takes time. Convolutions that boxes are computed from read the map as
it is: they gain nothing either (figures in docs/int8_experiments.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx

from lib.graph.surgery.channel_statistics import ChannelStatistics, channel_statistics
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.graph.surgery.passes.group_channels import STEPS, is_plain, passed_on
from lib.graph.surgery.proof import PROVEN, TOLERANCE, Tolerance

LEAST = 8.0
NARROW = 0.2
LIMIT = 0.001
# Images that are measured before all, since most models have no such map, and the margin for what they show.
FEW = {PROVEN: 1.5, 4 * PROVEN: 1.0}


class _Site(NamedTuple):
    """A feature map that convolutions read."""

    tensor: str
    before: onnx.NodeProto  # the convolution that it is made from
    readers: list[onnx.NodeProto]


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether convolutions read such a map."""
    return bool(_sites(graph, form))


def rewrite(graph: Graph, form: OutputForm, images: Sequence[np.ndarray]) -> None:
    """Split channels by their largest values on `images`, uint8 [H, W, C] of the model's size and channels."""
    sites = _sites(graph, form)
    for number, margin in FEW.items():
        sites = [site for site, *_ in _with_outliers(graph, sites, images[:number], margin)]
    for site, end, counts in _with_outliers(graph, sites, images, 1.0):
        _divide(graph, site, end, counts)


def room(channels: int) -> int:
    """The most further channels for a map with `channels`: 20 % of them, in 16s, which the NPU computes at once."""
    return max(channels // 5 // 16, 1) * 16


def shared_end(high: np.ndarray, most: int) -> float:
    """The least end, LEAST or more, at which channels that reach `high`, [C], need at most `most` further ones."""
    # The number of further channels changes only where a channel's value is a multiple of the end.
    ends = {LEAST, *(value / (count + 1) for value in high for count in range(most + 1))}
    return min(float(end) for end in ends if end >= LEAST and further(high, end).sum() <= most)


def further(high: np.ndarray, end: float) -> np.ndarray:
    """How many further channels each channel needs, int [C]."""
    # A multiple of the end that is rounded upwards needs no further channel.
    return np.maximum(np.ceil(high / end - 1e-9).astype(int) - 1, 0)


def _sites(graph: Graph, form: OutputForm) -> list[_Site]:
    boxes = [output.name for output in form.spec.maps() if output.role == "box"]
    of_boxes = {node.output[0] for node in graph.upwards(boxes)}
    sites = []
    for node in graph.model.graph.node:
        before = _before_silu(graph, node)
        others = [reader for reader in graph.consumers(node.output[0]) if reader.output[0] not in of_boxes]
        readers = [reader for reader in others if _has_bias(graph, reader)]
        if before is not None and readers and _has_bias(graph, before):
            sites.append(_Site(node.output[0], before, readers))
    return sites


def _with_outliers(
    graph: Graph, sites: list[_Site], images: Sequence[np.ndarray], margin: float
) -> list[tuple[_Site, float, np.ndarray]]:
    """The sites with outliers, within a `margin` of 1 or more: each with its end, and its channels' further ones."""
    if not sites:
        return []
    tensors = [name for site in sites for name in (site.tensor, *(reader.output[0] for reader in site.readers))]
    statistics = channel_statistics(graph, tensors, images)
    found = []
    for site in sites:
        high = statistics[site.tensor].high
        end = shared_end(high, room(len(high)))
        if end <= margin * NARROW * high.max() and margin * _noise(graph, site, statistics) >= LIMIT:
            found.append((site, end, further(high, end)))
    return found


def _noise(graph: Graph, site: _Site, statistics: dict[str, ChannelStatistics]) -> float:
    """The noise that rounding the map to INT8 makes in a reader's outputs, by their variance; of the worst reader."""
    reach = statistics[site.tensor].high.max() - statistics[site.tensor].low.min()
    shares = [
        passed_on(graph, reader, statistics[reader.output[0]].variance).mean(axis=0).sum() for reader in site.readers
    ]
    return (reach / STEPS) ** 2 / 12 * max(shares)


def _before_silu(graph: Graph, product: onnx.NodeProto) -> onnx.NodeProto | None:
    """The node whose SiLU the product is; None for other nodes."""
    if product.op_type != "Mul":
        return None
    for factor, other in (product.input, reversed(product.input)):
        sigmoid, before = graph.producer(factor), graph.producer(other)
        if sigmoid is not None and sigmoid.op_type == "Sigmoid" and sigmoid.input[0] == other and before is not None:
            return before
    return None


def _has_bias(graph: Graph, node: onnx.NodeProto) -> bool:
    return is_plain(graph, node) and len(node.input) == 3


def _divide(graph: Graph, site: _Site, end: float, counts: np.ndarray) -> None:
    name, place = f"{site.tensor}/outliers", site.readers[0]

    def filters(kind: str, channels: np.ndarray, below: np.ndarray | float) -> str:
        return graph.add_filters(site.before, site.before.input[0], channels, f"{name}/{kind}", place, lower=below)

    every = np.arange(len(counts))
    value = filters("all", every, 0.0)
    factor = graph.add("Sigmoid", [value], f"{name}/sigmoid", before=place)
    silu = graph.add("Mul", [value, factor], f"{name}/silu", before=place)
    number_type = graph.constant(site.before.input[2]).dtype
    low, high = np.zeros((), number_type), np.array(end, number_type)
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


# Between T and a little above it, the difference of SiLU(v) and v is that tenth of a step.
PASS = Pass("outlier_channels", needed, rewrite, tolerance=Tolerance(TOLERANCE.box, 5e-4), measures_images=True)
