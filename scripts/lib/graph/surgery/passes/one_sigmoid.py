"""Exactly one sigmoid on the class scores: a missing one is added. More than one is refused when the head is found.

    class maps ─ Concat ─ Sigmoid? ─ scores        →        class maps ─ Concat ─ Sigmoid ─ scores

Only the class branch counts, between the last convolution and the output; the sigmoids inside SiLU activations come
before it. Removing a second sigmoid would change what the model computes, so that is left to whoever exported it.
"""

from dataclasses import replace

from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether the sigmoid is missing."""
    return not form.sigmoid


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Add the sigmoid."""
    detector = find_detector(graph)
    [joined] = [node for node in graph.consumers(detector.scores) if node.op_type == "Concat"]
    probability = graph.add("Sigmoid", [detector.scores], f"{detector.scores}/probability", before=joined)
    joined.input[list(joined.input).index(detector.scores)] = probability


def changed(form: OutputForm) -> OutputForm:
    """Scores are probabilities."""
    return replace(form, sigmoid=True)


PASS = Pass("one_sigmoid", needed, rewrite, changed)
