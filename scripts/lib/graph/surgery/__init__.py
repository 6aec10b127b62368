"""Graph surgery: from an exported YOLOv8-style ONNX to one whose outputs an INT8-only NPU can carry.

`adapt` runs PREPARATION and the passes of a head, in the order in which they stand here. A pass is a module of its own,
its pattern drawn at the top, with `needed(graph)` and `rewrite(graph)`. After each one the model is checked and must
predict what it predicted before.
"""

from dataclasses import replace

import numpy as np
import onnx

from lib.detector.anchors import from_metadata
from lib.detector.head import HEAD_KEY, SINGLE, SPLIT
from lib.graph.onnx_file import metadata
from lib.graph.surgery import (
    channels_first,
    darknet_single,
    darknet_split,
    equalize,
    float32_weights,
    four_d_output,
    lower_opset,
    normalize_boxes,
    one_sigmoid,
    one_transpose_dfl,
    raise_opset,
    split_again,
    split_outputs,
)
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.proof import HALF_TOLERANCE, TOLERANCE, Form, Witness
from lib.step.errors import UserError

PREPARATION = (float32_weights, raise_opset, lower_opset)
PASSES = {
    SINGLE: (one_transpose_dfl, channels_first, one_sigmoid, normalize_boxes, four_d_output),
    SPLIT: (one_sigmoid, split_outputs),
}
PASSES_OF_SPLIT = (split_again,)
PASSES_OF_DARKNET = {SINGLE: (darknet_single, equalize), SPLIT: (darknet_split, equalize)}
PASSES_ON_IMAGES = (equalize,)  # their rewrite takes images too

# Images for ranges, and for proofs, whose time goes up with each.
MEASURED, PROVEN = 16, 4

# What a pass does to the form in which predictions leave the graph; those not named leave it alone.
CHANGES = {
    channels_first: {"transposed": False},
    one_sigmoid: {"sigmoid": True},
    normalize_boxes: {"normalized": True},
    four_d_output: {"head": SINGLE, "normalized": False},  # the head implies it
    split_outputs: {"head": SPLIT, "sigmoid": True, "transposed": False},
    split_again: {"sigmoid": True, "outputs": None},
    darknet_single: {"head": SINGLE},
    darknet_split: {"head": SPLIT},
}


def adapt(model: onnx.ModelProto, head: str, pictures: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, dict]:
    """A copy of `model` with the outputs of `head`, proven pass by pass, and the record of the proof.

    pictures: uint8 RGB [H, W, 3] of the model's size, none of them of the evaluation set. The graphs are compared on
    the first PROVEN of them and on noise drawn from `seed`; a pass that needs ranges measures them on the first
    MEASURED, or on the noise where there is no picture. The record: `head`, `inputs` (how many), `passes` (name,
    largest differences `box_px` and `score`), and the largest over all. A model that has this head from an earlier
    surgery comes back as it is.

    Raises UserError when the graph is no YOLOv8-style detector and none of lib.graph.darknet, of a form that is not
    handled, or when a pass changes what it predicts.
    """
    graph = Graph(model)
    graph.check()
    if done := head_of(model):
        if done != head:
            raise UserError(f"the model already went through surgery for head '{done}'; give the exported one")
        witness = Witness(model, Form(head=head, darknet=from_metadata(metadata(model))), pictures[:PROVEN], seed)
        return graph.model, _record(head, witness, [])
    form, passes = form_of(graph), passes_of(graph, head)
    witness = Witness(graph.model, form, pictures[:PROVEN], seed)
    measured = pictures[:MEASURED] or witness.inputs
    form, record = _run(PREPARATION, graph, form, witness, measured)
    if head == SINGLE and not form.darknet:
        _require_known_boxes(graph, witness)
    record += _run(passes, graph, form, witness, measured)[1]
    entry = graph.model.metadata_props.add()
    entry.key, entry.value = HEAD_KEY, head
    return graph.model, _record(head, witness, record)


def _run(
    passes: tuple, graph: Graph, form: Form, witness: Witness, pictures: list[np.ndarray]
) -> tuple[Form, list[dict]]:
    """Run those of `passes` that are needed, each proven; returns the graph's form after them and their record."""
    record = []
    for each in passes:
        if not each.needed(graph):
            continue
        each.rewrite(graph, *([pictures] if each in PASSES_ON_IMAGES else []))
        graph.tidy()
        graph.check()
        form = replace(form, **CHANGES.get(each, {}))
        tolerance = HALF_TOLERANCE if each is float32_weights else TOLERANCE
        failure = f"after pass {name_of(each)} the graph computes something else"
        record.append({"pass": name_of(each), **witness.compare(graph.model, form, tolerance, failure)})
    return form, record


def name_of(each) -> str:
    """A pass's name, that of its module."""
    return each.__name__.rpartition(".")[2]


def passes_of(graph: Graph, head: str) -> tuple:
    """The passes that bring a prepared `graph` to `head`, needed or not. Raises UserError where there is no way."""
    if from_metadata(metadata(graph.model)):
        return PASSES_OF_DARKNET[head]
    if not split_again.is_split(graph):
        return PASSES[head]
    if head != SPLIT:
        raise UserError(f"the model is split already; it can have the head '{SPLIT}' only, or give the unsplit one")
    return PASSES_OF_SPLIT


def form_of(graph: Graph) -> Form:
    """The form in which an unadapted graph's predictions leave it. Raises UserError when it is no detector."""
    if darknet := from_metadata(metadata(graph.model)):
        return Form(darknet=darknet)
    if split_again.is_split(graph):
        outputs = tuple(split_again.outputs_in_order(graph))
        return Form(head=SPLIT, sigmoid=split_again.sigmoids(graph) == 1, outputs=outputs)
    detector = find_detector(graph)
    for maps in (detector.box_maps, detector.class_maps):
        split_outputs.require_strides(graph, maps)
    return Form(transposed=detector.transposed, sigmoid=not one_sigmoid.needed(graph))


def _require_known_boxes(graph: Graph, witness: Witness) -> None:
    """Raises UserError unless the boxes are what our own arithmetic makes of the DFL's maps: cx, cy, w, h in pixels.

    With the head 'split' the passes prove it; 'single' would carry boxes of another kind through.
    """
    outside = Graph(graph.model)
    split_outputs.rewrite(outside)
    outside.tidy()
    failure = "the model's boxes are not cx, cy, w, h in pixels, or its strides are not 8, 16, 32"
    witness.compare(outside.model, Form(head=SPLIT), TOLERANCE, failure)


def head_of(model: onnx.ModelProto) -> str | None:
    """The head that an earlier surgery gave the model, or None."""
    return metadata(model).get(HEAD_KEY)


def _record(head: str, witness: Witness, passes: list[dict]) -> dict:
    worst = {key: max((each[key] for each in passes), default=0.0) for key in ("box_px", "score")}
    return {"head": head, "inputs": len(witness.inputs), **worst, "passes": passes}
