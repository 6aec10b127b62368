"""One image of one size: the toolkit takes no dynamic shapes.

input [batch, 3, height, width], symbols or numbers        →        input [1, 3, H, W]

Runs before simplification, which then folds what the model computes from its own shape (the anchor points).
"""

import onnx

from lib.data.imgsz import STRIDE, ImageSize
from lib.step.errors import UserError


def fix_size(model: onnx.ModelProto, size: ImageSize | None) -> tuple[onnx.ModelProto, ImageSize]:
    """A copy of `model` for one image of `size`, and that size; without one it is the model's own.

    Raises UserError when the model has another fixed size, or a dynamic one and none is given.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {tensor.name for tensor in fixed.graph.initializer}
    inputs = [tensor for tensor in fixed.graph.input if tensor.name not in constants]
    shapes = [[d.dim_value for d in tensor.type.tensor_type.shape.dim] for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] not in (0, 1) or shapes[0][1] not in (0, 3):
        raise UserError(f"the model's inputs are {shapes} (0: dynamic); one input [1, 3, height, width] is expected")
    _, _, height, width = shapes[0]
    own = ImageSize(width=width, height=height)
    if size is None and not all(own):
        raise UserError("the model's input size is dynamic; say which with --size WIDTHxHEIGHT")
    if size is not None and any(given and given != asked for given, asked in zip(own, size)):
        raise UserError(f"the model is fixed at {own}; for {size} export it anew, its anchor points are constants")
    size = size or own
    wanted = (1, 3, size.height, size.width)
    if shapes[0] != list(wanted):
        for dimension, value in zip(inputs[0].type.tensor_type.shape.dim, wanted):
            dimension.dim_value = value
        # Shapes downstream are those of the dynamic model; inference finds the new ones.
        del fixed.graph.value_info[:]
        for output in fixed.graph.output:
            output.type.tensor_type.ClearField("shape")
    return fixed, size


def demand_strides(size: ImageSize) -> None:
    """Raise UserError when a detector's input is no whole number of its coarsest cells wide and high."""
    if size.width % STRIDE or size.height % STRIDE:
        raise UserError(f"the model's input is {size}; width and height must be multiples of {STRIDE}")
