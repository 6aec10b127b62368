"""The twin computes what the toolkit's simulator computes: every layer, and a model as a whole."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from twin_layers import compare_layers

from lib.accuracy.detection_set import read_detections
from lib.data.images import read_image
from lib.data.input_form import InputForm
from lib.graph.onnx_file import save
from lib.graph.onnx_session import to_tensor
from lib.graph.surgery.pipeline import adapt
from lib.npu import toolkit
from lib.npu.build import NPU, TWIN, TWIN_FAST, Agreement, Build
from lib.npu.twin.agreement import agreement, steps_apart
from lib.npu.twin.chip import chip_of, of_15_bits
from lib.npu.twin.rounding import Rounding, round_bias, round_weights, whole_weights
from lib.npu.twin.run import open_twin, start_of
from lib.npu.twin.structure import Structure
from lib.step.errors import UserError

SIZE = (1, 3, 64, 96)
LEAKY = ("LeakyRelu", {"alpha": 0.1})
ELU = ("Elu", {"alpha": 1.0})
HARD = ("HardSigmoid", {"alpha": 0.2, "beta": 0.5})


class Builder:
    """A graph made node by node, with random weights; each method returns the name of what it adds."""

    def __init__(self):
        self.nodes, self.constants, self.random = [], {}, np.random.default_rng(0)

    def add(self, kind, *given, **settings):
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, given, [name], name=name, **settings))
        return name

    def constant(self, value):
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def conv(self, given, inputs, outputs, kernel=3, group=1, activation=None, kind="Conv", stride=1):
        shape = (outputs, inputs // group) if kind == "Conv" else (inputs, outputs)
        spread = (inputs // group * kernel**2) ** -0.5
        weights = self.constant(self.random.normal(0, spread, (*shape, kernel, kernel)))
        bias = self.constant(self.random.normal(0, 0.2, outputs))
        pad = (kernel - 1) // 2 if kind == "Conv" else 0
        made = self.add(
            kind, given, weights, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=group
        )
        return self.activated(made, activation, outputs)

    def activated(self, given, activation, channels):
        if activation is None:
            return given
        kind, settings = activation if isinstance(activation, tuple) else (activation, {})
        if kind == "SiLU":
            return self.add("Mul", given, self.add("Sigmoid", given))
        if kind == "Clip":
            return self.add("Clip", given, self.constant(0), self.constant(6))
        if kind == "PRelu":
            return self.add("PRelu", given, self.constant(self.random.uniform(0.1, 0.4, (channels, 1, 1))))
        return self.add(kind, given, **settings)

    def model(self, output):
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, SIZE)],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
        model.ir_version = 9
        return onnx.shape_inference.infer_shapes(model)


def activations() -> onnx.ModelProto:
    """Every activation behind a convolution, and behind a depthwise one."""
    build = Builder()
    tensor = build.conv("images", 3, 8, stride=2, activation="Relu")
    for activation in ("SiLU", LEAKY, "Clip", ELU, "PRelu", "HardSwish", "Tanh", HARD, "Sigmoid", "Relu"):
        tensor = build.conv(tensor, 8, 8, activation=activation)
        tensor = build.conv(tensor, 8, 8, group=8, activation=activation)
    return build.model(build.conv(tensor, 8, 4, kernel=1))


def joins() -> onnx.ModelProto:
    """Sums, products, pooling, upsampling and transposed convolutions; sums of two convolutions in either order."""
    build = Builder()
    tensor = build.conv("images", 3, 8, stride=2, activation="SiLU")
    first, second = build.conv(tensor, 8, 8), build.conv(tensor, 8, 8, kernel=1)
    tensor = build.add("Add", second, first)
    grouped = build.conv(tensor, 8, 8, group=2, activation="SiLU")
    tensor = build.add("Add", build.conv(tensor, 8, 8, group=8), grouped)
    tensor = build.add("Mul", tensor, build.conv(tensor, 8, 8, kernel=1, activation="Sigmoid"))
    tensor = build.add("Sub", build.conv(tensor, 8, 8), tensor)
    pooled = build.add("MaxPool", tensor, kernel_shape=[2, 2], strides=[2, 2])
    larger = build.conv(pooled, 8, 8, kernel=2, kind="ConvTranspose", stride=2, activation="Relu")
    tensor = build.add("Concat", tensor, larger, axis=1)
    tensor = build.add("AveragePool", tensor, kernel_shape=[2, 2], strides=[2, 2])
    return build.model(build.conv(tensor, 16, 4, kernel=1))


@pytest.fixture(params=["split", "yolo26n", "yolo11n", "activations", "joins"])
def adapted(request, export, split_onnx, tmp_path) -> Path:
    """An ONNX that the toolkit takes: small detectors of three architectures, and small graphs of many operators."""
    if request.param == "split":
        return split_onnx
    path = tmp_path / "adapted.onnx"
    if request.param in ("activations", "joins"):
        save({"activations": activations, "joins": joins}[request.param](), path)
    else:
        exported = export(architecture=request.param)[1]
        save(
            adapt(
                exported,
                "single",
                [read_image(image) for image in sorted(request.getfixturevalue("pool").iterdir())[:1]],
                seed=0,
            )[0],
            path,
        )
    return path


def test_each_layer_of_the_twin_is_the_simulators(adapted, pool):
    images = sorted(pool.iterdir())
    image = read_image(images[-1])
    structure = toolkit.structure_of(adapted, images[:3], "rv1106")
    with toolkit.quantized(adapted, images[:3], "rv1106", "normal") as session:
        dumps = session.dumps(image)
    try:
        layers = compare_layers(structure, dumps, to_tensor(image))
    except Exception as error:  # onnxruntime's own error classes have no common base
        if "CanRemoveNodeAndMergeEdges" not in str(error):
            raise
        pytest.skip("onnxruntime 1.23 (Python 3.10) cannot open a graph with this many outputs and inputs")
    assert len(layers) > 15
    off = [layer for layer in layers if layer.equal < layer.values]
    # A SiLU's last bit may turn a rounding.
    assert all(layer.operator == "exSwish" and layer.worst == 1 for layer in off), off
    assert sum(layer.values - layer.equal for layer in off) <= 2


def test_the_twin_gives_the_simulators_outputs(split_onnx, pool):
    images = sorted(pool.iterdir())
    structure = toolkit.structure_of(split_onnx, images[:3], "rv1106")
    scales, form = structure.output_scales(), InputForm()
    runs = {name: start_of(name, structure, form)() for name in (TWIN, TWIN_FAST, NPU)}
    with toolkit.quantized(split_onnx, images[:3], "rv1106", "normal") as session:
        simulate = session.simulate()
        apart = {name: [] for name in runs}
        for image in map(read_image, images):
            simulated = simulate(image)
            for name, run in runs.items():
                apart[name].append(steps_apart(run(image), simulated, scales))
    assert sum(not any(image) for image in apart[TWIN]) >= 7, apart[TWIN]
    for name in (TWIN_FAST, NPU):
        assert np.mean(apart[name]) < 1, name


def test_an_operator_that_the_twin_does_not_know_is_named():
    build = Builder()
    model = build.model(build.add("Erf", build.conv("images", 3, 8)))
    ranges = {"images": (0.0, 1.0), "Conv0": (-1.0, 1.0), "y": (-1.0, 1.0)}
    for name in (TWIN, TWIN_FAST, NPU):
        with pytest.raises(
            UserError, match=r"does not support the operator Erf \(Erf1\); set evaluation\.simulator to"
        ):
            start_of(name, Structure(model, ranges), InputForm())


def test_a_model_without_a_twin_leaves_no_file(quantize, tmp_path):
    """The toolkit computes this softmax in FP16."""
    build = Builder()
    pooled = build.add("GlobalAveragePool", build.conv("images", 3, 8, stride=2, activation="Relu"))
    model = build.model(build.add("Softmax", build.conv(pooled, 8, 10, kernel=1), axis=1))
    save(adapt(model, "as_is", [], seed=0)[0], tmp_path / "classes.onnx")
    done = quantize(tmp_path / "classes.onnx", tmp_path, "--simulator", "twin")
    assert done.returncode == 2, done.stderr
    assert "does not support the output y, which is not INT8; set evaluation.simulator to toolkit" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"classes.onnx", "build.log"}


def test_a_range_is_widened_to_hold_0():
    assert Rounding.of_range(0.5, 2.55) == Rounding(2.55 / 255, -128)
    assert Rounding.of_range(-2.55, -1.0) == Rounding(2.55 / 255, 127)
    assert Rounding.of_range(0.0, 0.0).zero_point == -128


def test_a_symmetric_filter_is_rounded_to_even_and_cut_at_the_end():
    weights = np.array([[-127.5, 127.5, 62.5], [0.0, 0.0, 0.0]], np.float32).reshape(2, 3, 1, 1)
    rounded, scales = round_weights(weights)
    np.testing.assert_array_equal(scales, [1, 1])
    np.testing.assert_array_equal(rounded[0].ravel(), [-128, 127, 62])
    assert not rounded[1].any()


def test_filters_of_a_transposed_convolution_lie_along_its_second_axis():
    weights = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float32)
    rounded, scales = round_weights(weights, axis=1)
    turned, same = round_weights(np.ascontiguousarray(weights.swapaxes(0, 1)))
    np.testing.assert_array_equal(rounded, turned.swapaxes(0, 1))
    np.testing.assert_array_equal(scales, same)


def test_a_bias_is_whole_steps_of_input_and_filter_scale():
    np.testing.assert_allclose(
        round_bias(np.array([0.104, -0.7], np.float32), 0.1, np.array([0.1, 0.5])), [0.1, -0.7], rtol=1e-6
    )


def test_quantize_detects_with_the_twin_and_says_how_it_compares(split_onnx, quantize, quantized, tmp_path):
    done = quantize(split_onnx, tmp_path, "--simulator", "twin")
    assert done.returncode == 0, done.stderr
    assert "twin is as the toolkit's simulator to the last bit on 3 of the first 3 images" in done.stderr + done.stdout
    build = Build.read(tmp_path / "build.json")
    assert (build.simulator, build.agreement.same, build.agreement.steps) == ("twin", 3, 0)
    assert Build.read(quantized / "build.json").simulator is Build.read(quantized / "build.json").agreement is None
    twin, simulator = (read_detections(folder / "detections.npz") for folder in (tmp_path, quantized))
    for ours, theirs in zip(twin.instances, simulator.instances, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)


def test_the_twin_is_refused_where_it_knows_nothing_of_the_algorithm(split_onnx, quantize, tmp_path):
    done = quantize(split_onnx, tmp_path, "--simulator", "twin", "--algorithm", "mmse")
    assert done.returncode == 2
    assert "--simulator twin needs the algorithm normal, corrected or gptq, not mmse" in done.stderr
    # Before it asks for a version to be installed.
    done = quantize(split_onnx, tmp_path, "--simulator", "twin", "--toolkit", "2.2.0")
    assert done.returncode == 2 and "twin computes as toolkit 2.3.2 does, not 2.2.0" in done.stderr
    assert not (tmp_path / "model.rknn").exists()


def test_outputs_that_are_further_apart_than_the_order_of_sums_makes_them_are_an_error():
    outputs = [np.zeros((1, 4, 2, 2), np.float32), np.zeros((1, 2, 2, 2), np.float32)]
    others = [outputs[0] + 1, outputs[1]]
    assert steps_apart(outputs, outputs, [0.5, 1.0]) == [0, 0]
    assert steps_apart(outputs, others, [0.5, 1.0]) == [2, 0]
    some = agreement(TWIN, [[0.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [0.0, 1.0]])
    assert some == Agreement(2, 1, 1.5, 1.0)
    assert str(some) == (
        "as the toolkit's simulator to the last bit on 1 of the first 2 images; 1.50 steps off on average, where the "
        "order of sums alone makes 1.00"
    )
    assert str(agreement(TWIN_FAST, [[0.0]], [[1.0]])) == (
        "as the toolkit's simulator to the last bit on 1 of the first 1 images"
    )
    for apart, noise in (([[2.1, 3.0]], [[1.0, 2.0]]), ([[0.6]], [[0.0]])):
        with pytest.raises(UserError, match=r"the first 1 images; .* set evaluation\.simulator to toolkit"):
            agreement(TWIN, apart, noise)
        assert agreement(NPU, apart, noise).same == 0


def shifted(number: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers divided by 2^bits and rounded, halves to even, as the account of the chip writes it."""
    return (number + 2 ** (bits - 1) - 1 + ((number >> bits) & 1)) >> bits


@pytest.mark.parametrize("activation", [None, "Relu"])
@pytest.mark.parametrize(("kind", "group"), [("Conv", 1), ("Conv", 3), ("ConvTranspose", 1)])
def test_the_model_of_the_chip_rounds_whole_sums_twice(kind, group, activation):
    build = Builder()
    build.conv("images", 3, 3, kernel=1, group=group, kind=kind)
    axis, channels = (1, "io") if kind == "ConvTranspose" else (0, "oi")
    # Filters of very different range: the first rounding leaves little of the small ones.
    build.constants["constant0"] *= np.moveaxis(np.float32([1, 0.1, 0.001]).reshape(3, 1, 1, 1), 0, axis)
    weights, bias = (build.constants[name].astype(np.float32) for name in ("constant0", "constant1"))
    if activation:
        build.add(activation, f"{kind}0")
    model = build.model("y")
    low, high = (0.0, 1.0) if activation else (-1.5, 2.0)
    ranges = {"images": (0.0, 1.0), f"{kind}0": (-1.5, 2.0), "y": (low, high)}
    image = np.random.default_rng(1).integers(0, 256, SIZE)
    session = open_twin(chip_of(Structure(model, ranges)), exact=False)
    [output] = session.run(["y"], {"images": (image / 255).astype(np.float32)})

    whole, scales = (each.astype(np.float64) for each in whole_weights(weights, axis))
    matrix = np.diag(whole.ravel()) if group > 1 else whole[:, :, 0, 0]
    sums = np.einsum(f"{channels},nihw->nohw", matrix, image).astype(np.int64)
    sums += np.rint(bias / (scales / 255)).astype(np.int64).reshape(3, 1, 1)
    factors = np.rint(2**14 * scales / scales.max()).astype(np.int64).reshape(3, 1, 1)
    of_layer = shifted(sums * factors, 14)
    rounding = Rounding.of_range(low, high)
    if activation and kind == "Conv":
        steps = np.rint(np.maximum(of_layer * scales.max() / 255, 0).astype(np.float32) / np.float32(rounding.scale))
    else:
        between = Rounding.of_range(*ranges[f"{kind}0"])
        factor = scales.max() / 255 / between.scale
        shift = int(np.floor(np.log2(32767 / factor)))
        assert of_15_bits(factor) == round(factor * 2**shift) / 2**shift
        steps = shifted(of_layer * round(factor * 2**shift), shift)
        if activation:
            values = np.maximum(steps * between.scale, 0).astype(np.float32)
            steps = np.rint(values / np.float32(rounding.scale))
    stored = np.clip(steps + rounding.zero_point, -128, 127)
    np.testing.assert_array_equal(rounding.steps(output), stored)
    assert len(np.unique(stored)) > 10
