"""Rewrites a mean over rows and columns as the operator that the toolkit supports.

    [1, C, H, W] ─ ReduceMean axes 2, 3, keepdims 0 ─ [1, C]

    [1, C, H, W] ─ GlobalAveragePool ─ [1, C, 1, 1] ─ Flatten ─ [1, C]

Classifiers end like this. rknn-toolkit2 2.3.2 keeps both dimensions of the first form and then refuses its own graph
(`Invalid rank for input … Got: 4 Expected: 2`).
"""

from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.passes import Pass


def needed(graph: Graph, form) -> bool:
    """Whether there is such a mean."""
    return any(_is_dropped_mean(graph, node) for node in graph.model.graph.node)


def rewrite(graph: Graph, form) -> None:
    """Replace each such mean."""
    for node in [node for node in graph.model.graph.node if _is_dropped_mean(graph, node)]:
        [output] = node.output
        pooled = graph.add("GlobalAveragePool", [node.input[0]], f"{output}/pooled", before=node)
        graph.add("Flatten", [pooled], output, before=node, axis=1)
        graph.model.graph.node.remove(node)


def _is_dropped_mean(graph: Graph, node) -> bool:
    if node.op_type != "ReduceMean" or attribute(node, "keepdims", 1) or len(graph.shape(node.input[0])) != 4:
        return False
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1:  # an input since opset 18
        axes = graph.constant(node.input[1])
    return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


PASS = Pass("pool_globally", needed, rewrite)
