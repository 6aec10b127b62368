"""Opset 13 at least, because before it a Softmax flattens all axes from its own on, which is another function.

    opset 11, 12        →        opset 13, by onnx's own version converter

Later opsets stay as they are.
"""

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass

FIRST_OPSET = 13  # the first in which Softmax does not flatten axes


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether the opset is below 13."""
    return graph.opset < FIRST_OPSET


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Convert the model. Raises UserError when the converter refuses it."""
    graph.convert(FIRST_OPSET)


PASS = Pass("raise_opset", needed, rewrite)
