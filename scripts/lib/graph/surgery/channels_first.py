"""Predictions along the last axis, as Ultralytics exports them.

Concat [1, 4+C, N] ─ Transpose ─ output [1, N, 4+C]        →        Concat ─ output [1, 4+C, N]
"""

from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph


def needed(graph: Graph) -> bool:
    """Whether the output is transposed."""
    return find_detector(graph).transposed


def rewrite(graph: Graph) -> None:
    """Make the Concat the output, under the output's name."""
    joined, name = find_detector(graph).joined, graph.output
    shape = graph.shape(joined)
    graph.producer(name).output[0] = f"{name}/transposed"
    graph.rename(joined, name)
    graph.set_outputs({name: shape})
