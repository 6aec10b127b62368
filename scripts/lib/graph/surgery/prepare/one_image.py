"""Turns a model for several images into one for a single image.

input [B, 3, H, W] ─ … ─ Reshape to [B, …] ─ … ─ output [B, …]    →    input [1, 3, H, W] ─ … ─ Reshape to [1, …] ─ …

An exporter writes the batch size into the constant shapes of Reshape, Expand, Resize and the like, and into constants
that it repeats for each image. Each is found by the shapes of the original model, and the result is proven: an image
through the new graph gives the same as its row of a batch in the old one.
"""

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from lib.step.errors import UserError

# Operators whose constant input, at that place, is a shape (for Tile, repetitions) that begins with the batch.
SHAPE_INPUT = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Tile": 1, "Resize": 3}
# Operators that may read a constant which holds the same for each image.
BATCHED = {"Add", "Sub", "Mul", "Div", "Pow", "Concat", "Where", "MatMul", "Equal", "Max", "Min", "ScatterND"}


def one_image(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy for one image of `model`, whose input has a fixed `batch` above 1. Constant nodes become initializers.

    Raises UserError when the shapes are then inconsistent.
    """
    single = with_initializers(model)
    graph = single.graph
    try:
        inferred = shape_inference.infer_shapes(single, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError) as error:
        raise UserError(f"the model's shapes are inconsistent: {str(error).splitlines()[0]}") from None
    shapes = {
        tensor.name: tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim)
        for tensor in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        place = SHAPE_INPUT.get(node.op_type)
        if place is not None and len(node.input) > place and node.input[place] in constants:
            value = numpy_helper.to_array(constants[node.input[place]])
            _give(graph, node, place, _of_one_image(node, value, batch, shapes))
        if node.op_type in BATCHED and shapes.get(node.output[0], ())[:1] == (batch,):
            rank = len(shapes[node.output[0]])
            for place, name in enumerate(node.input):
                if name in constants:
                    _give(graph, node, place, _first_of_equals(numpy_helper.to_array(constants[name]), batch, rank))
    del graph.value_info[:]
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(single, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, ValueError) as error:
        raise UserError(
            f"the model is made for {batch} images at once and cannot be turned into one for a single image "
            f"({str(error).splitlines()[0]}); export it with batch 1"
        ) from None
    return inferred


def with_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose Constant nodes with a tensor are initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constant = copy.graph.initializer.add()
            constant.CopyFrom(node.attribute[0].t)
            constant.name = node.output[0]
        else:
            nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _of_one_image(node: onnx.NodeProto, value: np.ndarray, batch: int, shapes: dict) -> np.ndarray | None:
    """The shape constant for one image, or None if the batch is not in it."""
    if value.ndim != 1 or not len(value):
        return None
    first = int(value[0])
    holds = first == batch
    if node.op_type == "Reshape":
        # A first dimension of images times heads or windows (attention) is divided by the batch.
        data = shapes.get(node.input[0], ())
        holds = first > 0 and first % batch == 0 and data[:1] and data[0] % batch == 0 and data[0] > 0
    elif node.op_type == "Resize":
        holds = first == batch and len(value) == 4
    if not holds:
        return None
    changed = value.copy()
    changed[0] = first // batch
    return changed


def _first_of_equals(value: np.ndarray, batch: int, rank: int) -> np.ndarray | None:
    """A constant's part for the first of `batch` images, if it is the same for all of them; else None."""
    if value.ndim != rank or rank < 2 or value.shape[0] != batch or (value != value[:1]).any():
        return None
    return value[:1]


def _give(graph: onnx.GraphProto, node: onnx.NodeProto, place: int, value: np.ndarray | None) -> None:
    """Make only this node read another constant; None keeps the old one."""
    if value is None:
        return
    name = f"{node.output[0]}/{place}/one_image"
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    node.input[place] = name
