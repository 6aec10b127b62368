"""Recognizes a model that is already split (by Rockchip's exporter, say): a box map and a class map per stride.

A segmentation model also has mask coefficients per stride and, once, prototypes, finer than all strides.
"""

from collections import defaultdict

import onnx

from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.families.sides import STRIDES
from lib.graph.class_names import distinct_names
from lib.graph.onnx_file import metadata
from lib.graph.surgery.anchor_maps import channel_constant, stride_of
from lib.graph.surgery.detector import consecutive_strides
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.moved_maps import moved_maps
from lib.step.errors import UserError

BOX_CHANNELS = (Dfl().box_channels, Distances().box_channels)
EXPECTED = "a box map [1, 64, H, W] (a DFL of 16 bins) or [1, 4, H, W] (distances)"


def is_split(graph: Graph) -> bool:
    """Whether the outputs are several feature maps."""
    return len(graph.outputs) >= 2 * len(STRIDES) and all(len(graph.shape(name)) == 4 for name in graph.outputs)


def outputs_in_order(graph: Graph) -> list[str]:
    """The outputs ordered as box map and class map of each stride, largest first, without sums of scores.

    Raises UserError when they are anything else.
    """
    pairs = _by_size(graph, mask_maps(graph))
    if {len(pair) for pair in pairs} != {2}:
        shapes = [list(graph.shape(name)) for name in graph.outputs]
        raise UserError(
            f"the model has outputs {shapes}; a split detector has, for each of its strides, {EXPECTED} and "
            "a class map [1, classes, H, W]"
        )
    ordered = [_box_map_first(graph, pair) for pair in pairs]
    consecutive_strides(graph, [box for box, _ in ordered])
    if not all(_is_box(graph, box) for box, _ in ordered):
        raise UserError(f"the split model needs a box map for every stride: {EXPECTED}, without a sigmoid")
    _demand_distances(graph, ordered)
    return [name for pair in ordered for name in pair]


def _demand_distances(graph: Graph, ordered: list[list[str]]) -> None:
    """Raise UserError when a map of distances is more than a convolution: then its values need not be in strides.

    A class map that looks the same counts too, because the order may have been guessed.
    """
    channels, moved = Distances().box_channels, moved_maps(graph)
    for box, classes in ordered:
        alike = [name for name in (box, classes) if graph.shape(name)[1] == channels and _count(graph, name) == 0]
        for name in alike if box in alike else ():
            for source in [part.source for part in moved[name].parts] if name in moved else [name]:
                if found := _beyond_convolution(graph, source):
                    raise UserError(
                        f"the box map {name} {list(graph.shape(name))} is not a convolution's output: {found}; this "
                        "decoding is not supported"
                    )


def _beyond_convolution(graph: Graph, name: str) -> str:
    """What makes the map `name`, in words; empty for a convolution, whose bias may be a node of its own."""
    last, node = graph.producer(name), before_bias(graph, name)
    if node is not None and node.op_type == "Conv":
        return ""
    if last is None:
        return "it is the input"
    factors = [graph.constant(source) for source in last.input if graph.constant(source) is not None]
    if last.op_type != "Mul" or not factors:
        return f"it comes from {last.op_type}"
    values, stride = sorted(set(factors[0].ravel().tolist())), stride_of(graph, name)
    if values == [stride]:
        before = graph.producer(next(source for source in last.input if graph.constant(source) is None))
        return f"it comes from {before.op_type if before is not None else 'the input'}, times its stride {stride}"
    return f"it is multiplied by {', '.join(f'{value:g}' for value in values)}"


def before_bias(graph: Graph, name: str) -> onnx.NodeProto | None:
    """The node that makes a map, without an Add of constants, and a Mul by the scale of weights in INT8 before it."""
    node = graph.producer(name)
    for op_type in ("Add", "Mul"):
        if node is None or node.op_type != op_type:
            break
        computed = [source for source in node.input if graph.constant(source) is None]
        if len(computed) != 1 or channel_constant(graph, node, computed[0]) is None:
            break
        node = graph.producer(computed[0])
    return node


def mask_maps(graph: Graph) -> list[str]:
    """The coefficients of each stride, largest first, and the prototypes; empty if the outputs have none.

    There are as many coefficients as prototypes, without a sigmoid; a box map that looks the same comes before them.
    """
    (finest, *others), *strides = _by_size(graph, []) or [[""]]
    if others or len(strides) < 2:
        return []
    alike = [
        [name for name in names if graph.shape(name)[1] == graph.shape(finest)[1] and _count(graph, name) == 0]
        for names in strides
    ]
    if not all(len(names) == 3 for names in strides) or not all(alike):
        return []
    return [*(names[-1] for names in alike), finest]


def _by_size(graph: Graph, left_out: list[str]) -> list[list[str]]:
    """The outputs except sums of scores and those `left_out`, grouped by the map's size, the largest first."""
    strides = defaultdict(list)
    for name in graph.outputs:
        if name not in left_out and not _is_sum(graph, name):
            strides[graph.shape(name)[2:]].append(name)
    return [strides[size] for size in sorted(strides, reverse=True)]


def sigmoids(graph: Graph) -> int:
    """The number of sigmoids on the class scores. Raises UserError when strides differ, or for more than one."""
    counts = {_count(graph, name) for name in outputs_in_order(graph)[1::2]}
    if len(counts) != 1 or max(counts) > 1:
        raise UserError(f"the class maps of the strides go through {sorted(counts)} sigmoids; 0 or 1 is expected")
    return counts.pop()


def _is_sum(graph: Graph, name: str) -> bool:
    """Whether a one-channel output is a sum over the classes, clipped or not."""
    node = graph.producer(name)
    while node is not None and node.op_type == "Clip":
        node = graph.producer(node.input[0])
    return graph.shape(name)[1] == 1 and node is not None and node.op_type == "ReduceSum"


def _box_map_first(graph: Graph, pair: list[str]) -> list[str]:
    """The box map and the class map of a stride.

    If both look like a box map, the number of class names decides, then the DFL's number of channels, then the order.
    """
    classes = len(distinct_names(metadata(graph.model)))

    def rank(name: str) -> tuple[bool, bool, int]:
        channels = graph.shape(name)[1]
        return not _is_box(graph, name), channels == classes, -channels

    return sorted(pair, key=rank)


def _is_box(graph: Graph, name: str) -> bool:
    return graph.shape(name)[1] in BOX_CHANNELS and _count(graph, name) == 0


def _count(graph: Graph, name: str) -> int:
    count, node = 0, graph.producer(name)
    while node is not None and node.op_type == "Sigmoid":
        count, node = count + 1, graph.producer(node.input[0])
    return count
