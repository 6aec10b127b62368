"""The family's maps become the outputs, cut right after their convolutions, whatever the graph does after that.

… ─ Conv K ─ Split ┬ Sigmoid ─ Reshape ─ Transpose ─ …          … ─ Conv C  ─ Sigmoid ─ scores_S
                   └──────────────────── Reshape ─ …      →     … ─ Conv 4R ─────────── box_S

Channels of one convolution that belong to two maps get one convolution per map, with the same weights: the NPU has one
scale per tensor, and box logits have a much larger range than probabilities.
"""

import numpy as np
import onnx

from lib.detector.head import SPLIT
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.moved_maps import Part
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always


def cut_maps(find) -> Pass:
    """The pass for a family whose `find(graph)` gives the Part of every map of the head `split`, in order."""

    def rewrite(graph: Graph, form: OutputForm) -> None:
        outputs = {}
        for output, part in zip(form.spec.maps(), find(graph), strict=True):
            if output.role == "box":
                own_tensor(graph, part, output.name)
            else:
                own_tensor(graph, part, f"{output.name}/logits")
                graph.add("Sigmoid", [f"{output.name}/logits"], output.name)
            outputs[output.name] = output.shape(form.spec.imgsz)
        graph.set_outputs(outputs)

    return Pass("cut_maps", always, rewrite, _changed)


def _changed(form: OutputForm) -> OutputForm:
    """The head is `split`."""
    return form.with_head(SPLIT, sigmoid=True, transposed=False, names=None)


def own_tensor(
    graph: Graph, part: Part, name: str, order: np.ndarray | None = None, factor: float = 1.0, offset: float = 0.0
) -> None:
    """Make the tensor `name` with only the channels of `part`, in another `order` if one is given.

    Its values are the part's, times `factor`, plus `offset`.
    """
    same = (factor, offset) == (1, 0)
    if order is None and same and (part.first, part.count) == (0, graph.shape(part.source)[1]):
        graph.rename(part.source, name)
        return
    kept = part.first + (np.arange(part.count) if order is None else order)
    node = graph.producer(part.source)
    if _is_plain_convolution(graph, node):
        weight, *bias = (np.ascontiguousarray(graph.constant(values)[kept]) for values in node.input[1:])
        if not same:
            bias = [(bias[0] if bias else np.zeros(len(kept), weight.dtype)) * factor + weight.dtype.type(offset)]
        graph.add("Conv", [node.input[0], weight * weight.dtype.type(factor), *bias], name)
        graph.model.graph.node[-1].attribute.extend(node.attribute)
        return
    taken = name if same else f"{name}/taken"
    graph.add("Gather", [part.source, kept], taken, axis=1)
    if not same:
        scaled = graph.add("Mul", [taken, np.float32(factor).reshape(1)], f"{name}/scaled")
        graph.add("Add", [scaled, np.float32(offset).reshape(1)], name)


def _is_plain_convolution(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a convolution has one group and constant weights."""
    groups = [entry.i for entry in node.attribute if entry.name == "group"]
    constant = all(graph.constant(name) is not None for name in node.input[1:])
    return node.op_type == "Conv" and groups in ([], [1]) and constant
