"""Describe an ONNX model, and what graph surgery would do to it.

Prints inputs, outputs, opset, precision, classes, the form of the head, where sigmoids are, and the passes that each
head would need. The exit code is 2 if the model is not a detector that surgery supports; the last line says why. Such a
model can be converted with the head `as_is`.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import lib  # noqa: F401  first: it ends a step that gets no memory with a message

# isort: split
from collections import Counter
from pathlib import Path

from onnx import TensorProto

from lib.data.imgsz import imgsz_argument
from lib.data.input_form import InputForm
from lib.detector.head import AS_IS, HEADS
from lib.graph import families
from lib.graph.anchor_option import add_anchors_option, demand_anchors_used, with_anchors
from lib.graph.input_convention import settle_input_form
from lib.graph.onnx_file import load
from lib.graph.surgery import as_is
from lib.graph.surgery.fixed_size import demand_strides, fix_size
from lib.graph.surgery.graph import Graph, opset_of
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import float32_weights
from lib.graph.surgery.pipeline import adapted_spec, passes_of
from lib.graph.surgery.prepare.behind_input import prepare
from lib.graph.surgery.simplify import simplify
from lib.step.arguments import StepParser
from lib.step.errors import Incomplete, UserError, run_step


def main(argv=None):
    """Run the command."""
    parser = StepParser(__doc__)
    parser.add_argument("model", type=Path, metavar="FILE.onnx")
    parser.add_argument("--size", type=imgsz_argument, help="WIDTHxHEIGHT or one number, if the model's own is dynamic")
    add_anchors_option(parser)
    args = parser.parse_args(argv)
    model = with_anchors(load(args.model), args.anchors)
    for line in general(model):
        print(line)
    fixed, size = fix_size(model, args.size)
    if done := adapted_spec(model):
        print(f"surgery   already done, for the head '{done.head}'")
        demand_anchors_used(args.anchors, done.family)
        return
    prepared, notes = prepare(fixed, [], seed=0)
    for note in notes:
        print(f"prepared  {note}")
    form, origin = settle_input_form(prepared, {}, model)
    if form != InputForm():
        print(f"images    {form} ({origin})")
    simplified, _ = simplify(prepared, [], seed=0)
    graph = Graph(simplified)
    try:
        form = families.recognize(graph)
        demand_strides(size)
    except Incomplete as error:
        raise Incomplete(f"{error}; or convert it with onnx_to_rknn.py --head {AS_IS}") from None
    except UserError as error:
        print(f"precision {precision(graph)}")
        print(f"{AS_IS:<9} {as_is_line(graph)}")
        demand_anchors_used(args.anchors, None, str(error))
        raise UserError(
            f"not a detector of a known family, so onnx_to_rknn.py converts it with the head {AS_IS}: {error}"
        ) from None
    for line in head_lines(graph, form):
        print(line)
    demand_anchors_used(args.anchors, form.spec.family)


def general(model):
    """Yield lines of text about any network."""
    constants = {tensor.name for tensor in model.graph.initializer}
    yield f"opset     {opset_of(model)}, IR version {model.ir_version}"
    for kind, tensors in (("input", model.graph.input), ("output", model.graph.output)):
        for tensor in tensors:
            if tensor.name not in constants:
                form = tensor.type.tensor_type
                shape = ", ".join(d.dim_param or str(d.dim_value or "?") for d in form.shape.dim)
                yield f"{kind:<9} {tensor.name} [{shape}] {TensorProto.DataType.Name(form.elem_type).lower()}"
    operators = Counter(node.op_type for node in model.graph.node)
    yield f"operators {sum(operators.values())}: " + ", ".join(f"{n} {name}" for name, n in operators.most_common(8))


def head_lines(graph: Graph, form: OutputForm):
    """Yield lines of text about what surgery recognizes in a simplified graph of that form."""
    yield f"precision {precision(graph)}"
    for word, text in families.get(form.spec.family.name).described(graph, form).items():
        yield f"{word:<9} {text}"
    for head in HEADS:
        yield f"{head:<9} {passes_line(graph, form, head)}"
    yield f"{AS_IS:<9} {as_is_line(graph)}"


def precision(graph: Graph) -> str:
    """The precision of stored and computed values."""
    return "FP16 in places" if float32_weights.PASS.needed(graph, None) else "FP32"


def as_is_line(graph: Graph) -> str:
    """The passes for the head as_is, in order."""
    return " → ".join(surgery_pass.name for surgery_pass in as_is.passes_needed(graph)) or "left as it came"


def passes_line(graph: Graph, form: OutputForm, head: str) -> str:
    """The passes in order, or why the graph cannot have this head."""
    try:
        return " → ".join(passes_needed(graph, form, head))
    except UserError as error:
        return f"impossible: {error}"


def passes_needed(graph: Graph, form: OutputForm, head: str):
    """Yield the names of the passes that give `graph` its `head`, applying each to a copy before the next."""
    copy = Graph(graph.model)
    for surgery_pass in passes_of(form, head):
        if surgery_pass.needed(copy, form):
            yield surgery_pass.name
            # A pass that measures images does not change the form of the outputs, and there are no images here.
            if not surgery_pass.measures_images:
                form = surgery_pass.apply(copy, form, [])


if __name__ == "__main__":
    sys.exit(run_step(main))
