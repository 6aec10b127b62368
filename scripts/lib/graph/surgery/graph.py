"""A view of an ONNX graph for matching patterns and rewriting."""

import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx
import onnx.version_converter
from onnx import helper, numpy_helper, shape_inference

from lib.data.imgsz import ImageSize
from lib.step.errors import UserError

OLDEST_OPSET = 11
_RESIZE_CHOOSES = 11  # the first opset in which Resize has attributes for where it samples
_LISTED = 4  # most outputs listed in a message


class Graph:
    """An ONNX model with its producers, consumers, constants and shapes. The given model is copied, not changed.

    Raises UserError for a model whose opset is too old, or whose shapes are inconsistent.
    """

    def __init__(self, model: onnx.ModelProto):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        if self.opset < OLDEST_OPSET:
            raise UserError(f"the model has opset {self.opset}; export it with {OLDEST_OPSET} or above")
        self.tidy()

    @property
    def opset(self) -> int:
        """The version of ONNX's default operator set."""
        return opset_of(self.model)

    @property
    def input(self) -> str:
        """The name of the only input. Raises UserError as `declared_input` does."""
        return declared_input(self.model)[0]

    @property
    def imgsz(self) -> ImageSize:
        """Width and height of the input. Raises UserError as `input` does."""
        return input_size(self.model)

    @property
    def outputs(self) -> list[str]:
        """The names of all outputs."""
        return [tensor.name for tensor in self.model.graph.output]

    @property
    def output(self) -> str:
        """The name of the only output. Raises UserError when there are several."""
        if len(self.outputs) != 1:
            shapes = [f"{name} {list(self.shape(name))}" for name in self.outputs]
            listed = ", ".join([*shapes[:_LISTED], *(["…"] if len(shapes) > _LISTED else [])])
            raise UserError(
                f"the model has {len(shapes)} outputs ({listed}); no known family of detectors has these: "
                "one output [1, 4+classes, N], or a box map and a class map for each stride, is expected"
            )
        return self.outputs[0]

    def tidy(self) -> None:
        """Drop nodes and constants that lead to no output, then update producers, constants and shapes."""
        graph = self.model.graph
        needed = {tensor.name for tensor in graph.output}
        kept = []
        for node in reversed(graph.node):
            if needed & set(node.output):
                kept.append(node)
                needed.update(node.input)
        kept.reverse()
        initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
        _refill(graph.node, kept)
        _refill(graph.initializer, initializers)
        del graph.value_info[:]
        try:
            inferred = shape_inference.infer_shapes(self.model, strict_mode=True, data_prop=True).graph
        except (shape_inference.InferenceError, ValueError, MemoryError) as error:
            raise UserError(f"the model's shapes are inconsistent: {str(error).splitlines()[0]}") from None
        self._producer = {name: node for node in graph.node for name in node.output}
        self._constant = {tensor.name: tensor for tensor in graph.initializer}
        typed = [*inferred.input, *inferred.value_info, *inferred.output]
        self._shape = {tensor.name: tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim) for tensor in typed}
        self._shape.update({name: tuple(tensor.dims) for name, tensor in self._constant.items()})
        self._dtype = {tensor.name: tensor.type.tensor_type.elem_type for tensor in typed}
        self._dtype.update({name: tensor.data_type for name, tensor in self._constant.items()})

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes `tensor`; None for inputs and initializers."""
        return self._producer.get(tensor)

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read `tensor`."""
        return [node for node in self.model.graph.node if tensor in node.input]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The tensor's shape; an unknown dimension is 0, an unknown rank is ()."""
        return self._shape.get(tensor, ())

    def dtype(self, tensor: str) -> int:
        """The tensor's element type, as onnx.TensorProto numbers it; 0 if unknown."""
        return self._dtype.get(tensor, 0)

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of a constant tensor, or None when it is computed at run time."""
        if tensor in self._constant:
            return numpy_helper.to_array(self._constant[tensor])
        node = self.producer(tensor)
        if node is not None and node.op_type == "Constant":
            value = attribute(node, "value")
            return None if value is None else numpy_helper.to_array(value)
        return None

    def add(self, op_type: str, inputs: list, output: str, before: onnx.NodeProto | None = None, **attributes) -> str:
        """Insert a node before another one (default: at the end); arrays among `inputs` become initializers."""
        names = []
        for number, source in enumerate(inputs):
            if isinstance(source, np.ndarray):
                name = f"{output}/{op_type}_{number}"
                self.model.graph.initializer.append(numpy_helper.from_array(source, name))
                source = name
            names.append(source)
        node = helper.make_node(op_type, names, [output], name=f"{output}/{op_type}", **attributes)
        nodes = list(self.model.graph.node)
        at = len(nodes) if before is None else nodes.index(before)
        self.model.graph.node.insert(at, node)
        return output

    def add_filters(
        self,
        convolution: onnx.NodeProto,
        source: str,
        filters: np.ndarray,
        output: str,
        before: onnx.NodeProto,
        lower: np.ndarray | float = 0.0,
        **changed,
    ) -> str:
        """Insert a convolution that computes some filters of another one from `source`; `changed` are its attributes.

        filters: their numbers. lower: what is taken off their biases; a convolution without biases allows only 0.
        """
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in convolution.attribute}
        weights, *bias = (np.ascontiguousarray(self.constant(name)[filters]) for name in convolution.input[1:])
        bias = [(values - lower).astype(values.dtype) for values in bias]
        return self.add("Conv", [source, weights, *bias], output, before=before, **attributes | changed)

    def read_channels(self, convolution: onnx.NodeProto, tensor: str, order: np.ndarray) -> None:
        """Make a convolution without groups read `tensor`; its channel i is channel order[i] of what it read before."""
        weights = np.ascontiguousarray(self.constant(convolution.input[1])[:, order])
        name = f"{convolution.output[0]}/{convolution.input[1]}"
        self.model.graph.initializer.append(numpy_helper.from_array(weights, name))
        convolution.input[0], convolution.input[1] = tensor, name

    def split(self, tensor: str, parts: int) -> list[str]:
        """Append a Split of a tensor's channels into equal parts; return their names."""
        sizes = np.full(parts, self.shape(tensor)[1] // parts, np.int64)
        names = [f"{tensor}/part_{number}" for number in range(parts)]
        self.model.graph.initializer.append(numpy_helper.from_array(sizes, f"{tensor}/parts"))
        node = helper.make_node("Split", [tensor, f"{tensor}/parts"], names, name=f"{tensor}/Split", axis=1)
        self.model.graph.node.append(node)
        return names

    def rename(self, tensor: str, name: str) -> str:
        """Rename a node's output, also in its readers; return the new name."""
        for node in self.consumers(tensor):
            for place, read in enumerate(node.input):
                if read == tensor:
                    node.input[place] = name
        node = self.producer(tensor)
        node.output[list(node.output).index(tensor)] = name
        return name

    def upwards(
        self, tensors: Iterable[str], is_end: Callable[[onnx.NodeProto], bool] = lambda node: False
    ) -> Iterator[onnx.NodeProto]:
        """The nodes that `tensors` are computed from, nearest first, without those before a node for which `is_end`."""
        waiting, seen = list(tensors), set()
        while waiting:
            node = self.producer(waiting.pop(0))
            if node is None or node.output[0] in seen:
                continue
            seen.add(node.output[0])
            yield node
            if not is_end(node):
                waiting.extend(node.input)

    def free_names(self, reserved: re.Pattern) -> None:
        """Rename every tensor whose name matches `reserved`, including inputs and outputs."""
        graph = self.model.graph
        tensors = [*graph.input, *graph.output, *graph.initializer]
        names = {tensor.name for tensor in tensors} | {name for node in graph.node for name in node.output}
        freed = {name: f"before/{name}" for name in names if reserved.fullmatch(name)}
        for node in graph.node:
            for names_of in (node.input, node.output):
                for place, name in enumerate(names_of):
                    names_of[place] = freed.get(name, name)
        for tensor in tensors:
            tensor.name = freed.get(tensor.name, tensor.name)
        if freed:
            self.tidy()

    def bypass(self, node: onnx.NodeProto) -> None:
        """Make the readers of a node's output read its first input."""
        for reader in self.consumers(node.output[0]):
            for place, read in enumerate(reader.input):
                if read == node.output[0]:
                    reader.input[place] = node.input[0]

    def convert(self, opset: int) -> None:
        """Convert the model to another opset. Raises UserError when onnx's version converter refuses it."""
        self.model = converted(self.model, opset)

    def set_outputs(self, outputs: dict[str, tuple[int, ...]]) -> None:
        """Make the named tensors the outputs, in this order, with these shapes; float32, unless known to be FP16."""
        half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
        infos = [
            helper.make_tensor_value_info(name, half if self.dtype(name) == half else full, shape)
            for name, shape in outputs.items()
        ]
        _refill(self.model.graph.output, infos)

    def check(self) -> None:
        """Raises UserError when onnx's checker refuses the model, shapes included."""
        try:
            onnx.checker.check_model(self.model, full_check=True)
        except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
            raise UserError(f"the graph is not valid ONNX: {str(error).splitlines()[0]}") from None


def declared_input(model: onnx.ModelProto) -> tuple[str, list[int]]:
    """The name and the shape [1, C, H, W] of the only input, without constants that old files list there.

    Raises UserError when it is not one input [1, 3, H, W] (or of one channel) of known size.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    given = [tensor for tensor in model.graph.input if tensor.name not in constants]
    shapes = [[dim.dim_value for dim in tensor.type.tensor_type.shape.dim] for tensor in given]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] not in ([1, 3], [1, 1]) or not all(shapes[0]):
        raise UserError(f"the model's inputs are {shapes} (0: not fixed); one input [1, 3, height, width] is expected")
    return given[0].name, shapes[0]


def input_size(model: onnx.ModelProto) -> ImageSize:
    """Width and height of a model's only input. Raises UserError as `declared_input` does."""
    _, (_, _, height, width) = declared_input(model)
    return ImageSize(width=width, height=height)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's default operator set that a model is written in."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A copy of a model in another opset. Raises UserError when onnx's version converter refuses it."""
    try:
        changed = onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the model of opset {opset_of(model)} cannot be converted to opset {opset}: {reason}; export it again"
        ) from None
    if opset_of(model) < _RESIZE_CHOOSES <= opset:
        _as_resized_before(changed)
    return changed


def _as_resized_before(model: onnx.ModelProto) -> None:
    """Let each Resize sample as it, or Upsample, did before there was a choice; the converter leaves a new default."""
    for node in model.graph.node:
        if node.op_type == "Resize":
            place = helper.make_attribute("coordinate_transformation_mode", "asymmetric")
            node.attribute.extend([place, helper.make_attribute("nearest_mode", "floor")])


def attribute(node: onnx.NodeProto, name: str, default=None):
    """The value of a node's attribute, or `default`."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def _refill(field, values) -> None:
    values = list(values)
    del field[:]
    field.extend(values)
