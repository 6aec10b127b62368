"""The classes of classifiers as logits: without the Softmax at the end.

    … ─ Gemm ─ [1, classes] ─ Softmax ─ [1, classes]

    … ─ Gemm ─ [1, classes]

The toolkit leaves the Softmax in FP16, which the NPU is said not to compute. The order of the classes stays the same.
"""

import re

import onnx

from lib.detector.head import CLASSIFY
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.passes import Pass

LOGITS = "logits"


def needed(graph: Graph, form) -> bool:
    """Whether a classifier ends in a Softmax over the classes, and is of Ultralytics or also gives what it is made of.

    Ultralytics' classifiers return both; their own export leaves the logits out, PyTorch's does not.
    """
    is_known = metadata(graph.model).get("task") == CLASSIFY or len(graph.outputs) == 2
    return is_known and _softmax(graph) is not None


def rewrite(graph: Graph, form) -> None:
    """Make what the Softmax reads the output."""
    graph.free_names(re.compile(LOGITS))
    node = _softmax(graph)
    shape = graph.shape(node.output[0])
    graph.rename(node.input[0], LOGITS)
    graph.set_outputs({LOGITS: shape})


def with_softmax(model: onnx.ModelProto, before: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph of logits with the outputs of the graph `before` again, for the proof."""
    graph, given = Graph(model), Graph(before)
    shape = graph.shape(LOGITS)
    probabilities, logits = graph.add("Softmax", [LOGITS], "probabilities", axis=-1), _softmax(given).input[0]
    graph.set_outputs({LOGITS if name == logits else probabilities: shape for name in given.outputs})
    graph.tidy()
    return graph.model


def _softmax(graph: Graph) -> onnx.NodeProto | None:
    """The Softmax over the classes [1, C] that is the only output, or the only one besides what it reads."""
    ends = [name for name in graph.outputs if not graph.consumers(name)]
    node = graph.producer(ends[0]) if len(ends) == 1 else None
    if node is None or node.op_type != "Softmax" or graph.producer(node.input[0]) is None:
        return None
    if not set(graph.outputs) <= {node.input[0], node.output[0]}:
        return None
    shape = graph.shape(node.output[0])
    return node if len(shape) == 2 and attribute(node, "axis", -1) % 2 == 1 else None


PASS = Pass("logits", needed, rewrite)
