"""Graphs without a DFL, whose box maps contain the sides' distances."""

from dataclasses import replace

from lib.detector.families.distances import Distances
from lib.graph.families import GraphFamily, register, sides
from lib.graph.surgery import rtmdet
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, group_channels
from lib.graph.surgery.passes.cut_maps import cut_maps
from lib.graph.surgery.rtmdet import MapsInPixels


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph without bins."""
    if form := rtmdet.recognize(graph):
        return form
    form = sides.recognize(graph, Distances)
    return replace(form, input=rtmdet.INPUT) if form and form.spec.family.corner else form


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Passes that cut and, for the head `single`, decode again; those of RTMDet also group channels for INT8."""
    grouped = (group_channels.PASS,) if form.spec.family.corner else ()
    if not isinstance(form.read, MapsInPixels):
        return (*sides.passes(form, head), *grouped)
    return (cut_maps(rtmdet.find_maps), *sides.single(head), *grouped)


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """The head, family and classes."""
    if not isinstance(form.read, MapsInPixels):
        return sides.described(graph, form)
    return sides.not_decoded(form, "RTMDet, not decoded, distances in pixels")


register(GraphFamily(Distances, recognize, passes, described))
