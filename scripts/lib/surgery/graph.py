"""A view of an ONNX graph to match patterns in and to rewrite."""

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from lib.errors import UserError

HEAD_KEY = "rv1106.head"  # the metadata that says which head a graph was given


class Graph:
    """An ONNX model with its producers, consumers, constants and shapes at hand. The model given is left alone."""

    def __init__(self, model: onnx.ModelProto):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.tidy()

    @property
    def opset(self) -> int:
        """The version of ONNX's default operator set."""
        return next(each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx"))

    @property
    def output(self) -> str:
        """The name of the only output. Raises UserError when there are several."""
        names = [each.name for each in self.model.graph.output]
        if len(names) != 1:
            raise UserError(
                f"the model has {len(names)} outputs ({', '.join(names)}); one [1, 4+classes, N] is expected"
            )
        return names[0]

    def tidy(self) -> None:
        """Drop nodes and constants that lead to no output, then read producers, constants and shapes anew."""
        graph = self.model.graph
        needed = {each.name for each in graph.output}
        kept = []
        for node in reversed(graph.node):
            if needed & set(node.output):
                kept.append(node)
                needed.update(node.input)
        kept.reverse()
        initializers = [each for each in graph.initializer if each.name in needed]
        _refill(graph.node, kept)
        _refill(graph.initializer, initializers)
        del graph.value_info[:]
        try:
            inferred = shape_inference.infer_shapes(self.model, strict_mode=True).graph
        except shape_inference.InferenceError as error:
            raise UserError(f"the model's shapes do not fit together: {str(error).splitlines()[0]}") from None
        self._producer = {name: node for node in graph.node for name in node.output}
        self._constant = {each.name: each for each in graph.initializer}
        self._shape = {
            each.name: tuple(d.dim_value for d in each.type.tensor_type.shape.dim)
            for each in [*inferred.input, *inferred.value_info, *inferred.output]
        }
        self._shape.update({name: tuple(each.dims) for name, each in self._constant.items()})

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes `tensor`; None for inputs and initializers."""
        return self._producer.get(tensor)

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read `tensor`."""
        return [node for node in self.model.graph.node if tensor in node.input]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The tensor's shape; a dimension that is not known is 0, an unknown rank is ()."""
        return self._shape.get(tensor, ())

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
        for number, each in enumerate(inputs):
            if isinstance(each, np.ndarray):
                name = f"{output}/{op_type}_{number}"
                self.model.graph.initializer.append(numpy_helper.from_array(each, name))
                each = name
            names.append(each)
        node = helper.make_node(op_type, names, [output], name=f"{output}/{op_type}", **attributes)
        nodes = list(self.model.graph.node)
        at = len(nodes) if before is None else nodes.index(before)
        self.model.graph.node.insert(at, node)
        return output

    def set_outputs(self, outputs: dict[str, tuple[int, ...]]) -> None:
        """Make the named tensors the outputs, in this order, float32 with these shapes."""
        infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        _refill(self.model.graph.output, infos)

    def finished(self, head: str) -> onnx.ModelProto:
        """The rewritten model, checked, marked with its head. Raises UserError when onnx's checker refuses it."""
        entry = self.model.metadata_props.add()
        entry.key, entry.value = HEAD_KEY, head
        try:
            onnx.checker.check_model(self.model, full_check=True)
        except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
            raise UserError(f"the graph after surgery is not valid ONNX: {str(error).splitlines()[0]}") from None
        return self.model


def attribute(node: onnx.NodeProto, name: str, default=None):
    """The value of a node's attribute, or `default`."""
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def _refill(field, values) -> None:
    values = list(values)
    del field[:]
    field.extend(values)
