"""Graphs without a DFL, whose box maps contain the sides' distances."""

from lib.detector.families.distances import Distances
from lib.graph.families import GraphFamily, register, sides
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph without bins."""
    return sides.recognize(graph, Distances)


register(GraphFamily(Distances, recognize, sides.passes, sides.described))
