"""The head `split` for a model whose anchors share the scores of their cell: each anchor gets a copy of the scores.

Conv 4A ─ Sigmoid ─┐                        Conv 4A, filters sorted ─ Sigmoid ─ box_S         [1, 4*A, H/S, W/S]
Conv A  ─ Sigmoid ─┼ Concat ─ … ─ output →  Conv A ─ Sigmoid ─────────────────── objectness_S  [1, A,   H/S, W/S]
Conv C  ─ Softmax ─┘                        Conv C ─ Softmax ─ Conv 1x1 ──────── scores_S      [1, C*A, H/S, W/S]

The 1x1 convolution copies each score for each anchor. Its weights are zeros and ones, which are exact in INT8.
"""

import numpy as np

from lib.detector.head import SPLIT
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always
from lib.graph.surgery.passes.cut_maps import own_tensor
from lib.graph.surgery.shared_classes import by_quantity, find_maps


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Make box, objectness and scores of each layer the outputs."""
    spec, outputs, parts = form.spec, {}, iter(find_maps(graph))
    for layer in spec.family.layers:
        count = len(layer.anchors)
        box, objectness, scores = layer.maps(spec.classes)
        own_tensor(graph, next(parts), f"{box.name}/logits", by_quantity(count))
        own_tensor(graph, next(parts), f"{objectness.name}/logits")
        for output in (box, objectness):
            graph.add("Sigmoid", [f"{output.name}/logits"], output.name)
        copies = np.repeat(np.eye(spec.classes, dtype=np.float32), count, axis=0)[:, :, None, None]
        own_tensor(graph, next(parts), f"{scores.name}/logits")
        once = graph.add("Softmax", [f"{scores.name}/logits"], f"{scores.name}/once", axis=1)
        graph.add("Conv", [once, copies], scores.name, kernel_shape=[1, 1])
        outputs |= {output.name: output.shape(spec.imgsz) for output in (box, objectness, scores)}
    graph.set_outputs(outputs)


def changed(form: OutputForm) -> OutputForm:
    """The head is `split`."""
    return form.with_head(SPLIT)


PASS = Pass("shared_classes_split", always, rewrite, changed)
