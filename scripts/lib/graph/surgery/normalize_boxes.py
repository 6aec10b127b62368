"""Boxes divided by the input's width and height, so that they share the scores' range 0..1 and its INT8 scale.

    boxes (pixels) ─┐                      boxes ─ Mul(1/W, 1/H, 1/W, 1/H) ─┐
                    Concat       →                                          Concat
    scores ─────────┘                      scores ──────────────────────────┘

Where boxes already come from a Mul by a constant (the strides), that constant takes the division: no node is added.
"""

import numpy as np

from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph


def needed(graph: Graph) -> bool:
    """Always: a detector whose boxes were divided is one that went through this surgery, and is not asked."""
    return True


def rewrite(graph: Graph) -> None:
    """Divide cx and w by the input's width, cy and h by its height."""
    detector = find_detector(graph)
    _, _, height, width = graph.shape(graph.input)
    inverse = 1 / np.array([width, height, width, height], np.float32).reshape(1, 4, 1)
    factor, data = inverse, detector.boxes
    scaling = graph.producer(detector.boxes)
    if scaling.op_type == "Mul" and len(graph.consumers(detector.boxes)) == 1:
        for strides, other in (scaling.input, scaling.input[::-1]):
            if (constant := graph.constant(strides)) is not None:
                factor, data = constant * inverse, other
    joined = graph.producer(detector.joined)
    joined.input[0] = graph.add("Mul", [data, factor], f"{detector.boxes}/normalized", before=joined)
