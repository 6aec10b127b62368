"""Opset 19 at most, because rknn-toolkit2 2.3.2 reads nothing newer.

opset 20 and above        →        opset 19, by onnx's own version converter
"""

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass

NEWEST_OPSET = 19


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether the opset is above 19."""
    return graph.opset > NEWEST_OPSET


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Convert the model. Raises UserError when the converter refuses it."""
    graph.convert(NEWEST_OPSET)


PASS = Pass("lower_opset", needed, rewrite)
