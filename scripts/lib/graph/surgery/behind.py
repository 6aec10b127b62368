"""Runs the part of a graph after its feature maps on known values, to find out what it computes from them."""

from functools import cached_property

import numpy as np
import onnx
from onnx import helper

from lib.graph.onnx_file import metadata
from lib.graph.onnx_session import open_session
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.prepare import dequantize

# How far an output may be from the expected one, as a fraction of the largest value of its kind.
ROUNDING = {onnx.TensorProto.FLOAT: 1e-5, onnx.TensorProto.FLOAT16: 1e-2}
# The same where the graph was quantized: its grids and anchors are on steps of 1/255 of their range.
ROUNDED = 1e-3
SATURATED = 30.0  # a logit whose sigmoid is 1 in float32


class Behind:
    """The part of a graph after its maps, ready to run, with its outputs for zeros, noise and large tx, ty."""

    def __init__(self, graph: Graph, maps: tuple[str, ...]):
        self.imgsz = graph.imgsz
        self.shapes = [graph.shape(name)[1:] for name in maps]
        self.strides = [self.imgsz.height // height for _, height, _ in self.shapes]
        self.sizes = [graph.shape(name) for name in graph.outputs]
        self._dtypes = [graph.dtype(name) or onnx.TensorProto.FLOAT for name in maps]
        self.rounding = max(ROUNDING.get(dtype, 1e-2) for dtype in self._dtypes)
        if dequantize.METADATA_KEY in metadata(graph.model):
            self.rounding = max(self.rounding, ROUNDED)
        self._session = open_session(_behind(graph, maps).SerializeToString())
        self._maps = maps
        rng = np.random.default_rng(0)
        self.noise = [rng.normal(0, 1.5, shape).astype(np.float32) for shape in self.shapes]
        self.of_noise = self._run(self.noise)

    @cached_property
    def of_zeros(self) -> list[np.ndarray]:
        """The outputs for maps of zeros."""
        return self._run([np.zeros(shape) for shape in self.shapes])

    def of_far_centres(self, per_anchor: int) -> list[np.ndarray]:
        """The outputs for maps of zeros, except for tx and ty, whose sigmoids are 1."""
        maps = [np.zeros(shape, np.float32).reshape(-1, per_anchor, *shape[1:]) for shape in self.shapes]
        for values in maps:
            values[:, :2] = SATURATED
        return self._run([values.reshape(shape) for values, shape in zip(maps, self.shapes)])

    def _run(self, maps: list[np.ndarray]) -> list[np.ndarray]:
        feeds = {
            name: values[None].astype(helper.tensor_dtype_to_np_dtype(dtype))
            for name, values, dtype in zip(self._maps, maps, self._dtypes)
        }
        for other in self._session.get_inputs():
            # The image, in case something is computed from its shape.
            feeds.setdefault(other.name, np.zeros(other.shape, np.float16 if "16" in other.type else np.float32))
        with np.errstate(over="ignore"):
            return [output.astype(np.float32) for output in self._session.run(None, feeds)]


def _behind(graph: Graph, maps: tuple[str, ...]) -> onnx.ModelProto:
    """The nodes after the maps as a separate model, whose inputs are the maps."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    needed, kept = set(graph.outputs), []
    for node in reversed(model.graph.node):
        if needed & set(node.output) and not set(node.output) <= set(maps):
            kept.append(node)
            needed |= set(node.input)
    kept.reverse()
    inputs = [tensor for tensor in model.graph.input if tensor.name in needed]
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    known = {tensor.name for tensor in initializers}
    typed = [
        helper.make_tensor_value_info(name, graph.dtype(name) or onnx.TensorProto.FLOAT, graph.shape(name))
        for name in maps
    ]
    part = helper.make_graph(
        kept, "behind", [*typed, *(tensor for tensor in inputs if tensor.name not in known)], model.graph.output
    )
    part.initializer.extend(initializers)
    return helper.make_model(part, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4))


def alike(values: list[np.ndarray], expected: list[np.ndarray], rounding: float) -> bool:
    """Whether arrays are the same except for `rounding`, a fraction of the largest value of each."""
    return all(
        first.shape == second.shape
        and bool(np.abs(first - second).max() <= rounding * max(1.0, float(np.abs(second).max())))
        for first, second in zip(values, expected, strict=True)
    )
