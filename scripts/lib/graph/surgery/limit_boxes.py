"""Boxes limited to the image: centres to lie in it, sizes to be no larger. So INT8 spends its steps on 0..1 alone.

Concat [1, 5, 1, N] ─ Slice        →        Concat [1, 5, 1, N] ─ Clip 0..1 ─ Slice

A large object's w may come out at 1.2 of the width, and all values would share a scale of 1.2 / 255. A pass of its own,
so that the decoding before it is compared in full, with boxes that reach beyond the image too.
"""

import numpy as np

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.single_output import BOXES


def needed(graph: Graph) -> bool:
    """Always: it follows the pass that joins the boxes."""
    return True


def rewrite(graph: Graph) -> None:
    """Insert the Clip."""
    [reader] = graph.consumers(BOXES)
    limits = (np.array(each, np.float32) for each in (0, 1))
    reader.input[0] = graph.add("Clip", [BOXES, *limits], f"{BOXES}/limited", before=reader)
