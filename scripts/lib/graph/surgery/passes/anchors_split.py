"""The head `split` for a model with anchors: the maps, which lib.graph.darknet named, become the outputs.

… ─ Conv           ─ box_S        ─┐                     box_S         [1, 4*A, H/S, W/S]
… ─ Conv ─ Sigmoid ─ objectness_S ─┼ … ─ output    →     objectness_S  [1, A,   H/S, W/S]
… ─ Conv ─ Sigmoid ─ scores_S     ─┘                     scores_S      [1, C*A, H/S, W/S]
"""

from lib.detector.head import SPLIT
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.step.errors import UserError


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether the maps are not the outputs yet."""
    return len(graph.outputs) == 1


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Make the maps of every layer the outputs. Raises UserError when the graph lacks one."""
    maps = {output.name: graph.shape(output.name) for output in form.spec.maps()}
    if missing := [name for name, shape in maps.items() if len(shape) != 4]:
        raise UserError(f"the graph lacks the maps {', '.join(missing)} that its metadata names; convert it again")
    graph.set_outputs(maps)


def changed(form: OutputForm) -> OutputForm:
    """The head is `split`."""
    return form.with_head(SPLIT)


PASS = Pass("anchors_split", needed, rewrite, changed)
