"""A model that is already split (by Rockchip's exporter, say) gets this program's order and names, and one sigmoid.

box map, class map, sum of scores? per stride, in any order    →    box_S, scores_S per stride

Rockchip's exporter adds a third output per stride, the sum of the class scores; it is left out.
"""

from dataclasses import replace

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Order, name and complete the outputs."""
    outputs = {}
    for name, output in zip(form.names, form.spec.maps(), strict=True):
        shape = graph.shape(name)
        if output.role == "scores" and not form.sigmoid:
            outputs[graph.add("Sigmoid", [name], output.name)] = shape
        else:
            outputs[graph.rename(name, output.name)] = shape
    graph.set_outputs(outputs)


def changed(form: OutputForm) -> OutputForm:
    """Scores are probabilities, and the outputs are in the head's order."""
    return replace(form, sigmoid=True, names=None)


# It always runs, to set names and order.
PASS = Pass("split_again", always, rewrite, changed)
