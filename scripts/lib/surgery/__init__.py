"""Graph surgery: from an exported YOLOv8-style ONNX to one whose outputs an INT8-only NPU can carry.

`adapt` runs the passes of a head in order; each pass is a module of its own with its pattern drawn at the top.
"""

import onnx

from lib.head import SINGLE, SPLIT
from lib.surgery import four_d_output, normalize_boxes, one_sigmoid, split_outputs
from lib.surgery.detector import find_detector
from lib.surgery.graph import Graph

PASSES = {
    SINGLE: (one_sigmoid, normalize_boxes, four_d_output),
    SPLIT: (one_sigmoid, split_outputs),
}


def adapt(model: onnx.ModelProto, head: str) -> onnx.ModelProto:
    """A copy of `model` with the outputs of `head`.

    Raises UserError when the graph is no YOLOv8-style detector or one of a form that is not handled.
    """
    graph = Graph(model)
    for each in PASSES[head]:
        each.rewrite(graph, find_detector(graph))
        graph.tidy()
    return graph.finished(head)
