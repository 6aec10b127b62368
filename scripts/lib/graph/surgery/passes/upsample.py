"""Upsampling as the operator that the NPU has for it.

    [1, C, H, W] ─ Transpose 2, 3, 0, 1 ─ GatherND rows, columns ─ Transpose 2, 3, 0, 1 ─ [1, C, sH, tW]

    [1, C, H, W] ─ Resize nearest, by s and t ─ [1, C, sH, tW]

torch 2.4's dynamo exporter picks each value by its place. A GatherND is no operator of the NPU.
"""

import numpy as np

from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.passes import Pass


def needed(graph: Graph, form) -> bool:
    """Whether a map is upsampled so."""
    return any(_upsampled(graph, node) for node in graph.model.graph.node)


def rewrite(graph: Graph, form) -> None:
    """Replace each."""
    for node in list(graph.model.graph.node):
        if match := _upsampled(graph, node):
            given, scales = match
            [output] = node.output
            settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            graph.add("Resize", [given, "", np.array(scales, np.float32)], output, before=node, **settings)
            graph.model.graph.node.remove(node)


def _upsampled(graph: Graph, node) -> tuple[str, tuple[int, ...]] | None:
    """The map that is upsampled and its scales, where `node` is the last of the pattern."""
    gather = graph.producer(node.input[0]) if _swaps(node) else None
    if gather is None or gather.op_type != "GatherND" or attribute(gather, "batch_dims", 0):
        return None
    first, places = graph.producer(gather.input[0]), graph.constant(gather.input[1])
    if first is None or not _swaps(first) or places is None or places.ndim != 3 or not all(graph.shape(first.input[0])):
        return None
    _, _, height, width = graph.shape(first.input[0])
    scales = (places.shape[0] // height, places.shape[1] // width)
    expected = np.stack(np.indices((height * scales[0], width * scales[1])), axis=-1) // scales
    return (first.input[0], (1, 1, *scales)) if np.array_equal(places, expected) else None


def _swaps(node) -> bool:
    return node.op_type == "Transpose" and attribute(node, "perm") == [2, 3, 0, 1]


PASS = Pass("upsample", needed, rewrite)
