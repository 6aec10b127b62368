"""One image of one size: the toolkit does not support dynamic shapes, batches, or inputs with channels last.

input [batch, 3, height, width], symbols or numbers        →        input [1, 3, H, W]

Runs before simplification, which then folds what the model computes from its own shape (the anchor points).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx

from lib.data.imgsz import STRIDE, ImageSize
from lib.graph.input_form import input_form_of
from lib.graph.onnx_session import open_session, to_tensor
from lib.graph.surgery.graph import OLDEST_OPSET, Graph, converted, opset_of
from lib.graph.surgery.prepare.before_nms import before_plugin, nms_of
from lib.graph.surgery.prepare.network_input import absorb, has_channels_last
from lib.graph.surgery.prepare.one_image import one_image
from lib.graph.surgery.prepare.proof import apart, prove_same, run
from lib.graph.surgery.prepare.whole_graph import plain
from lib.graph.surgery.proof import TOLERANCE, noise_image
from lib.step.errors import UserError

DOMAINS = ("ai.onnx.", "com.microsoft.")  # beginnings of known domains of operators; ONNX's own may also be empty


def fix_size(
    model: onnx.ModelProto, size: ImageSize | None, given: Mapping | None = None
) -> tuple[onnx.ModelProto, ImageSize]:
    """A copy of `model` for one image of `size` (default: the model's own size), and that size.

    Its input is float [1, C, H, W]. What the graph did to the image before the network is moved to its InputForm;
    `given` are fields of one that the user gives for the whole graph. Raises UserError when the model has another fixed
    size, or a dynamic one and none is given, an input that cannot be brought into this form, or an operator that only
    its maker's programs know.
    """
    fixed = before_plugin(plain(model))
    _demand_known_domains(fixed)
    own = _input_of(fixed)
    size = _settled(size, own.size)
    shape = own.shape(size)
    _set_input_shape(fixed, shape)
    if opset_of(fixed) < OLDEST_OPSET:
        fixed = _of_a_known_opset(fixed, shape)
    if own.batch > 1:
        fixed = _of_one_image(fixed, own.batch, shape)
    return _of_the_network(fixed, size, own.last, given or {}), size


class _Input(NamedTuple):
    """The shape of the one input; 0 for what is dynamic. last: whether it has channels last."""

    batch: int
    depth: int
    size: ImageSize
    last: bool

    def shape(self, size: ImageSize) -> tuple[int, ...]:
        """The shape at a fixed size; a dynamic batch is one image."""
        batch, place = self.batch or 1, (size.height, size.width)
        return (batch, *place, self.depth) if self.last else (batch, self.depth, *place)


def _input_of(model: onnx.ModelProto) -> _Input:
    """Raises UserError unless the model has one input for images."""
    shapes = [[d.dim_value for d in tensor.type.tensor_type.shape.dim] for tensor in model.graph.input]
    last = len(shapes) == 1 and has_channels_last(shapes[0])
    channels = 3 if last else 1
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][channels] not in (0, 1, 3):
        raise UserError(f"the model's inputs are {shapes} (0: dynamic); one input [1, 3, height, width] is expected")
    height, width = shapes[0][1:3] if last else shapes[0][2:]
    return _Input(shapes[0][0], shapes[0][channels] or 3, ImageSize(width=width, height=height), last)


def _settled(size: ImageSize | None, own: ImageSize) -> ImageSize:
    """The size that is asked for, or the model's own. Raises UserError when they differ, or neither is given."""
    if size is None and not all(own):
        raise UserError("the model's input size is dynamic; choose one with --size WIDTHxHEIGHT")
    if size is not None and any(given and given != asked for given, asked in zip(own, size)):
        raise UserError(
            f"the model is fixed at {own}; for {size} export it again, because its anchor points are constants"
        )
    return size or own


def _set_input_shape(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    if tuple(dimension.dim_value for dimension in dimensions) == shape:
        return
    for dimension, value in zip(dimensions, shape):
        dimension.dim_value = value
    # The shapes after the input are those of the dynamic model; shape inference finds the new ones.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def _demand_known_domains(model: onnx.ModelProto) -> None:
    """Raise UserError for operators of a domain that is neither ONNX's nor onnxruntime's: nothing here can run them."""
    for node in model.graph.node:
        if node.domain and not f"{node.domain}.".startswith(DOMAINS):
            same = sum((each.domain, each.op_type) == (node.domain, node.op_type) for each in model.graph.node)
            raise UserError(
                f"the model has the operator {node.op_type} of the domain {node.domain} ({same} of them), which "
                "neither ONNX nor this program knows; export the model with ONNX's own operators"
            )


def _of_a_known_opset(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The model with an input of that shape in the oldest supported opset, proven on noise."""
    raised = converted(model, OLDEST_OPSET)
    noise = np.random.default_rng(0).random(shape, np.float32)
    work = f"converting opset {opset_of(model)} to {OLDEST_OPSET}"
    before, after = (run(open_session(each.SerializeToString()), noise, work) for each in (model, raised))
    worst = max(apart(*pair, work) for pair in zip(before, after, strict=True))
    if not worst <= TOLERANCE.score:
        raise UserError(f"{work} changes what the model computes; export it with {OLDEST_OPSET} or above")
    return raised


def _of_one_image(model: onnx.ModelProto, batch: int, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The model for a `batch` of images of that shape as one for one image, proven on noise; not for one with NMS."""
    if nms_of(model):
        raise UserError(f"the model contains NMS for {batch} images at once; export it with batch 1, or without NMS")
    single = one_image(model, batch)
    noise = np.random.default_rng(0).random(shape, np.float32)
    prove_same(model, single, [(noise, noise)], TOLERANCE.score, "making one image of a batch")
    return single


def _of_the_network(model: onnx.ModelProto, size: ImageSize, last: bool, given: Mapping) -> onnx.ModelProto:
    """The part of the model from where its network begins, proven on noise."""
    name = model.graph.input[0].name
    absorbed = absorb(Graph(model), name, given)
    if absorbed is None:
        return model
    network, taken = absorbed
    form = input_form_of(network)
    image = noise_image(size, 0, form.depth)
    as_taken = to_tensor(image if taken.channels == form.channels else image[:, :, ::-1], taken)
    if last:
        as_taken = as_taken.transpose(0, 2, 3, 1)
    prove_same(model, network, [(as_taken, to_tensor(image, form))], TOLERANCE.score, "taking the normalization out")
    return network


def demand_strides(size: ImageSize) -> None:
    """Raise UserError unless a detector's input is a whole number of its coarsest cells wide and high."""
    if size.width % STRIDE or size.height % STRIDE:
        raise UserError(f"the model's input is {size}; width and height must be multiples of {STRIDE}")
