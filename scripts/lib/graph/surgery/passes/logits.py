"""The classes of Ultralytics' classifiers as logits: without the Softmax at the end.

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
    """Whether a classifier of Ultralytics ends in a Softmax over the classes."""
    return metadata(graph.model).get("task") == CLASSIFY and _softmax(graph) is not None


def rewrite(graph: Graph, form) -> None:
    """Make what the Softmax reads the output."""
    graph.free_names(re.compile(LOGITS))
    node = _softmax(graph)
    shape = graph.shape(node.output[0])
    graph.rename(node.input[0], LOGITS)
    graph.set_outputs({LOGITS: shape})


def with_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph of logits that has the Softmax again, for the proof."""
    graph = Graph(model)
    shape = graph.shape(LOGITS)
    graph.set_outputs({graph.add("Softmax", [LOGITS], "probabilities", axis=-1): shape})
    graph.tidy()
    return graph.model


def _softmax(graph: Graph) -> onnx.NodeProto | None:
    """The Softmax over the classes [1, C] that is the only output."""
    node = graph.producer(graph.outputs[0]) if len(graph.outputs) == 1 else None
    if node is None or node.op_type != "Softmax" or graph.producer(node.input[0]) is None:
        return None
    shape = graph.shape(node.output[0])
    return node if len(shape) == 2 and attribute(node, "axis", -1) % 2 == 1 else None


PASS = Pass("logits", needed, rewrite)
