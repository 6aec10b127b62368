"""Exactly one sigmoid on the class scores: a missing one is added, more than one is refused.

    class maps ─ Concat ─ Sigmoid? ─ scores        →        class maps ─ Concat ─ Sigmoid ─ scores

Only the class branch counts; the sigmoids inside SiLU activations lie above the class maps and are never met.
"""

from lib.errors import UserError
from lib.surgery.detector import Detector
from lib.surgery.graph import Graph


def rewrite(graph: Graph, detector: Detector) -> None:
    """Add the sigmoid when there is none. Raises UserError when there are several."""
    if detector.sigmoids > 1:
        raise UserError(
            f"the class scores go through {detector.sigmoids} sigmoids; scores of such a model are wrong, export anew"
        )
    if detector.sigmoids == 0:
        output = graph.producer(graph.output)
        output.input[1] = graph.add("Sigmoid", [detector.scores], f"{detector.scores}/probability", before=output)
