"""The head `single` for a model with anchors: decoded with operators of the NPU, boxes divided by the input's size.

box_S, objectness_S, scores_S ─ decoding ─ output [1, 4+C, N]         or the maps themselves are the outputs

                                 →  the same maps ─ decoding for the NPU ─ Reshape ─ output [1, 4+C, N, 1]
"""

import numpy as np

from lib.detector.head import BOX, SINGLE
from lib.graph.surgery.anchor_nodes import add_predictions
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, anchors_split

OUTPUT = "output0"  # the name if the graph has no single output


def needed(graph: Graph, form: OutputForm) -> bool:
    """Whether the output has no fourth axis yet, or there are several outputs."""
    return len(graph.outputs) > 1 or len(graph.shape(graph.output)) == 3


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Decode again from the maps. Raises UserError when the graph lacks one."""
    spec, output = form.spec, OUTPUT
    if anchors_split.needed(graph, form):
        output = graph.output
        anchors_split.rewrite(graph, form)
        graph.tidy()
    predictions = add_predictions(graph, spec.family, spec.classes, spec.imgsz, for_npu=True)
    shape = (1, BOX + spec.classes, spec.family.points(spec.imgsz), 1)
    graph.add("Reshape", [predictions, np.array(shape, np.int64)], output)
    graph.set_outputs({output: shape})


def changed(form: OutputForm) -> OutputForm:
    """The head is `single`."""
    return form.with_head(SINGLE)


PASS = Pass("anchors_single", needed, rewrite, changed)
