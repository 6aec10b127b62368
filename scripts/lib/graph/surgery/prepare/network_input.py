"""Moves what a graph does to its input before the network begins from the graph to the model's InputForm.

input uint8? [1, H, W, 3] or [1, 3, H, W] ─ Cast ─ Transpose ─ Div 255 ─ Sub mean ─ Div std ─ RGB to BGR ─ network
                                                  →        input float32 [1, 3, H, W] ─ network, and a form that says so

Any of these, in any order, also Mul, Add and the DequantizeLinear of a quantized input. The toolkit applies mean and
std while it reads the image; inside the graph they would be INT8 operators, and rows without a name in the build log.
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
# A smaller factor on the input means values 0..255 (1/255, 1/58), a larger one 0..1 (2, 4.4).
LEAST_FACTOR_OF_UNITS = 0.1


@dataclass(frozen=True)
class Front:
    """The nodes before the network: `factor * input + offset` per channel, in the network's order of channels.

    tensor: where the network begins. last: whether its channels are still last, as in the input. turned: whether the
    order of channels was reversed. nodes: the number of operators.
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
    """The model without the nodes between its input `name` and the network, and the form in which it took images.

    Its metadata gets the form that the network takes, if the graph changed pixel values. given: what the user says
    about the form that the graph takes. Returns None if there are no such nodes. Raises UserError when the network
    begins with integers or with channels last.
    """
    front = front_of(graph, name)
    if front.last:
        raise UserError(
            f"the model's input is {list(graph.shape(name))}, channels last, but no Transpose to [1, channels, height, "
            "width] follows; export it with channels first"
        )
    if graph.dtype(front.tensor) not in FLOATS:
        kind = TensorProto.DataType.Name(graph.dtype(front.tensor)).lower()
        raise UserError(f"the model's input is {kind}, but no Cast to float follows; export it with a float input")
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
    """The nodes between the input `name` and the first operator that is not part of a normalization."""
    last = has_channels_last(graph.shape(name))
    channels = graph.shape(name)[3 if last else 1]
    front = Front(name, np.ones(channels), np.zeros(channels), last)
    while True:
        readers = graph.consumers(front.tensor)
        if len(readers) != 1 or front.tensor in graph.outputs or readers[0].output[0] in graph.outputs:
            return front
        beyond = _beyond(graph, readers[0], front)
        # A factor of 0 or below is not a normalization.
        if beyond is None or not (beyond.factor > 0).all():
            return front
        front = replace(beyond, tensor=readers[0].output[0], nodes=front.nodes + 1)


def form_after(front: Front, taken: InputForm) -> InputForm:
    """The form in which the network alone takes images, from the form that the graph with its `front` takes."""
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
    """Whether the graph takes values 0..255, judged by the factor that it multiplies them by."""
    return front.factor.max() < LEAST_FACTOR_OF_UNITS


def _rounded(values: np.ndarray) -> list[float]:
    """Values without the extra digits of float32 constants."""
    return [float(f"{value:.6g}") if abs(value) > 1e-6 else 0.0 for value in values]


def _beyond(graph: Graph, node: onnx.NodeProto, front: Front) -> Front | None:
    """`front` followed by `node` (tensor and nodes not updated), or None if `node` belongs to the network."""
    channel = 3 if front.last else 1
    if node.op_type == "Identity":
        return front
    if node.op_type == "Cast":
        # A Cast between float types is part of half precision.
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
    """`front` followed by an operation with one constant per channel."""
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
    """A constant as one value per channel; None if it varies along another axis."""
    value = value.astype(np.float64)
    if value.size == 1:
        return np.full(channels, float(value.reshape(())))
    shape = (1,) * (4 - value.ndim) + value.shape
    return value.ravel() if len(shape) == 4 and shape[channel] == value.size == channels else None


def _turns_channels(graph: Graph, node: onnx.NodeProto, channel: int, channels: int) -> bool:
    """Whether a Gather or Slice reverses the order of the channels."""
    if node.op_type == "Gather":
        order = graph.constant(node.input[1])
        axis = attribute(node, "axis", 0) % 4
        return order is not None and axis == channel and order.tolist() == list(range(channels))[::-1]
    constants = [graph.constant(name) for name in node.input[1:]]
    if len(constants) != 4 or any(value is None or value.size != 1 for value in constants):
        return False
    start, end, axis, stride = (int(value.reshape(())) for value in constants)
    return (stride, axis % 4) == (-1, channel) and start in (-1, channels - 1) and end < -channels
