"""What a graph does to its input before the network begins is taken out of it, and belongs to the model's InputForm.

input uint8? [1, H, W, 3] or [1, 3, H, W] ─ Cast ─ Transpose ─ Div 255 ─ Sub mean ─ Div std ─ RGB to BGR ─ network
                                                  →        input float32 [1, 3, H, W] ─ network, and a form that says so

Any of these, in any order; Mul, Add and the DequantizeLinear of a quantized input too. The toolkit normalizes by mean
and std while it reads the image; inside the graph they would be operators in INT8, and nameless rows of the build.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from lib.data.input_form import METADATA_KEY, PIXELS, InputForm
from lib.graph.input_form import input_form_of, set_input_form
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph, attribute
from lib.step.errors import UserError

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
TO_CHANNELS_FIRST = [0, 3, 1, 2]
# A graph that multiplies its input by less takes values 0..255 (1/255, 1/58), by more 0..1 (2, 4.4).
LEAST_FACTOR_OF_UNITS = 0.1


@dataclass(frozen=True)
class Front:
    """What stands before the network: `factor * input + offset` by channel, in the network's order of channels.

    tensor: where the network begins. last: it has the channels last still, as the input has. turned: their order was
    reversed. nodes: how many operators that are.
    """

    tensor: str
    factor: np.ndarray
    offset: np.ndarray
    last: bool
    turned: bool = False
    nodes: int = 0


def has_channels_last(shape) -> bool:
    """Whether an input of that shape is [batch, height, width, channels]."""
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def absorb(graph: Graph, name: str, given: Mapping) -> tuple[onnx.ModelProto, InputForm] | None:
    """The model without what stands between its input `name` and the network; and the form that it took images in.

    Its metadata has the form that the network takes, as an entry where the graph did something to pixels. given: what a
    person says of the form that the graph takes. None where nothing stands there. Raises UserError when the network
    begins with whole numbers, or channels last.
    """
    front = front_of(graph, name)
    if front.last:
        raise UserError(
            f"the model's input is {list(graph.shape(name))}, channels last, and no Transpose to [1, channels, height, "
            "width] follows; export it so"
        )
    if graph.dtype(front.tensor) not in FLOATS:
        kind = TensorProto.DataType.Name(graph.dtype(front.tensor)).lower()
        raise UserError(f"the model's input is {kind} and no Cast to float follows; export it with a float input")
    if not front.nodes:
        return None
    stated, whole = METADATA_KEY in metadata(graph.model), graph.dtype(name) not in FLOATS
    taken = input_form_of(graph.model)
    touched = whole or front.turned or not (np.all(front.factor == 1) and np.all(front.offset == 0))
    if touched:
        taken = taken.with_changes({key: given[key] for key in PIXELS if key in given})
        if not stated and "scale" not in given and (whole or _is_of_pixels(front)):
            taken = replace(taken, scale=1)
    rewritten = Graph(graph.model)
    for node in rewritten.consumers(front.tensor):
        for place, read in enumerate(node.input):
            if read == front.tensor:
                node.input[place] = name
    [given] = [tensor for tensor in rewritten.model.graph.input if tensor.name == name]
    given.CopyFrom(helper.make_tensor_value_info(name, graph.dtype(front.tensor), graph.shape(front.tensor)))
    rewritten.tidy()
    set_input_form(rewritten.model, form_after(front, taken), explicit=touched)
    return rewritten.model, taken


def front_of(graph: Graph, name: str) -> Front:
    """What stands between the input `name` and the first operator that is none of normalization's."""
    last = has_channels_last(graph.shape(name))
    channels = graph.shape(name)[3 if last else 1]
    front = Front(name, np.ones(channels), np.zeros(channels), last)
    while True:
        readers = graph.consumers(front.tensor)
        if len(readers) != 1 or front.tensor in graph.outputs or readers[0].output[0] in graph.outputs:
            return front
        beyond = _beyond(graph, readers[0], front)
        # A channel that is multiplied by nothing, or turned around, is no normalization.
        if beyond is None or not (beyond.factor > 0).all():
            return front
        front = replace(beyond, tensor=readers[0].output[0], nodes=front.nodes + 1)


def form_after(front: Front, taken: InputForm) -> InputForm:
    """The form that the network alone takes images in, of the form that the graph with its `front` takes."""
    # factor * ((pixel / scale - mean) / std) + offset, written as one (pixel / scale - mean) / std.
    scale, mean, std = taken.scale, *(np.broadcast_to(values, front.factor.shape) for values in (taken.mean, taken.std))
    if front.turned:
        mean, std = mean[::-1], std[::-1]
    mean, std = mean - front.offset * std / front.factor, std / front.factor
    if scale == 1 and np.allclose(std, 255, rtol=1e-5):
        scale, mean, std = 255, mean / 255, std / 255
    turned = {"rgb": "bgr", "bgr": "rgb", "grey": "grey"}
    return replace(
        taken,
        channels=turned[taken.channels] if front.turned else taken.channels,
        scale=scale,
        mean=tuple(_rounded(mean)),
        std=tuple(_rounded(std)),
    )


def _is_of_pixels(front: Front) -> bool:
    """Whether the graph takes values 0..255, by what it multiplies them with."""
    return front.factor.max() < LEAST_FACTOR_OF_UNITS


def _rounded(values: np.ndarray) -> list[float]:
    """Without the digits that float32 constants bring."""
    return [float(f"{value:.6g}") if abs(value) > 1e-6 else 0.0 for value in values]


def _beyond(graph: Graph, node: onnx.NodeProto, front: Front) -> Front | None:
    """`front` with `node` behind it (tensor and nodes as they were), or None where `node` belongs to the network."""
    channel = 3 if front.last else 1
    if node.op_type == "Identity":
        return front
    if node.op_type == "Cast":
        # Between kinds of float it belongs to half precision.
        return front if graph.dtype(node.input[0]) not in FLOATS else None
    if node.op_type == "Transpose":
        return replace(front, last=False) if front.last and attribute(node, "perm") == TO_CHANNELS_FIRST else None
    if node.op_type in ("Gather", "Slice"):
        if not _turns_channels(graph, node, channel, len(front.factor)):
            return None
        return replace(front, factor=front.factor[::-1], offset=front.offset[::-1], turned=not front.turned)
    if node.op_type == "DequantizeLinear":
        scale, zero = (graph.constant(name) for name in [*node.input[1:], ""][:2])
        if scale is None or scale.size != 1 or graph.dtype(node.input[0]) != TensorProto.UINT8:
            return None
        offset = front.offset - (0 if zero is None else float(zero.reshape(())))
        return replace(front, factor=front.factor * float(scale.reshape(())), offset=offset * float(scale.reshape(())))
    if node.op_type in ("Add", "Sub", "Mul", "Div"):
        return _affine(graph, node, channel, front)
    return None


def _affine(graph: Graph, node: onnx.NodeProto, channel: int, front: Front) -> Front | None:
    """`front` with an operation by a constant of each channel behind it."""
    place = list(node.input).index(front.tensor)
    value = graph.constant(node.input[1 - place])
    value = None if value is None else _by_channel(value, channel, len(front.factor))
    if value is None:
        return None
    factor, offset = front.factor, front.offset
    if node.op_type == "Add":
        return replace(front, offset=offset + value)
    if node.op_type == "Mul":
        return replace(front, factor=factor * value, offset=offset * value)
    if place == 1:
        return None
    if node.op_type == "Sub":
        return replace(front, offset=offset - value)
    return replace(front, factor=factor / value, offset=offset / value) if (value != 0).all() else None


def _by_channel(value: np.ndarray, channel: int, channels: int) -> np.ndarray | None:
    """A constant as a value for each channel; None where it varies along another axis."""
    value = value.astype(np.float64)
    if value.size == 1:
        return np.full(channels, float(value.reshape(())))
    shape = (1,) * (4 - value.ndim) + value.shape
    return value.ravel() if len(shape) == 4 and shape[channel] == value.size == channels else None


def _turns_channels(graph: Graph, node: onnx.NodeProto, channel: int, channels: int) -> bool:
    """Whether a Gather or Slice puts the channels in reverse order."""
    if node.op_type == "Gather":
        order = graph.constant(node.input[1])
        axis = attribute(node, "axis", 0) % 4
        return order is not None and axis == channel and order.tolist() == list(range(channels))[::-1]
    constants = [graph.constant(name) for name in node.input[1:]]
    if len(constants) != 4 or any(value is None or value.size != 1 for value in constants):
        return False
    start, end, axis, stride = (int(value.reshape(())) for value in constants)
    return (stride, axis % 4) == (-1, channel) and start in (-1, channels - 1) and end < -channels
