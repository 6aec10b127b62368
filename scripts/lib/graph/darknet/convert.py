"""Writes a Darknet network as ONNX, with an output like YOLOv8's: one [1, 4+C, N].

The convolution before a [yolo] is written as three, with its filters sorted, so that each quantity has its own map and,
when quantized, its own range:

feature map ─ Conv ─ x, y, w, h, objectness, classes          feature map ┬ Conv ─ box map
              of one anchor, then of the next            →                ├ Conv ─ Sigmoid ─ objectness
                                                                          └ Conv ─ Sigmoid ─ scores
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from lib.data.imgsz import ImageSize
from lib.data.names import read_names
from lib.detector.head import EXPORTED
from lib.detector.output_spec import OutputSpec
from lib.graph.darknet.layers import INPUT, Convolutional, Dropout, Maxpool, Network, Route, Shortcut, Upsample, Yolo
from lib.graph.darknet.network import read_network
from lib.graph.darknet.weights import read_weights
from lib.graph.surgery.anchor_nodes import add_predictions
from lib.graph.surgery.graph import Graph
from lib.step.errors import UserError
from lib.step.files import require

IMAGE, PREDICTIONS = "images", "output0"  # Ultralytics' names
LEAKY_SLOPE = 0.1
_IR_VERSION = 9  # goes with opset 19 and 20; onnxruntime and the toolkit can read it


def convert(cfg: Path, weights: Path, names: Path | None, imgsz: ImageSize | None, opset: int) -> onnx.ModelProto:
    """The model in two files (and one of class names) as ONNX, for `imgsz` (default: the size in the .cfg).

    Raises UserError when a file is missing, damaged, or does not fit the others.
    """
    network = read_network(require(cfg, "cfg"), imgsz)
    numbers = read_weights(require(weights, "weights file"), network)
    class_names = read_names([str(require(names, "names file"))]) if names else None
    if class_names and len(class_names) != network.classes:
        raise UserError(f"{cfg} has {network.classes} classes, but {names} has {len(class_names)} names")
    return to_onnx(network, numbers, opset, class_names)


def to_onnx(network: Network, weights: dict, opset: int, names: list[str] | None = None) -> onnx.ModelProto:
    """The network as ONNX: `images` [1, 3, H, W] (RGB, 0..1) to `output0` [1, 4+C, N].

    Boxes are cx, cy, w, h in input pixels, scores are objectness * class. `weights`: from `read_weights`. The metadata
    holds what decoding needs from the [yolo] layers, and `names`, if given, as Ultralytics writes them.
    """
    graph = _with_image(network, opset)
    tensors = {INPUT: IMAGE}
    for number, layer in enumerate(network.layers):
        inputs = [tensors[source] for source in layer.sources]
        if isinstance(layer, Yolo):
            before = network.layers[layer.sources[0]]
            source = tensors[before.sources[0]]
            _add_maps(graph, layer, before, source, *weights[layer.sources[0]])
            tensors[number] = inputs[0]
        else:
            tensors[number] = _ADD[type(layer)](graph, layer, inputs, f"layer_{number}", weights.get(number))
    spec = OutputSpec(network.imgsz, EXPORTED, network.family, network.classes)
    add_predictions(graph, spec.family, spec.classes, spec.imgsz, for_npu=False, output=PREDICTIONS)
    graph.set_outputs({PREDICTIONS: (1, 4 + spec.classes, spec.family.points(spec.imgsz))})
    # The original convolutions before [yolo] no longer lead to an output.
    graph.tidy()
    metadata = spec.to_metadata() | ({"names": str(dict(enumerate(names)))} if names else {})
    helper.set_model_props(graph.model, metadata)
    onnx.checker.check_model(graph.model, full_check=True)
    return graph.model


def _with_image(network: Network, opset: int) -> Graph:
    shape = [1, 3, network.imgsz.height, network.imgsz.width]
    image = helper.make_tensor_value_info(IMAGE, onnx.TensorProto.FLOAT, shape)
    model = helper.make_model(
        helper.make_graph([], "darknet", [image], []),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR_VERSION,
        producer_name="rv1106-yolov8",
    )
    return Graph(model)


def _add_maps(graph: Graph, layer: Yolo, before: Convolutional, source: str, kernel, bias) -> None:
    """Add the three maps of a [yolo] layer, made from the input `source` of the convolution `before` it."""
    anchors, classes = len(layer.head.anchors), layer.classes
    # Darknet's order of channels is [anchor, quantity].
    order = np.arange(anchors * (5 + classes)).reshape(anchors, 5 + classes).T
    for output_map, filters in zip(layer.head.maps(classes), (order[:4], order[4:5], order[5:])):
        name, chosen = output_map.name, filters.ravel()
        is_probability = layer.head.new_coords or output_map.role != "box"
        made = _add_convolution(
            graph, before, source, kernel[chosen], bias[chosen], f"{name}/logits" if is_probability else name
        )
        if is_probability:
            graph.add("Sigmoid", [made], name)


def _add_convolution(graph: Graph, layer: Convolutional, source: str, kernel, bias, name: str) -> str:
    return graph.add(
        "Conv",
        [source, kernel, bias],
        name,
        kernel_shape=[layer.size] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 4,
        group=layer.groups,
    )


def _add_convolutional(graph: Graph, layer: Convolutional, inputs: list[str], name: str, weights) -> str:
    linear = _add_convolution(graph, layer, inputs[0], *weights, f"{name}/linear")
    return _add_activation(graph, layer.activation, linear, name)


def _add_activation(graph: Graph, activation: str, tensor: str, name: str) -> str:
    if activation == "linear":
        return tensor
    if activation == "leaky":
        return graph.add("LeakyRelu", [tensor], name, alpha=LEAKY_SLOPE)
    if activation == "relu":
        return graph.add("Relu", [tensor], name)
    if activation == "logistic":
        return graph.add("Sigmoid", [tensor], name)
    if activation == "swish":
        return graph.add("Mul", [tensor, graph.add("Sigmoid", [tensor], f"{name}/sigmoid")], name)
    # mish; ONNX has an operator for it since opset 18, but the toolkit puts that on the CPU, while it fuses these.
    softplus = graph.add("Softplus", [tensor], f"{name}/softplus")
    return graph.add("Mul", [tensor, graph.add("Tanh", [softplus], f"{name}/tanh")], name)


def _add_maxpool(graph: Graph, layer: Maxpool, inputs: list[str], name: str, _) -> str:
    before = layer.padding // 2
    after = layer.padding - before
    return graph.add(
        "MaxPool",
        inputs,
        name,
        kernel_shape=[layer.size] * 2,
        strides=[layer.stride] * 2,
        pads=[before, before, after, after],
    )


def _add_upsample(graph: Graph, layer: Upsample, inputs: list[str], name: str, _) -> str:
    scales = np.array([1, 1, layer.stride, layer.stride], np.float32)
    region = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)  # not used in this mode, but opset 11 requires one
    return graph.add(
        "Resize",
        [inputs[0], region, scales],
        name,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


def _add_route(graph: Graph, layer: Route, inputs: list[str], name: str, _) -> str:
    parts = inputs
    if layer.groups > 1:
        parts = [
            _add_group(graph, tensor, channels // layer.groups, layer.group_id, f"{name}/part_{number}")
            for number, (tensor, channels) in enumerate(zip(inputs, layer.channels))
        ]
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, name, axis=1)


def _add_group(graph: Graph, tensor: str, channels: int, group_id: int, name: str) -> str:
    """Add a Slice: `channels` channels of a tensor, from group_id * channels on."""
    return _add_slice(graph, tensor, group_id * channels, (group_id + 1) * channels, name)


def _add_slice(graph: Graph, tensor: str, first: int, end: int, name: str) -> str:
    """Add a Slice: the channels of a tensor from `first` to before `end`."""
    bounds = (np.array([bound], np.int64) for bound in (first, end, 1))
    return graph.add("Slice", [tensor, *bounds], name)


def _add_shortcut(graph: Graph, layer: Shortcut, inputs: list[str], name: str, _) -> str:
    total, *others = inputs
    for number, (tensor, channels) in enumerate(zip(others, layer.channels)):
        total = _add_sum(graph, total, layer.shape[0], tensor, channels, f"{name}/sum_{number}")
    return _add_activation(graph, layer.activation, total, name)


def _add_sum(graph: Graph, total: str, channels: int, other: str, others: int, name: str) -> str:
    """Add the sum of a tensor of `channels` and one of `others` channels: Darknet adds as many as both have."""
    if others == channels:
        return graph.add("Add", [total, other], name)
    if others > channels:
        return graph.add("Add", [total, _add_slice(graph, other, 0, channels, f"{name}/first")], name)
    first = graph.add("Add", [_add_slice(graph, total, 0, others, f"{name}/first"), other], f"{name}/added")
    return graph.add("Concat", [first, _add_slice(graph, total, others, channels, f"{name}/rest")], name, axis=1)


def _add_dropout(graph: Graph, layer: Dropout, inputs: list[str], name: str, _) -> str:
    return inputs[0]


_ADD = {
    Convolutional: _add_convolutional,
    Maxpool: _add_maxpool,
    Upsample: _add_upsample,
    Route: _add_route,
    Shortcut: _add_shortcut,
    Dropout: _add_dropout,
}
