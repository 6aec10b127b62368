"""Which feature maps are where in a tensor, followed through operators that only rearrange values.

Conv ─ map [1, K, H, W] ─ Sigmoid or Softmax? ─ Reshape, Transpose, Concat, Split, Slice … ─ tensor

A map is any other operator's output in the shape of a map. So however a model's author flattened, joined, ordered and
named the outputs, it is known for each channel which map it comes from and how many sigmoids follow the map.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import onnx

from lib.detector.families import cells
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.map_place import MapPlace

STRIDES = (4, 8, 16, 32, 64, 128)  # possible strides of detectors' feature maps
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
SAME = ("Identity", "Cast", "Dropout", "Sigmoid")


@dataclass(frozen=True)
class Part:
    """Channels first … first+count-1 of the map `source`, [1, K, H, W], within another tensor.

    channel, cell: where they begin there. sigmoids, softmaxes: how many follow the map, the latter over all its
    channels.
    """

    source: str
    first: int
    count: int
    cells: int
    channel: int = 0
    cell: int = 0
    sigmoids: int = 0
    softmaxes: int = 0

    @property
    def activations(self) -> tuple[int, int]:
        """The numbers of sigmoids and softmaxes."""
        return self.sigmoids, self.softmaxes


@dataclass(frozen=True)
class Moved:
    """A tensor that consists of parts of maps: its `axis` of channels, and the parts.

    columns_first: cells are in column order, as between the two Transposes that older exports put around a Softmax.
    """

    axis: int
    parts: tuple[Part, ...]
    columns_first: bool = False

    @property
    def channels(self) -> int:
        """The number of channels of the tensor."""
        return max(part.channel + part.count for part in self.parts)


def moved_maps(graph: Graph) -> dict[str, Moved]:
    """For every tensor of `graph` that consists of parts of feature maps, which parts these are."""
    moved: dict[str, Moved] = {}
    for node in graph.model.graph.node:
        for name in node.output:
            held = _held(graph, node, name, moved)
            if held is None and _is_map(graph, name):
                _, channels, height, width = graph.shape(name)
                held = Moved(1, (Part(name, 0, channels, height * width),))
            if held is not None:
                moved[name] = held
    return moved


def _is_map(graph: Graph, name: str) -> bool:
    shape = graph.shape(name)
    return len(shape) == 4 and shape[0] == 1 and all(shape)


def _held(graph: Graph, node: onnx.NodeProto, name: str, moved: dict[str, Moved]) -> Moved | None:
    """The parts in the output `name` of `node`, from those in its inputs; None if the node does more than rearrange."""
    before = moved.get(node.input[0]) if node.input else None
    if node.op_type == "Concat":
        inputs = [moved.get(source) for source in node.input]
        return _joined(graph, node, inputs) if all(inputs) else None
    if before is None:
        return None
    if node.op_type in SAME:
        passed = int(node.op_type == "Sigmoid")
        return replace(before, parts=tuple(replace(part, sigmoids=part.sigmoids + passed) for part in before.parts))
    if node.op_type == "Softmax":
        [part, *others] = before.parts
        whole = (part.first, part.count, *others) == (0, graph.shape(part.source)[1])
        if not whole or not _is_over_channels(graph, node, before.axis):
            return None
        return replace(before, parts=(replace(part, softmaxes=part.softmaxes + 1),))
    if node.op_type in RESHAPES and not before.columns_first:
        axis = _axis_after_reshape(graph.shape(node.input[0]), before.axis, graph.shape(name))
        return None if axis is None else replace(before, axis=axis)
    if node.op_type == "Transpose":
        return _transposed(graph, node, before)
    if node.op_type in ("Split", "Slice") and (span := _channels_kept(graph, node, name, before.axis)):
        return _cut(before, *span)
    return None


def _is_over_channels(graph: Graph, node: onnx.NodeProto, axis: int) -> bool:
    """Whether a Softmax is over the axis of channels; before opset 13 it flattens all axes from its axis on."""
    rank = len(graph.shape(node.input[0]))
    over = attribute(node, "axis", 1 if graph.opset < 13 else -1) % rank
    return over == axis and (graph.opset >= 13 or axis == rank - 1)


def _axis_after_reshape(shape: tuple[int, ...], axis: int, after: tuple[int, ...]) -> int | None:
    """The axis of channels after a reshape that keeps it, as the first or the last axis longer than 1."""
    count = shape[axis]
    if prod(shape[:axis]) == 1:
        places = [place for place, size in enumerate(after) if size == count and prod(after[:place]) == 1]
    elif prod(shape[axis + 1 :]) == 1:
        places = [place for place, size in enumerate(after) if size == count and prod(after[place + 1 :]) == 1]
    else:
        places = []
    # For a single channel any axis of size 1 would fit; the usual ones are tried first.
    usual = [place for place in places if place in (1, len(after) - 1)]
    return (usual or places or [None])[0]


def _transposed(graph: Graph, node: onnx.NodeProto, before: Moved) -> Moved | None:
    """The tensor with the channels on another axis, and the cells in row or column order."""
    shape = graph.shape(node.input[0])
    order = attribute(node, "perm", list(range(len(shape)))[::-1])
    axes = [axis for axis in order if axis != before.axis and shape[axis] != 1]
    if axes != sorted(axes) and len(axes) > 2:
        return None
    columns_first = before.columns_first != (axes != sorted(axes))
    return replace(before, axis=order.index(before.axis), columns_first=columns_first)


def _joined(graph: Graph, node: onnx.NodeProto, inputs: list[Moved]) -> Moved | None:
    """The joined parts: channels after channels, or cells after cells."""
    shapes = [graph.shape(name) for name in node.input]
    axis = attribute(node, "axis") % len(shapes[0])
    if len({held.axis for held in inputs}) != 1 or any(held.columns_first for held in inputs):
        return None
    channels_axis, along = inputs[0].axis, "channel"
    if axis != channels_axis:
        along = "cell"
        if any(size != 1 for place, size in enumerate(shapes[0]) if place not in (axis, channels_axis)):
            return None
    parts, start = [], 0
    for held, shape in zip(inputs, shapes):
        parts += [replace(part, **{along: getattr(part, along) + start}) for part in held.parts]
        start += shape[axis]
    return Moved(channels_axis, tuple(parts))


def _channels_kept(graph: Graph, node: onnx.NodeProto, name: str, axis: int) -> tuple[int, int] | None:
    """First and end of the channels in an output of a Split or Slice; None if it cuts along another axis."""
    rank = len(graph.shape(node.input[0]))
    if node.op_type == "Split":
        if attribute(node, "axis", 0) % rank != axis:
            return None
        place = list(node.output).index(name)
        first = sum(graph.shape(output)[axis] for output in node.output[:place])
        return first, first + graph.shape(name)[axis]
    values = [graph.constant(source) for source in node.input[1:]]
    if len(values) < 3 or any(value is None or value.size != 1 for value in values):
        return None
    start, _, along, *step = (int(value.item()) for value in values)
    if along % rank != axis or step not in ([], [1]):
        return None
    channels = graph.shape(node.input[0])[axis]
    first = min(start, channels) if start >= 0 else max(start + channels, 0)
    return first, first + graph.shape(name)[axis]


def _cut(before: Moved, first: int, end: int) -> Moved | None:
    """Channels first … end-1 of a tensor's parts."""
    parts = []
    for part in before.parts:
        low, high = max(first, part.channel), min(end, part.channel + part.count)
        if low < high:
            skipped = low - part.channel
            parts.append(replace(part, first=part.first + skipped, count=high - low, channel=low - first))
    return replace(before, parts=tuple(parts)) if parts else None


def maps_behind(graph: Graph, moved: dict[str, Moved]) -> list[Part]:
    """The maps that the outputs are computed from, the nearest before each, whole and without duplicates.

    If a graph does more than rearrange maps (decoding), they are the maps that it does that with.
    """
    waiting, seen, nearest = list(graph.outputs), set(), []
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name in moved:
            nearest += moved[name].parts
        elif node := graph.producer(name):
            waiting.extend(node.input)
    return _merged(nearest)


def _merged(parts: list[Part]) -> list[Part]:
    """The parts in order, with adjacent parts of a map joined."""
    bare = dict.fromkeys(replace(part, channel=0, cell=0) for part in parts)
    whole: list[Part] = []
    for part in sorted(bare, key=lambda part: part.first):
        for place, other in enumerate(whole):
            alike = (other.source, other.activations) == (part.source, part.activations)
            if alike and part.first <= other.first + other.count:
                end = max(other.first + other.count, part.first + part.count)
                whole[place] = replace(other, count=end - other.first)
                break
        else:
            whole.append(part)
    order = [(part.source, part.first) for part in bare]
    return sorted(whole, key=lambda part: order.index((part.source, part.first)))


def by_stride(graph: Graph, parts: list[Part]) -> dict[int, list[Part]]:
    """The parts of each stride, the finest first; empty if a part fits no stride."""
    levels: dict[int, list[Part]] = {}
    for part in parts:
        strides = [stride for stride in STRIDES if cells(graph.imgsz, stride) == graph.shape(part.source)[2:]]
        if not strides:
            return {}
        levels.setdefault(strides[0], []).append(part)
    return dict(sorted(levels.items()))


def ordered_levels(graph: Graph, in_order: Callable[[list[Part]], list[Part]]) -> dict[int, list[Part]]:
    """The maps that the outputs come from, by stride, the finest first, ordered within a stride by `in_order`.

    Empty if `in_order` cannot order those of a stride, or if the strides' maps differ in their numbers of channels.
    """
    levels = by_stride(graph, maps_behind(graph, moved_maps(graph)))
    ordered = {stride: in_order(parts) for stride, parts in levels.items()}
    channels = {tuple(part.count for part in parts) for parts in ordered.values()}
    return ordered if len(channels) == 1 and () not in channels else {}


def parts_of(levels: dict[int, list[Part]]) -> list[Part]:
    """The maps of all strides as one list."""
    return [part for level in levels.values() for part in level]


def places_of(
    graph: Graph, moved: dict[str, Moved], parts: list[Part], probabilities: tuple[bool, ...]
) -> tuple[MapPlace, ...]:
    """Where maps are in the outputs; empty if one is in no output, or in pieces.

    probabilities: which maps of a stride must be probabilities; the outputs may contain their logits.
    """
    places = [
        _place_of(graph, moved, part, logits=probabilities[number % len(probabilities)] and not part.sigmoids)
        for number, part in enumerate(parts)
    ]
    return tuple(places) if all(places) else ()


def _place_of(graph: Graph, moved: dict[str, Moved], part: Part, logits: bool) -> MapPlace | None:
    """Where a part is in the outputs; None if it is in no output, or in pieces. logits: it still needs a sigmoid."""
    for number, name in enumerate(graph.outputs):
        for held in moved[name].parts if not moved[name].columns_first else ():
            if (held.source, held.first, held.count) == (part.source, part.first, part.count):
                return MapPlace(number, moved[name].axis, held.channel, held.cell, logits)
    return None
