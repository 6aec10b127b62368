"""`adapt`: runs the passes of a head, and proves after each that the graph still makes the same predictions."""

import re
from collections.abc import Sequence

import numpy as np
import onnx

from lib import tasks
from lib.detector.head import EXPORTED, HEADS, SELECTED
from lib.detector.output_spec import OutputSpec
from lib.graph import families
from lib.graph.onnx_file import metadata
from lib.graph.surgery.as_is import PREPARATION, leave_as_is
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.graph.surgery.prepare import dequantize
from lib.graph.surgery.proof import PROVEN, ROUNDED_TOLERANCE, ReferencePredictions, Tolerance, demand_size
from lib.step.errors import UserError

MEASURED = 64  # most images for ranges (figures in docs/int8_experiments.md)

# Names of the tensors that passes make; a foreign graph may use them for other tensors.
OUR_NAMES = re.compile(
    r"((box|scores|objectness|keypoints(_fine)?|visibility|coefficients|prototypes|angle|turn)_\d+|predictions)(/.*)?"
)


def adapt(model: onnx.ModelProto, head: str, images: Sequence[np.ndarray], seed: int) -> tuple[onnx.ModelProto, dict]:
    """A copy of `model` with the outputs of `head`, proven pass by pass, and the record of the proof.

    images: uint8 RGB [H, W, 3] of the model's size, none of them from the evaluation set. The graphs are compared on
    the first PROVEN of them and on noise drawn from `seed`; a pass that needs ranges measures them on the first
    MEASURED, or on the noise if there is no image. The record: `head`, `inputs` (how many), `passes` that changed
    something (name, largest differences `box_px` and `score`, and `extra` for what a task adds), and the largest over
    all. The OutputSpec is in the copy's metadata. A model that already has this head from an earlier surgery is
    returned unchanged. For the head `as_is`, see `leave_as_is`.

    Raises UserError when the graph is not a detector of a family in lib.graph.families or has an unsupported form, when
    an image has another size, or when a pass changes the predictions.
    """
    proven = list(images[:PROVEN])
    if head not in HEADS:
        return leave_as_is(model, proven, seed)
    graph = Graph(model)
    graph.check()
    if done := adapted_spec(model):
        if done.head != head:
            raise UserError(f"the model already went through surgery for the head '{done.head}'; use the exported one")
        demand_size(proven, done.imgsz)
        reference = ReferencePredictions(model, OutputForm(done), proven, seed)
        return graph.model, _record(head, reference, [])
    if OutputSpec.from_metadata(metadata(model)) is None:
        graph.free_names(OUR_NAMES)
    form = families.recognize(graph)
    demand_size(proven, form.spec.imgsz)
    reference = ReferencePredictions(graph.model, form, proven, seed)
    measured = images[:MEASURED] or reference.inputs
    record = []
    for surgery_pass in passes_of(form, head):
        if surgery_pass.needed(graph, form):
            tolerance = _tolerance(surgery_pass, graph.model, form)
            before = graph.model.SerializeToString(deterministic=True)
            form = surgery_pass.apply(graph, form, measured)
            if graph.model.SerializeToString(deterministic=True) == before:
                continue  # the images showed that there is nothing to do
            failure = f"after pass {surgery_pass.name} the graph computes something else"
            differences = reference.compare(graph.model, form, tolerance, failure)
            record.append({"pass": surgery_pass.name, **differences})
    onnx.helper.set_model_props(graph.model, metadata(graph.model) | form.spec.to_metadata())
    return graph.model, _record(head, reference, record)


def adapted_spec(model: onnx.ModelProto) -> OutputSpec | None:
    """The OutputSpec that an earlier surgery wrote to the model's metadata, or None."""
    spec = OutputSpec.from_metadata(metadata(model))
    return spec if spec and spec.head in HEADS else None


def passes_of(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """All passes that give a graph of that form its `head`, needed or not.

    Raises UserError when a model of its task cannot have that head.
    """
    _demand_head(form.spec, head)
    return (*PREPARATION, *families.get(form.spec.family.name).passes(form, head))


def _demand_head(spec: OutputSpec, head: str) -> None:
    """Raise UserError when a model of this task cannot have that head."""
    heads = tasks.get(spec.task).heads
    if head not in heads:
        raise UserError(f"a model for '{spec.task}' cannot have the head '{head}'; it can have {', '.join(heads)}")


def _tolerance(surgery_pass: Pass, model: onnx.ModelProto, form: OutputForm) -> Tolerance:
    """How much the pass may change predictions: more if a quantized graph decoded them."""
    decoded = form.spec.head in (EXPORTED, SELECTED)
    return ROUNDED_TOLERANCE if decoded and dequantize.METADATA_KEY in metadata(model) else surgery_pass.tolerance


def _record(head: str, reference: ReferencePredictions, passes: list[dict]) -> dict:
    kinds = ("box_px", "score", *(("extra",) if any("extra" in differences for differences in passes) else ()))
    worst = {key: max((differences[key] for differences in passes), default=0.0) for key in kinds}
    return {"head": head, "inputs": len(reference.inputs), **worst, "passes": passes}
