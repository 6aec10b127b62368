"""A model that came split already (by Rockchip's exporter, say) gets our order, our names and one sigmoid.

box map, class map, sum of scores? ; a stride each, in any order    →    box_S, scores_S a stride each

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
    """Scores are probabilities, and the outputs stand in their order."""
    return replace(form, sigmoid=True, names=None)


# Names and order are ours afterwards.
PASS = Pass("split_again", always, rewrite, changed)
