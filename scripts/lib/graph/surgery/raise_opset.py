"""Opset 13 at least: before it a Softmax flattens everything from its axis on, so one on axis 1 is another function.

    opset 11, 12        →        opset 13, by onnx's own version converter

Later opsets stay as they are.
"""

from lib.graph.surgery.detector import FIRST_OPSET
from lib.graph.surgery.graph import Graph


def needed(graph: Graph) -> bool:
    """Whether the opset is below 13."""
    return graph.opset < FIRST_OPSET


def rewrite(graph: Graph) -> None:
    """Convert the model. Raises UserError when the converter refuses it."""
    graph.convert(FIRST_OPSET)
