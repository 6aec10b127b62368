"""One file per pass: its pattern drawn at the top, then when it is needed and what it rewrites, and its `PASS`.

A graph's family (lib.graph.families) lists the passes that it needs, in order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.proof import TOLERANCE, Tolerance


def unchanged(form: OutputForm) -> OutputForm:
    """The form of the outputs after most passes: the same."""
    return form


def always(graph: Graph, form: OutputForm) -> bool:
    """The `needed` of a pass that always runs."""
    return True


@dataclass(frozen=True)
class Pass:
    """A rewrite of a graph that keeps its predictions.

    needed(graph, form): whether there is anything to do. rewrite(graph, form): does it; with `measures_images` it also
    gets images, uint8 RGB [H, W, 3] of the model's size. changed(form): the form of the outputs afterwards. tolerance:
    how much predictions may change.
    """

    name: str
    needed: Callable[[Graph, OutputForm], bool]
    rewrite: Callable[..., None]
    changed: Callable[[OutputForm], OutputForm] = unchanged
    tolerance: Tolerance = TOLERANCE
    measures_images: bool = False

    def apply(self, graph: Graph, form: OutputForm, images: Sequence[np.ndarray]) -> OutputForm:
        """Rewrite `graph`; return its form afterwards. Raises UserError when the graph is then invalid."""
        self.rewrite(graph, form, *([images] if self.measures_images else []))
        graph.tidy()
        graph.check()
        return self.changed(form)
