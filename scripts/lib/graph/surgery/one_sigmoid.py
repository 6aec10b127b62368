"""Exactly one sigmoid on the class scores: a missing one is added, more than one is refused.

    class maps ─ Concat ─ Sigmoid? ─ scores        →        class maps ─ Concat ─ Sigmoid ─ scores

Only the class branch counts, between the last convolution and the output; the sigmoids inside SiLU activations lie
above it and are never met. Removing a second sigmoid would change what the model computes, so that is left to the
one who exported it.
"""

from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.step.errors import UserError


def needed(graph: Graph) -> bool:
    """Whether the sigmoid is missing. Raises UserError when there are several."""
    sigmoids = find_detector(graph).sigmoids
    if sigmoids > 1:
        raise UserError(
            f"the class scores go through {sigmoids} sigmoids, so they cannot be right; export the model anew"
        )
    return sigmoids == 0


def rewrite(graph: Graph) -> None:
    """Add the sigmoid."""
    detector = find_detector(graph)
    joined = graph.producer(detector.joined)
    joined.input[1] = graph.add("Sigmoid", [detector.scores], f"{detector.scores}/probability", before=joined)
