"""A 4-D output: of a 3-D one the board's zero-copy path writes only half.

Concat ─ output [1, 4+C, N]        →        Concat ─ Reshape ─ output [1, 4+C, N, 1]
"""

import numpy as np

from lib.graph.surgery.graph import Graph


def needed(graph: Graph) -> bool:
    """Whether the output has three dimensions."""
    return len(graph.shape(graph.output)) == 3


def rewrite(graph: Graph) -> None:
    """Append a last axis of size 1 to the output."""
    name = graph.output
    shape = (*graph.shape(name), 1)
    flat = graph.rename(name, f"{name}/3d")
    graph.add("Reshape", [flat, np.array(shape, np.int64)], name)
    graph.set_outputs({name: shape})
