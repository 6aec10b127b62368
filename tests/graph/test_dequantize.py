"""A model that came quantized becomes a float one that computes the same but for its rounding."""

import logging

import numpy as np
import onnx
import pytest
from conftest import image
from onnx import TensorProto, helper, numpy_helper

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.graph.onnx_file import load
from lib.graph.onnx_session import infer_image, open_session, to_tensor
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.prepare.behind_input import prepare
from lib.graph.surgery.prepare.dequantize import NOISE, _demand_close, dequantize, is_quantized
from lib.graph.surgery.prepare.quantized_operators import TWINS, as_pairs
from lib.graph.surgery.proof import noise_image
from lib.graph.surgery.simplify import simplify
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)
IMAGES = [letterbox(image(seed), SIZE)[0] for seed in range(4)]


def small(nodes, constants, opset=17, shape=(1, 3, 64, 96), outputs=(("y", TensorProto.FLOAT, None),)):
    """A model of a few nodes from x, [1, 3, 64, 96], to y."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(*output) for output in outputs]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def run(model):
    return [infer_image(open_session(model.SerializeToString(), as_written=True), each) for each in IMAGES]


RNG = np.random.default_rng(0)
INPUT = [np.float32(1 / 255), np.uint8(0)]
# Below 64: on a processor without VNNI onnxruntime cuts the sum of two products at 16 bits.
WEIGHTS = RNG.integers(-63, 64, (4, 3, 3, 3)).astype(np.int8)
FILTERS = (RNG.random(4) * 0.01 + 0.001).astype(np.float32)
# A QLinear operator between a QuantizeLinear and a DequantizeLinear: inputs behind (x, scale, zero), and attributes.
OPERATORS = {
    "QLinearConv": (
        [WEIGHTS, FILTERS, np.zeros(4, np.int8), np.float32(0.05), np.uint8(128), np.arange(4, dtype=np.int32) * 900],
        {"pads": [1, 1, 1, 1]},
    ),
    "QLinearMatMul": (
        [
            RNG.integers(0, 255, (96, 5)).astype(np.uint8),
            np.float32(0.01),
            np.uint8(120),
            np.float32(0.1),
            np.uint8(99),
        ],
        {},
    ),
    "QLinearAdd": (
        [RNG.integers(0, 255, (3, 1, 1)).astype(np.uint8), *INPUT, np.float32(0.01), np.uint8(3)],
        {"domain": "com.microsoft"},
    ),
    "QLinearMul": (
        [RNG.integers(0, 255, (3, 1, 1)).astype(np.uint8), *INPUT, np.float32(0.005), np.uint8(0)],
        {"domain": "com.microsoft"},
    ),
    "QLinearSigmoid": ([np.float32(1 / 256), np.uint8(0)], {"domain": "com.microsoft"}),
    "QLinearLeakyRelu": ([np.float32(0.01), np.uint8(9)], {"domain": "com.microsoft", "alpha": 0.1}),
    "QLinearSoftmax": ([np.float32(1 / 256), np.uint8(0)], {"domain": "com.microsoft", "axis": 1, "opset": 13}),
    "QLinearGlobalAveragePool": ([np.float32(0.004), np.uint8(2)], {"domain": "com.microsoft", "channels_last": 0}),
    "QLinearAveragePool": ([np.float32(0.004), np.uint8(2)], {"domain": "com.microsoft", "kernel_shape": [2, 2]}),
}


def with_operator(name):
    rest, attributes = OPERATORS[name]
    constants = {"s": INPUT[0], "z": INPUT[1]} | {f"c{number}": value for number, value in enumerate(rest)}
    scale, zero = (6 + 0, 7) if len(rest) >= 5 else (3, 4)
    inputs = ["q", "s", "z", *(f"c{number}" for number in range(len(rest)))]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node(name, inputs, ["r"], name="operator", **attributes),
        helper.make_node("DequantizeLinear", ["r", inputs[scale], inputs[zero]], ["y"]),
    ]
    return small(nodes, constants), float(rest[scale - 3])


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_on_whole_numbers_and_its_float_twin_differ_by_a_step_at_most(name):
    model, step = with_operator(name)
    pairs = onnx.ModelProto()
    pairs.CopyFrom(model)
    as_pairs(pairs)
    assert TWINS[name][0] in {node.op_type for node in pairs.graph.node}
    assert name not in {node.op_type for node in pairs.graph.node}
    for before, after in zip(run(model), run(pairs)):
        assert before[0].std() > step
        steps = np.abs(before[0] - after[0]) / step
        # onnxruntime's own kernels look some functions up in tables: a step apart here and there, never more.
        assert steps.max() < 1.01 and (steps > 0.5).mean() < 0.02


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_on_whole_numbers_becomes_float(name):
    model, step = with_operator(name)
    plain, [note] = prepare(model, IMAGES, 0)
    assert not is_quantized(plain) and "INT8 is calibrated again" in note
    for before, after in zip(run(model), run(plain)):
        # A step of the output, and what half a step of each input comes to.
        assert np.abs(before[0] - after[0]).mean() < step


def test_what_is_joined_and_moved_as_whole_numbers_keeps_its_values():
    constants = {"s": INPUT[0], "z": INPUT[1], "t": np.float32(0.02), "shape": np.array([1, 6, -1])}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("MaxPool", ["q"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QLinearConcat", ["t", "z", "m", "s", "z", "m", "s", "z"], ["j"], axis=1,
                         domain="com.microsoft"),
        helper.make_node("Reshape", ["j", "shape"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "t", "z"], ["y"]),
    ]  # fmt: skip
    model = small(nodes, constants)
    plain, _ = prepare(model, IMAGES, 0)
    assert [node.op_type for node in simplify(plain, [], 0)[0].graph.node] == ["MaxPool", "Concat", "Reshape"]
    for before, after in zip(run(model), run(plain)):
        assert np.abs(before[0] - after[0]).max() <= 0.0101 + 1 / 510


def test_a_relu_that_the_quantizer_left_out_comes_back():
    weights = RNG.normal(size=(4, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = small(nodes, {"w": weights, "s": np.float32(4 / 255), "z": np.uint8(0)})
    plain, [note] = prepare(model, IMAGES, 0)
    assert [node.op_type for node in simplify(plain, [], 0)[0].graph.node] == ["Conv", "Relu"]
    assert "1 of which cut values and are kept as ReLU or Clip" in note
    six = small(nodes, {"w": weights, "s": np.float32(0.5 / 255), "z": np.uint8(0)})
    plain, _ = prepare(six, IMAGES, 0)
    assert [node.op_type for node in simplify(plain, [], 0)[0].graph.node] == ["Conv", "Clip"]
    for before, after in zip(run(six), run(plain)):
        assert np.abs(before[0] - after[0]).max() <= 0.5 / 255 / 2 + 1e-6


def test_weights_are_those_of_the_quantized_model():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["f"], axis=0),
        helper.make_node("Conv", ["x", "f"], ["y"]),
    ]
    constants = {"w": WEIGHTS, "s": FILTERS, "z": np.arange(4, dtype=np.int8)}
    plain, _ = prepare(small(nodes, constants), IMAGES, 0)
    simplified, _ = simplify(plain, [], 0)
    assert [node.op_type for node in simplified.graph.node] == ["Conv"]
    [kept] = [numpy_helper.to_array(each) for each in plain.graph.initializer if each.name == "f/values"]
    shift = np.arange(4).reshape(4, 1, 1, 1)
    np.testing.assert_allclose(kept, (WEIGHTS - shift) * FILTERS.reshape(4, 1, 1, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "constants", "sentence"),
    [
        (
            [
                helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "t", "z"], ["y"]),
            ],
            {"t": np.float32(0.5)},
            "not made with its scale",
        ),
        (
            [
                helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                helper.make_node("ArgMax", ["q"], ["a"], axis=1),
                helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT),
            ],
            {},
            "ArgMax '' computes with integers in an unknown way",
        ),
    ],
)
def test_what_is_not_known_is_one_sentence(nodes, constants, sentence):
    model = small(nodes, {"s": INPUT[0], "z": INPUT[1]} | constants)
    with pytest.raises(UserError, match=sentence):
        prepare(model, IMAGES, 0)


@pytest.fixture(scope="module")
def quantized(export, tmp_path_factory):
    """A function: a YOLOv8n with random weights, quantized by onnxruntime's tools; path and the float model."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = export(opset=17)[1]
    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(simplify(model, [], 0)[0], folder / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.images = iter(IMAGES)

        def get_next(self):
            fitted = next(self.images, None)
            return None if fitted is None else {"images": to_tensor(fitted)}

    def make(kind):
        logging.disable(logging.WARNING)
        done = folder / f"{kind}.onnx"
        if kind == "dynamic":
            quantization.quantize_dynamic(folder / "float.onnx", done, weight_type=quantization.QuantType.QUInt8)
        else:
            quantization.quantize_static(
                folder / "float.onnx",
                done,
                Reader(),
                quant_format=quantization.QuantFormat[kind],
                op_types_to_quantize=["Add", "Concat", "Conv", "MaxPool", "Mul", "Sigmoid"],
                per_channel=kind == "QDQ",  # its writer of the other format mixes up filters that are equal
                activation_type=quantization.QuantType.QUInt8,
            )
        logging.disable(logging.NOTSET)
        return onnx.load(done), model

    return make


def end_to_end(weights):
    """The 16 best of 96 boxes with scores, of one convolution with `weights` [6, 3, 8, 8] and a quantized output."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "weights"], ["map"], strides=[8, 8]),
        node("DynamicQuantizeLinear", ["map"], ["numbers", "scale", "zero"]),
        node("DequantizeLinear", ["numbers", "scale", "zero"], ["rounded"]),
        node("Reshape", ["rounded", "flat"], ["columns"]),
        node("Split", ["columns", "parts"], ["boxes", "logits"], axis=1),
        node("Sigmoid", ["logits"], ["scores"]),
        node("Concat", ["boxes", "scores"], ["joined"], axis=1),
        node("Transpose", ["joined"], ["rows"], perm=[0, 2, 1]),
        node("Split", ["rows", "parts"], ["row_boxes", "row_scores"], axis=2),
        node("ReduceMax", ["row_scores"], ["best"], axes=[2]),
        node("ArgMax", ["row_scores"], ["class"], axis=2),
        node("Cast", ["class"], ["class_number"], to=TensorProto.FLOAT),
        node("TopK", ["best", "count"], ["values", "places"], axis=1),
        node("Tile", ["places", "four"], ["box_places"]),
        node("GatherElements", ["row_boxes", "box_places"], ["chosen_boxes"], axis=1),
        node("GatherElements", ["class_number", "places"], ["chosen_class"], axis=1),
        node("Concat", ["chosen_boxes", "values", "chosen_class"], ["y"], axis=2),
    ]
    constants = {
        "weights": weights, "flat": np.array([1, 6, -1]), "parts": np.array([4, 2]), "count": np.array([16]),
        "four": np.array([1, 1, 4]),
    }  # fmt: skip
    return small(nodes, constants)


def test_rows_of_an_end_to_end_head_may_change_places():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (6, 3, 8, 8)).astype(np.float32)
    weights[4:] *= 1e-3  # all scores are nearly equal
    model = end_to_end(weights)
    images = [noise_image(SIZE, seed) for seed in range(4)]
    plain, _ = dequantize(model, images, 0)
    rows = [[infer_image(open_session(m.SerializeToString()), each)[0] for each in images] for m in (model, plain)]
    assert any(np.linalg.norm(now - was) > NOISE * np.linalg.norm(was) for was, now in zip(*rows))
    with pytest.raises(UserError, match="wrong the model computes something else: an output differs by"):
        _demand_close(model, end_to_end(weights[:, ::-1].copy()), images, NOISE, "wrong")


@pytest.mark.parametrize("kind", ["QDQ", "QOperator", "dynamic"])
def test_a_quantized_detector_is_taken(quantized, kind):
    model, original = quantized(kind)
    assert is_quantized(model)
    plain, [note] = prepare(model, IMAGES, 0)
    assert note.startswith("its own quantization (")
    plain, _ = simplify(plain, IMAGES[:1], 0)
    after, _ = adapt(plain, "split", IMAGES, seed=0)
    assert [output.name for output in after.graph.output][:2] == ["box_8", "scores_8"]
    assert not {node.op_type for node in after.graph.node} - {
        "Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize", "Split", "Slice",
    }  # fmt: skip
    # The weights are those of 8 bits, everything else is the original.
    expected, _ = adapt(simplify(original, [], 0)[0], "split", IMAGES, seed=0)
    for fitted in IMAGES:
        pairs = zip(*(infer_image(open_session(each.SerializeToString()), fitted) for each in (expected, after)))
        for float_map, now in pairs:
            assert np.corrcoef(float_map.ravel(), now.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("kind", ["QDQ"])
def test_a_quantized_detector_is_inspected(quantized, kind, step, tmp_path):
    model, _ = quantized(kind)
    onnx.save(model, tmp_path / "q.onnx")
    done = step("inspect_onnx", tmp_path / "q.onnx")
    assert done.returncode == 0, done.stderr
    assert "prepared  its own quantization" in done.stdout and "split     split_outputs" in done.stdout


def test_a_strangers_quantized_yolo26(assets):
    """Boxes divided by the image's size, centres and sizes joined with the scores one by one, 381 tensors quantized."""
    path = assets / "onnx" / "yolo26-person-256-qdq.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    images = [letterbox(image(seed), ImageSize(256, 256))[0] for seed in range(2)]
    plain, [note] = prepare(fix_size(load(path), None)[0], images, 0)
    assert note.startswith("its own quantization (381 tensors) is removed; INT8 is calibrated again")
    after, record = adapt(simplify(plain, images, 0)[0], "split", images, seed=0)
    shapes = [[d.dim_value for d in output.type.tensor_type.shape.dim] for output in after.graph.output]
    assert shapes[:2] == [[1, 4, 32, 32], [1, 1, 32, 32]]
    # Its anchor points and strides are rounded to 8 bits; ours are exact.
    assert 0 < record["box_px"] < 0.02 * 256 and record["score"] < 1e-4
