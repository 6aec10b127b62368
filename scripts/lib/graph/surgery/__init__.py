"""Graph surgery: from an exported YOLOv8-style ONNX to one whose outputs an INT8-only NPU can carry.

`adapt` runs PREPARATION and the passes of a head, in the order in which they stand here. A pass is a module of its own,
its pattern drawn at the top, with `needed(graph)` and `rewrite(graph)`. After each one the model is checked and must
predict what it predicted before.
"""

from dataclasses import replace

import numpy as np
import onnx

from lib.detector.anchors import from_metadata
from lib.detector.head import END2END_KEY, HEAD_KEY, SELECTED, SINGLE, SPLIT
from lib.detector.output_spec import is_end2end
from lib.graph.onnx_file import metadata
from lib.graph.surgery import (
    darknet_single,
    darknet_split,
    equalize,
    float32_weights,
    limit_boxes,
    lower_opset,
    one_sigmoid,
    raise_opset,
    single_output,
    split_again,
    split_outputs,
)
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.proof import HALF_TOLERANCE, TOLERANCE, Form, Witness
from lib.step.errors import UserError

PREPARATION = (float32_weights, raise_opset, lower_opset)
PASSES = {
    SINGLE: (one_sigmoid, split_outputs, single_output, limit_boxes),
    SPLIT: (one_sigmoid, split_outputs),
}
PASSES_OF_SPLIT = {SINGLE: (split_again, single_output, limit_boxes), SPLIT: (split_again,)}
PASSES_OF_DARKNET = {SINGLE: (darknet_single, equalize), SPLIT: (darknet_split, equalize)}
PASSES_ON_IMAGES = (equalize,)  # their rewrite takes images too

# Images for ranges, and for proofs, whose time goes up with each.
MEASURED, PROVEN = 16, 4

# What a pass does to the form in which predictions leave the graph; those not named leave it alone.
CHANGES = {
    one_sigmoid: {"sigmoid": True},
    split_outputs: {"head": SPLIT, "sigmoid": True, "transposed": False},
    split_again: {"sigmoid": True, "outputs": None},
    single_output: {"head": SINGLE},
    limit_boxes: {"limited": True},
    darknet_single: {"head": SINGLE},
    darknet_split: {"head": SPLIT},
}


def adapt(model: onnx.ModelProto, head: str, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, dict]:
    """A copy of `model` with the outputs of `head`, proven pass by pass, and the record of the proof.

    images: uint8 RGB [H, W, 3] of the model's size, none of them of the evaluation set. The graphs are compared on
    the first PROVEN of them and on noise drawn from `seed`; a pass that needs ranges measures them on the first
    MEASURED, or on the noise where there is no image. The record: `head`, `inputs` (how many), `passes` (name,
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
        told = metadata(model)
        form = Form(head=head, darknet=from_metadata(told), end2end=is_end2end(told))
        witness = Witness(model, form, images[:PROVEN], seed)
        return graph.model, _record(head, witness, [])
    form, passes = form_of(graph), passes_of(graph, head)
    witness = Witness(graph.model, form, images[:PROVEN], seed)
    measured = images[:MEASURED] or witness.inputs
    form, record = _run(PREPARATION, graph, form, witness, measured)
    record += _run(passes, graph, form, witness, measured)[1]
    onnx.helper.set_model_props(graph.model, metadata(graph.model) | _metadata(head, form.end2end))
    return graph.model, _record(head, witness, record)


def _metadata(head: str, end2end: bool) -> dict[str, str]:
    return {HEAD_KEY: head, **({END2END_KEY: "true"} if end2end else {})}


def _run(
    passes: tuple, graph: Graph, form: Form, witness: Witness, images: list[np.ndarray]
) -> tuple[Form, list[dict]]:
    """Run those of `passes` that are needed, each proven; returns the graph's form after them and their record."""
    record = []
    for each in passes:
        if not each.needed(graph):
            continue
        each.rewrite(graph, *([images] if each in PASSES_ON_IMAGES else []))
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
    """The passes that give a prepared `graph` its `head`, needed or not."""
    if from_metadata(metadata(graph.model)):
        return PASSES_OF_DARKNET[head]
    return (PASSES_OF_SPLIT if split_again.is_split(graph) else PASSES)[head]


def form_of(graph: Graph) -> Form:
    """The form in which an unadapted graph's predictions leave it. Raises UserError when it is no detector."""
    if darknet := from_metadata(metadata(graph.model)):
        return Form(darknet=darknet)
    if split_again.is_split(graph):
        outputs = tuple(split_again.outputs_in_order(graph))
        end2end = is_end2end(metadata(graph.model))
        return Form(head=SPLIT, sigmoid=split_again.sigmoids(graph) == 1, outputs=outputs, end2end=end2end)
    detector = find_detector(graph)
    for maps in (detector.box_maps, detector.class_maps):
        split_outputs.require_strides(graph, maps)
    sigmoid = not one_sigmoid.needed(graph)
    if detector.end2end:
        if not sigmoid:
            raise UserError("the end-to-end head selects by logits, without a sigmoid; export the model anew")
        return Form(head=SELECTED, end2end=True, classes=detector.classes(graph))
    # A one-to-one head whose predictions were all exported still needs no NMS.
    return Form(transposed=detector.transposed, sigmoid=sigmoid, end2end=is_end2end(metadata(graph.model)))


def head_of(model: onnx.ModelProto) -> str | None:
    """The head that an earlier surgery gave the model, or None."""
    return metadata(model).get(HEAD_KEY)


def _record(head: str, witness: Witness, passes: list[dict]) -> dict:
    worst = {key: max((each[key] for each in passes), default=0.0) for key in ("box_px", "score")}
    return {"head": head, "inputs": len(witness.inputs), **worst, "passes": passes}
