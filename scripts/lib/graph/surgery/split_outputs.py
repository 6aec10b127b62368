"""Outputs a stride each, cut where they leave their last convolution; the boxes are decoded outside.

Conv ─ box map   ─ Reshape ─ Concat ─ DFL? ─ …          Conv ─ box_S                 [1, 4*R, H/S, W/S] or [1, 4, …]
                                                →
Conv ─ class map ─ Reshape ─ Concat ─ Sigmoid ─ …       Conv ─ Sigmoid ─ scores_S    [1, C, H/S, W/S]

With R bins of a DFL, or the four distances. What an end-to-end head selects its best predictions with (TopK, Gather …)
falls away as the decoding does.
"""

from lib.detector.head import STRIDES
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.step.errors import UserError


def needed(graph: Graph) -> bool:
    """Always: a model that is split already is no detector with one output, and takes `split_again`."""
    return True


def rewrite(graph: Graph) -> None:
    """Make box_8, scores_8, box_16, scores_16, box_32, scores_32 the outputs."""
    detector = find_detector(graph)
    outputs = {}
    for stride, box, scores in zip(STRIDES, detector.box_maps, detector.class_maps):
        outputs[graph.rename(box, f"box_{stride}")] = graph.shape(box)
        outputs[graph.add("Sigmoid", [scores], f"scores_{stride}")] = graph.shape(scores)
    graph.set_outputs(outputs)


def require_strides(graph: Graph, maps) -> None:
    """Raises UserError unless `maps`, largest first, are of strides 8, 16 and 32."""
    _, _, height, width = graph.shape(graph.input)
    expected = [(height // stride, width // stride) for stride in STRIDES]
    found = [graph.shape(name)[2:] for name in maps]
    if found != expected:
        raise UserError(f"feature maps of {found} cells at the outputs; strides {STRIDES} would give {expected}")
