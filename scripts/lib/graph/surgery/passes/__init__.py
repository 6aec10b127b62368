"""A file for each pass: its pattern drawn at the top, what it needs and rewrites below, and its `PASS`.

A graph's family (lib.graph.families) says which passes it takes, in their order.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.proof import TOLERANCE, Tolerance


def unchanged(form: OutputForm) -> OutputForm:
    """What most passes do to the form of the outputs."""
    return form


def always(graph: Graph, form: OutputForm) -> bool:
    """The `needed` of a pass that follows another one."""
    return True


@dataclass(frozen=True)
class Pass:
    """A rewrite of a graph that leaves alone what it predicts.

    needed(graph, form): whether there is anything to do. rewrite(graph, form): does it; with `measures_images` it is
    given images too, uint8 RGB [H, W, 3] of the model's size. changed(form): the form in which predictions leave the
    graph afterwards. tolerance: how far they may move.
    """

    name: str
    needed: Callable[[Graph, OutputForm], bool]
    rewrite: Callable[..., None]
    changed: Callable[[OutputForm], OutputForm] = unchanged
    tolerance: Tolerance = TOLERANCE
    measures_images: bool = False

    def apply(self, graph: Graph, form: OutputForm, images: list[np.ndarray]) -> OutputForm:
        """Rewrite `graph`; returns its form afterwards. Raises UserError when the graph is not valid then."""
        self.rewrite(graph, form, *([images] if self.measures_images else []))
        graph.tidy()
        graph.check()
        return self.changed(form)
