"""Opset 13 at least: before it a Softmax flattens everything from its axis on, so one on axis 1 is another function.

    opset 11, 12        →        opset 13, by onnx's own version converter

Later opsets stay as they are.
"""

import onnx

from lib.errors import UserError
from lib.surgery.detector import FIRST_OPSET
from lib.surgery.graph import Graph


def needed(graph: Graph) -> bool:
    """Whether the opset is below 13."""
    return graph.opset < FIRST_OPSET


def rewrite(graph: Graph) -> None:
    """Convert the model. Raises UserError when the converter refuses it."""
    try:
        graph.model = onnx.version_converter.convert_version(graph.model, FIRST_OPSET)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the model of opset {graph.opset} cannot be raised to {FIRST_OPSET}: {reason}") from None
