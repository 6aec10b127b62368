"""Boxes divided by the input's width and height, so that they share the scores' range 0..1 and its INT8 scale.

    boxes (pixels) ─┐                      boxes ─ Mul(1/W, 1/H, 1/W, 1/H) ─┐
                    Concat       →                                          Concat
    scores ─────────┘                      scores ──────────────────────────┘

Where boxes already come from a Mul by a constant (the strides), that constant takes the division: no node is added.
"""

import numpy as np

from lib.surgery.detector import Detector
from lib.surgery.graph import Graph


def rewrite(graph: Graph, detector: Detector) -> None:
    """Divide cx and w by the input's width, cy and h by its height."""
    _, _, height, width = graph.shape(graph.model.graph.input[0].name)
    inverse = 1 / np.array([width, height, width, height], np.float32).reshape(1, 4, 1)
    scaling = graph.producer(detector.boxes)
    strides = [graph.constant(name) for name in scaling.input]
    if scaling.op_type == "Mul" and strides[1] is not None and len(graph.consumers(detector.boxes)) == 1:
        factor = strides[1] * inverse
        data = scaling.input[0]
    else:
        factor, data = inverse, detector.boxes
    output = graph.producer(graph.output)
    output.input[0] = graph.add("Mul", [data, factor], f"{detector.boxes}/normalized", before=output)
