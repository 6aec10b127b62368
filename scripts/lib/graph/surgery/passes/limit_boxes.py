"""Limits boxes to the image, centres and sizes, so that INT8 uses all its steps for 0..1.

Concat [1, 5, 1, N] ─ Slice        →        Concat [1, 5, 1, N] ─ Clip 0..1 ─ Slice

A large object's w may be 1.2 of the width, and all values would then share a scale of 1.2 / 255. This is a separate
pass so that the decoding before it is also compared for boxes that extend beyond the image.
"""

from dataclasses import replace

import numpy as np

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always
from lib.graph.surgery.passes.single_output import BOXES


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Insert the Clip."""
    [reader] = graph.consumers(BOXES)
    limits = (np.array(limit, np.float32) for limit in (0, 1))
    reader.input[0] = graph.add("Clip", [BOXES, *limits], f"{BOXES}/limited", before=reader)


def changed(form: OutputForm) -> OutputForm:
    """Boxes lie in the image."""
    return replace(form, clipped=True)


PASS = Pass("limit_boxes", always, rewrite, changed)
