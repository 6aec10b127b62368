"""Graphs with a DFL: a Softmax over the bins of each side decodes box maps, in the graph or after it."""

from lib.detector.families.dfl import Dfl
from lib.graph.families import GraphFamily, register, sides
from lib.graph.surgery import gfl
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import PlacedMaps
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, equalize, group_channels
from lib.graph.surgery.passes.cut_maps import cut_maps
from lib.step.errors import UserError


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph with bins."""
    try:
        return sides.recognize(graph, Dfl)
    except UserError:
        if form := gfl.recognize(graph):
            return form
        raise


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Passes that cut and, for the head `single`, decode again; another author's head is also equalized."""
    if not isinstance(form.read, PlacedMaps):
        return sides.passes(form, head)
    return (cut_maps(gfl.find_maps), *sides.single(head), equalize.PASS, group_channels.PASS)


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """The head, family, classes and sigmoids."""
    if not isinstance(form.read, PlacedMaps):
        return sides.described(graph, form)
    return sides.not_decoded(form, "GFL, not decoded", f"{form.spec.family.bins} bins")


register(GraphFamily(Dfl, recognize, passes, described))
