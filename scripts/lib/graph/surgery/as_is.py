"""The head `as_is`: a graph only prepared for the toolkit, for a model of no known family."""

import numpy as np
import onnx

from lib.detector.head import AS_IS
from lib.detector.output_spec import METADATA_KEY
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.passes import float32_weights, logits, lower_opset, pool_globally, raise_opset, upsample
from lib.graph.surgery.proof import HALF_TOLERANCE, TOLERANCE, demand_size, prove_same_outputs
from lib.step.errors import UserError

HEAD_KEY = "rv1106.head"  # the key in an ONNX's metadata that is AS_IS after this preparation
# What any model needs; a family's own passes, or those of AS_IS, follow.
PREPARATION = (float32_weights.PASS, raise_opset.PASS, lower_opset.PASS, upsample.PASS)
PASSES = (*PREPARATION, pool_globally.PASS, logits.PASS)


def leave_as_is(model: onnx.ModelProto, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, dict]:
    """A copy of `model` that the toolkit can read, and the record of the proof.

    images: uint8 [H, W, C] of the model's size and channels. After each pass the outputs are compared with those of the
    previous graph, on `images` and on noise drawn from `seed`. The record: `head`, `inputs` (how many), `difference`
    (the largest, as a fraction of the outputs' range) and `passes` (each name with its `difference`). Raises UserError
    when a pass changes what the graph computes, when the model's input is not one image, or when an output is constant.
    """
    graph = Graph(model)
    graph.check()
    demand_size(images, graph.imgsz)
    _demand_computed_outputs(graph)
    record = []
    for surgery_pass in passes_needed(graph):
        before = onnx.ModelProto()
        before.CopyFrom(graph.model)
        surgery_pass.apply(graph, None, [])
        tolerance = HALF_TOLERANCE if surgery_pass is float32_weights.PASS else TOLERANCE
        after = logits.with_softmax(graph.model, before) if surgery_pass is logits.PASS else graph.model
        difference = prove_same_outputs(before, after, images, seed, tolerance.score)
        record.append({"pass": surgery_pass.name, "difference": difference})
    others = {key: value for key, value in metadata(graph.model).items() if key != METADATA_KEY}
    onnx.helper.set_model_props(graph.model, others | {HEAD_KEY: AS_IS})
    worst = max((entry["difference"] for entry in record), default=0.0)
    return graph.model, {"head": AS_IS, "inputs": len(images) + 1, "difference": worst, "passes": record}


def _demand_computed_outputs(graph: Graph) -> None:
    """Raise UserError when an output does not depend on the image; the toolkit leaves it out of its model."""
    computed = {graph.input}
    for node in graph.model.graph.node:
        if computed & set(node.input):
            computed.update(node.output)
    constant = [name for name in graph.outputs if name not in computed]
    if constant:
        are, them = ("is a constant", "it") if len(constant) == 1 else ("are constants", "them")
        raise UserError(
            f"output {', '.join(constant)} {are}, the same for every image, so the toolkit drops {them}; "
            f"remove {them} from the ONNX's outputs and convert it again"
        )


def passes_needed(graph: Graph):
    """Yield the passes that `graph` needs; each is decided after the previous one was applied."""
    return (surgery_pass for surgery_pass in PASSES if surgery_pass.needed(graph, None))


def is_as_is(model: onnx.ModelProto) -> bool:
    """Whether `leave_as_is` made `model`."""
    return metadata(model).get(HEAD_KEY) == AS_IS
