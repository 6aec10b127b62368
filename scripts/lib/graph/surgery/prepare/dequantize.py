"""Gives a quantized model float weights and float tensors again.

x ─ QuantizeLinear ─ DequantizeLinear ─ Conv        →        x ─ Conv, or x ─ Relu ─ Conv, or x ─ Clip ─ Conv
int8 weights ─ DequantizeLinear ─ Conv              →        float32 weights ─ Conv
QLinearConv, QLinearAdd, ConvInteger, …             →        Conv, Add, …

The toolkit calibrates from a float model. Weights get exactly their values in the quantized model. A pair of
QuantizeLinear and DequantizeLinear changes a value by at most half a step, except values beyond its range, which it
cuts. Quantizers drop a ReLU before such a pair, because the range has the same effect. So it is measured how much each
pair cuts, and if that is more than a little, the cut is kept.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lib.graph.onnx_file import metadata
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.detector import predictions_output, selected_from
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.passes import float32_weights
from lib.graph.surgery.prepare.one_image import with_initializers
from lib.graph.surgery.prepare.quantized_operators import OPERATORS, Steps, as_pairs
from lib.graph.surgery.proof import noise_image
from lib.step.errors import UserError

METADATA_KEY = "rv1106.dequantized"  # a key in the new metadata: how many tensors were quantized
# A pair that changes its values by more than this many steps (root mean square) does more than round: rounding is
# 0.3 steps, values of images and noise beyond a calibrated range up to 1.8, a dropped ReLU tens of steps.
CUT = 4.0
# How much outputs may differ (see _demand_close): with only the weights in float, and without any rounding.
SAME, NOISE = 1e-5, 0.3
PAIR = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
# Operators that only rearrange values: integers mean the same after them.
MOVES = {
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Resize", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """What a pair does beyond rounding. low, high: its range. relu: only the lower limit is needed."""

    low: float
    high: float
    relu: bool


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether any part of the model is quantized."""
    return any(node.op_type in OPERATORS or node.op_type in PAIR for node in model.graph.node)


def dequantize(model: onnx.ModelProto, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, str]:
    """A copy of a quantized `model` in float, and a sentence for the user.

    images: uint8 [H, W, C] in its InputForm; on them and on noise, cuts are measured and both models compared. Raises
    UserError for an unknown operator on integers, and when outputs differ by more than rounding.
    """
    paired = with_initializers(model)
    as_pairs(paired)
    graph = Graph(paired)
    noise = noise_image(graph.imgsz, seed, graph.shape(graph.input)[1])
    images = images or [noise]
    cuts = _cuts(graph, images)
    pairs = sum(node.op_type != "DequantizeLinear" and node.op_type in PAIR for node in graph.model.graph.node)
    if any(node.op_type in OPERATORS for node in model.graph.node):
        # onnxruntime's own operators round in between, and cut sums to 16 bits on some processors.
        _demand_close(model, paired, images, NOISE, "with QuantizeLinear and DequantizeLinear around float operators")
    float_weights = _without_pairs(graph, cuts, of_constants_alone=True)
    _demand_close(paired, float_weights, images, SAME, "with its weights in float")
    stripped = _without_pairs(graph, cuts)
    difference = _demand_close(paired, stripped, images, NOISE, "without its quantization")
    helper.set_model_props(stripped, metadata(model) | {METADATA_KEY: str(pairs)})
    clipped = f", {len(cuts)} of which cut values and are kept as ReLU or Clip" if cuts else ""
    return stripped, (
        f"its own quantization ({pairs} tensors{clipped}) is removed; INT8 is calibrated again (its rounding "
        f"was {difference:.1%} of the outputs)"
    )


def _cuts(graph: Graph, images: list[np.ndarray]) -> dict[str, Cut]:
    """The QuantizeLinear nodes that cut more than CUT at one end, by their output."""
    measuring = Graph(graph.model)
    limits = {}
    for node in graph.model.graph.node:
        steps = _steps(graph, node) if node.op_type == "QuantizeLinear" else None
        if steps is None or steps.scale.size != 1 or graph.constant(node.input[0]) is not None:
            continue
        low, high = steps.limits()
        step = float(steps.scale.reshape(()))
        limits[node.output[0]] = (low, high)
        for side, limit, unit in (("below", low, -step), ("above", high, step)):
            name = f"{node.output[0]}/{side}"
            measuring.add("Sub", [node.input[0], np.array(limit, np.float32)], f"{name}/beyond")
            measuring.add("Div", [f"{name}/beyond", np.array(unit, np.float32)], f"{name}/steps")
            measuring.add("Relu", [f"{name}/steps"], f"{name}/off")
            measuring.add("Mul", [f"{name}/off", f"{name}/off"], f"{name}/square")
            measuring.add("ReduceMean", [f"{name}/square"], name, keepdims=0)
    if not limits:
        return {}
    measuring.set_outputs({f"{name}/{side}": () for name in limits for side in ("below", "above")})
    session = open_session(measuring.model.SerializeToString())
    squares = np.max([infer_image(session, image) for image in images], axis=0).reshape(-1, 2)
    return {
        name: Cut(low, high, low == 0 and above <= CUT)
        for (name, (low, high)), (below, above) in zip(limits.items(), np.sqrt(squares))
        if max(below, above) > CUT
    }


def _without_pairs(graph: Graph, cuts: dict[str, Cut], of_constants_alone: bool = False) -> onnx.ModelProto:
    """The model of `graph` in float: pairs are replaced by Identity nodes, which simplification drops.

    of_constants_alone: only the pairs of constants; those of computed tensors are kept.
    """
    rewritten = Graph(graph.model)
    model = rewritten.model.graph
    of_numbers: dict[str, Steps | None] = {}  # the meaning of a tensor's integers; None: known only at run time
    for node in list(model.node):
        computed = graph.constant(node.input[0]) is None and node.input[0] not in of_numbers if node.input else False
        if of_constants_alone and node.op_type in PAIR and computed:
            continue
        if node.op_type == "DynamicQuantizeLinear":
            numbers, scale, _ = node.output
            of_numbers[numbers] = None
            model.initializer.append(numpy_helper.from_array(np.ones((), np.float32), scale))
            _replace(node, "Identity", [node.input[0]], numbers)
        elif node.op_type == "QuantizeLinear":
            of_numbers[node.output[0]] = _demanded_steps(graph, node)
            _in_float(rewritten, graph, node, cuts.get(node.output[0]))
        elif node.op_type == "DequantizeLinear":
            _back_in_float(rewritten, graph, node, of_numbers)
        elif any(name in of_numbers for name in node.input):
            _move(rewritten, graph, node, of_numbers)
    for output in model.output:
        if output.name in of_numbers:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    rewritten.tidy()
    float32_weights.drop_idle_casts(rewritten)
    rewritten.tidy()
    return rewritten.model


def _in_float(rewritten: Graph, graph: Graph, node: onnx.NodeProto, cut: Cut | None) -> None:
    """Replace a QuantizeLinear by what it does beyond rounding; for a constant, by its rounded values."""
    tensor, output = node.input[0], node.output[0]
    value = graph.constant(tensor)
    if value is not None:
        rounded = _demanded_steps(graph, node).rounded(value)
        _replace(node, "Identity", [_added(rewritten, rounded, f"{output}/rounded")], output)
    elif cut is None:
        _replace(node, "Identity", [tensor], output)
    elif cut.relu:
        _replace(node, "Relu", [tensor], output)
    else:
        limits = [_added(rewritten, np.float32(limit), f"{output}/{name}") for name, limit in vars(cut).items()][:2]
        _replace(node, "Clip", [tensor, *limits], output)


def _back_in_float(rewritten: Graph, graph: Graph, node: onnx.NodeProto, of_numbers: dict) -> None:
    """Replace a DequantizeLinear of a constant by its values, any other by nothing."""
    numbers, steps = graph.constant(node.input[0]), _steps(graph, node)
    if numbers is not None and steps is not None:
        values = steps.values(numbers)
        _replace(node, "Identity", [_added(rewritten, values, f"{node.output[0]}/values")], node.output[0])
        return
    before = of_numbers.get(node.input[0], steps)
    if node.input[0] not in of_numbers or (before is not None and (steps is None or not steps.same(before))):
        raise UserError(
            f"DequantizeLinear '{node.name}' reads integers that were not made with its scale; use the model "
            "before quantization"
        )
    _replace(node, "Identity", [node.input[0]], node.output[0])


def _move(rewritten: Graph, graph: Graph, node: onnx.NodeProto, of_numbers: dict) -> None:
    """Let an operator that rearranges integers rearrange the values that they stand for."""
    read = [of_numbers[name] for name in node.input if name in of_numbers]
    steps = read[0]
    if node.op_type not in MOVES or steps is None or not all(other and steps.same(other) for other in read):
        raise UserError(
            f"{node.op_type} '{node.name}' computes with integers in an unknown way; use the model before quantization"
        )
    for place, name in enumerate(node.input):
        numbers = graph.constant(name)
        if numbers is not None and numbers.dtype in (np.int8, np.uint8):
            node.input[place] = _added(rewritten, steps.values(numbers), f"{node.output[0]}/{place}/values")
    of_numbers.update(dict.fromkeys(node.output, steps))


def _steps(graph: Graph, node: onnx.NodeProto) -> Steps | None:
    """The steps of a QuantizeLinear or DequantizeLinear; None if they are computed."""
    constants = [graph.constant(name) for name in node.input[1:3]]
    if any(value is None for value in constants):
        return None
    zero = constants[1] if len(constants) > 1 else np.zeros((), np.uint8)
    if constants[0].ndim > 1:
        raise UserError(
            f"{node.op_type} '{node.name}' has scales for blocks of weights; use the model before quantization"
        )
    return Steps(constants[0].astype(np.float64), zero, attribute(node, "axis", 1))


def _demanded_steps(graph: Graph, node: onnx.NodeProto) -> Steps:
    steps = _steps(graph, node)
    if steps is None:
        raise UserError(f"{node.op_type} '{node.name}' computes its scale; use the model before quantization")
    return steps


def _replace(node: onnx.NodeProto, operator: str, inputs: list[str], output: str) -> None:
    """Turn `node` into another operator, in its place."""
    node.CopyFrom(helper.make_node(operator, inputs, [output], node.name))


def _added(graph: Graph, value: np.ndarray, name: str) -> str:
    """Add a constant and return its name."""
    graph.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    return name


def _demand_close(
    before: onnx.ModelProto, after: onnx.ModelProto, images: list[np.ndarray], limit: float, how: str
) -> float:
    """The largest difference of an output: the norm of the difference divided by the output's norm.

    Rows that an end-to-end head selects change places by rounding; instead of them, what it selects from is compared.
    Raises UserError, which begins with `how`, when the difference is more than `limit`.
    """
    graph = Graph(after)
    joined = selected_from(graph)
    if joined and any(joined in node.output and node.op_type not in OPERATORS for node in before.graph.node):
        names = [joined if name == predictions_output(graph) else name for name in graph.outputs]
        before, after = (_with_outputs(model, names) for model in (before, after))
    sessions = [open_session(model.SerializeToString(), as_written=True) for model in (before, after)]
    worst = 0.0
    for image in images:
        for expected, now in zip(*(infer_image(session, image) for session in sessions), strict=True):
            expected, now = (values.astype(np.float64) for values in (expected, now))
            worst = np.fmax(worst, np.linalg.norm(now - expected) / max(np.linalg.norm(expected), 1e-12))
    if not worst <= limit:
        raise UserError(
            f"{how} the model computes something else: an output differs by {worst:.2g} of its size (allowed {limit}); "
            "use the model before quantization"
        )
    return float(worst)


def _with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """A copy of a model with other outputs, of float."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return changed
