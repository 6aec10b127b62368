"""A 4-D output: of a 3-D one the board's zero-copy path writes only half.

Concat ─ output [1, 4+C, N]        →        Concat ─ Reshape ─ output [1, 4+C, N, 1]
"""

import numpy as np

from lib.surgery.detector import Detector
from lib.surgery.graph import Graph


def rewrite(graph: Graph, detector: Detector) -> None:
    """Append a last axis of size 1 to the output."""
    shape = (*graph.shape(graph.output), 1)
    concat = graph.producer(graph.output)
    name = graph.output
    concat.output[0] = f"{name}/3d"
    graph.add("Reshape", [concat.output[0], np.array(shape, np.int64)], name)
    graph.set_outputs({name: shape})
