"""Outputs a stride each, cut where they leave their last convolution; the DFL and the boxes are decoded outside.

Conv ─ box map   ─ Reshape ─ Concat ─ DFL ─ …           Conv ─ box_S                 [1, 4*16, H/S, W/S]
                                                →
Conv ─ class map ─ Reshape ─ Concat ─ Sigmoid ─ …       Conv ─ Sigmoid ─ scores_S    [1, C, H/S, W/S]
"""

from lib.errors import UserError
from lib.head import STRIDES
from lib.surgery.detector import Detector
from lib.surgery.graph import Graph


def rewrite(graph: Graph, detector: Detector) -> None:
    """Make box_8, scores_8, box_16, scores_16, box_32, scores_32 the outputs.

    Raises UserError when the feature maps are not those of strides 8, 16 and 32.
    """
    _, _, height, width = graph.shape(graph.model.graph.input[0].name)
    expected = [(height // stride, width // stride) for stride in STRIDES]
    for maps in (detector.box_maps, detector.class_maps):
        found = [graph.shape(name)[2:] for name in maps]
        if found != expected:
            raise UserError(f"feature maps of {found} cells at the outputs; strides {STRIDES} would give {expected}")
    outputs = {}
    for stride, box, scores in zip(STRIDES, detector.box_maps, detector.class_maps):
        outputs[_named(graph, box, f"box_{stride}")] = graph.shape(box)
        outputs[graph.add("Sigmoid", [scores], f"scores_{stride}")] = graph.shape(scores)
    graph.set_outputs(outputs)


def _named(graph: Graph, tensor: str, name: str) -> str:
    """Rename the tensor that a node makes; its other readers follow."""
    for node in graph.consumers(tensor):
        node.input[list(node.input).index(tensor)] = name
    node = graph.producer(tensor)
    node.output[list(node.output).index(tensor)] = name
    return name
