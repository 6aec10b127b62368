"""Say what an ONNX model is, and what graph surgery would do to it.

Prints inputs, outputs, opset, precision, classes, the form of the head, where sigmoids are, and the passes that each
head would take. Exit code 2 when it is no detector that surgery can handle; the last line says why.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from collections import Counter
from pathlib import Path

from onnx import TensorProto

from lib.data.imgsz import imgsz_argument
from lib.detector.anchors import from_metadata
from lib.detector.head import HEADS
from lib.graph.onnx_file import load, metadata
from lib.graph.surgery import PASSES_ON_IMAGES, PREPARATION, float32_weights, head_of, name_of, passes_of, split_again
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.simplify import simplify
from lib.step.arguments import StepParser
from lib.step.errors import run_step


def main(argv=None):
    """Run the command."""
    parser = StepParser(__doc__)
    parser.add_argument("model", type=Path, metavar="FILE.onnx")
    parser.add_argument(
        "--size", type=imgsz_argument, help="WIDTHxHEIGHT or one number, where the model's own is dynamic"
    )
    args = parser.parse_args(argv)
    model = load(args.model)
    for line in general(model):
        print(line)
    if head := head_of(model):
        print(f"surgery   done already, for head '{head}'")
        return
    fixed, _ = fix_size(model, args.size)
    simplified, _ = simplify(fixed, [], seed=0)
    for line in head_lines(Graph(simplified)):
        print(line)


def general(model):
    """What can be said of any network: lines of text."""
    constants = {each.name for each in model.graph.initializer}
    yield f"opset     {Graph(model).opset}, IR version {model.ir_version}"
    for kind, tensors in (("input", model.graph.input), ("output", model.graph.output)):
        for each in tensors:
            if each.name not in constants:
                tensor = each.type.tensor_type
                shape = ", ".join(d.dim_param or str(d.dim_value or "?") for d in tensor.shape.dim)
                yield f"{kind:<9} {each.name} [{shape}] {TensorProto.DataType.Name(tensor.elem_type).lower()}"
    operators = Counter(node.op_type for node in model.graph.node)
    yield f"operators {sum(operators.values())}: " + ", ".join(f"{n} {name}" for name, n in operators.most_common(8))


def head_lines(graph: Graph):
    """What surgery sees in a simplified graph: lines of text. Raises UserError when that is no detector."""
    if layers := from_metadata(metadata(graph.model)):
        strides = ", ".join(str(layer.stride) for layer in layers)
        yield f"head      [yolo] of a model from Darknet, strides {strides}"
        yield f"classes   {layers[0].classes}"
        yield from surgery_lines(graph)
        return
    yield f"precision {'FP16 in places' if float32_weights.needed(graph) else 'FP32'}"
    if split_again.is_split(graph):
        names = split_again.outputs_in_order(graph)
        yield f"head      split already: {', '.join(f'{name} {list(graph.shape(name))}' for name in names)}"
        yield f"classes   {graph.shape(names[1])[1]}"
        yield f"sigmoid   {split_again.sigmoids(graph)} on the class maps"
    else:
        detector = find_detector(graph)
        form = "its best predictions, end-to-end (no NMS)" if detector.end2end else "boxes and scores in one output"
        yield f"head      {form}{', transposed' if detector.transposed else ''}"
        yield f"family    {detector.family}, box maps {[list(graph.shape(name)) for name in detector.box_maps]}"
        yield f"classes   {detector.classes(graph)}"
        yield f"sigmoid   {detector.sigmoids} on the class scores"
    yield from surgery_lines(graph)


def surgery_lines(graph: Graph):
    """The passes that each head would take."""
    for head in HEADS:
        yield f"{head:<9} {' → '.join(passes_needed(graph, head))}"


def passes_needed(graph: Graph, head: str):
    """The names of the passes that give `graph` its `head`, each found after those before it are done to a copy."""
    copy = Graph(graph.model)
    for each in (*PREPARATION, *passes_of(graph, head)):
        if each.needed(copy):
            yield name_of(each)
            # A pass on images leaves the form of the outputs alone, and here are no images.
            if each not in PASSES_ON_IMAGES:
                each.rewrite(copy)
                copy.tidy()


if __name__ == "__main__":
    sys.exit(run_step(main))
