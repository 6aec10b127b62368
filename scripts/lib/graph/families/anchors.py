"""Graphs with anchors: none is recognized by its structure yet; their metadata says what they are."""

from lib.detector.families.anchors import Anchors
from lib.detector.head import SINGLE
from lib.graph.families import GraphFamily, register
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, anchors_single, anchors_split, equalize


def recognize(graph: Graph) -> None:
    """No form without metadata."""


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Cut at the maps, or decoded anew, and equalized."""
    return ((anchors_single if head == SINGLE else anchors_split).PASS, equalize.PASS)


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """Head and classes."""
    family = form.spec.family
    return {
        "head": f"{family.title}, strides {', '.join(map(str, family.strides))}",
        "classes": str(form.spec.classes),
    }


register(GraphFamily(Anchors, recognize, passes, described))
