"""Graphs with a DFL: a Softmax over the bins of each side stands between box maps and boxes."""

from lib.detector.families.dfl import Dfl
from lib.graph.families import GraphFamily, register, sides
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph with bins."""
    form = sides.recognize(graph)
    return form if isinstance(form.spec.family, Dfl) else None


register(GraphFamily(Dfl, recognize, sides.passes, sides.described))
