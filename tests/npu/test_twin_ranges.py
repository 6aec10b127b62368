"""Ranges measured without the toolkit are the toolkit's own, and a model that is built from them is the same."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from conftest import ROOT
from onnx import helper, numpy_helper
from threadpoolctl import threadpool_limits

from lib.data.images import read_image
from lib.data.input_form import InputForm
from lib.graph.onnx_file import save
from lib.graph.onnx_session import to_tensor
from lib.npu import toolkit
from lib.npu.range_table import ranges_on
from lib.npu.twin.ranges import RangePass, adjusted, chosen, union
from lib.npu.twin.structure import Structure
from lib.step.errors import ToolkitError


def measured(structure, images):
    measure = RangePass(structure).measure
    return [measure(to_tensor(read_image(image))) for image in images]


@pytest.fixture
def images(pool) -> list[Path]:
    return sorted(pool.iterdir())


def test_a_model_built_from_own_ranges_and_one_image_is_the_one_that_is_built_on_all(split_onnx, images):
    def choose(structure):
        ranges = measured(structure, images[:3])
        return chosen(structure, ranges[0], union(ranges))

    with toolkit.built_with_ranges(split_onnx, choose, images[0], "rv1106") as (session, structure):
        run = session.simulate()
        ours = [run(read_image(image)) for image in images]
        assert session.log.cycles > 0
    with toolkit.quantized(split_onnx, images[:3], "rv1106", "normal") as session:
        run = session.simulate()
        for image, outputs in zip(images, ours):
            for output, expected in zip(outputs, run(read_image(image)), strict=True):
                np.testing.assert_array_equal(output, expected)
    changed = structure.with_ranges({name: (low - 1, high) for name, (low, high) in structure.ranges.items()})
    ranges = measured(structure, images[:3])
    assert chosen(changed, ranges[0], union(ranges)) is None
    with pytest.raises(ToolkitError, match="there is no range for"):
        structure.with_ranges({})


@pytest.mark.parametrize("head", ["split", "single"])
def test_ranges_with_attention_and_both_heads_are_the_toolkits(export, images, tmp_path, head):
    from lib.graph.surgery.pipeline import adapt

    path = tmp_path / "adapted.onnx"
    save(adapt(export(architecture="yolo11n")[1], head, [read_image(images[0])], seed=0)[0], path)
    structure = toolkit.structure_of(path, images[:2], "rv1106")
    own = adjusted(structure, union(measured(structure, images[:2])))
    assert own == {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in structure.ranges.items()}


def test_a_tensor_is_kept_until_its_last_reader():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Split", ["c"], ["d", "unread"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    structure = Structure(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])), {})
    assert structure.finished() == [["x"], [], ["a", "b"], ["c", "unread"], ["d", "y"]]


COMPARE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lib.data.images import read_image
from lib.graph.onnx_session import to_tensor
from lib.npu import toolkit
from lib.npu.twin.ranges import RangePass, adjusted
structure = toolkit.structure_of(Path(sys.argv[2]), [Path(sys.argv[3])], "rv1106")
own = adjusted(structure, RangePass(structure).measure(to_tensor(read_image(sys.argv[3]))))
theirs = {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in structure.ranges.items()}
sys.exit(f"different: {[name for name in own if own[name] != theirs[name]]}" if own != theirs else 0)
"""


@pytest.mark.parametrize("core", ["Nehalem", "Haswell", "SkylakeX"])
def test_attention_adds_in_the_toolkits_order_on_any_processor(export, images, tmp_path, core):
    """OpenBLAS has a matrix product for each kind of processor, and with AVX-512 one for each order of the operands."""
    from lib.graph.surgery.pipeline import adapt

    if core == "SkylakeX" and "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX-512")
    save(adapt(export(architecture="yolo11n")[1], "split", [read_image(images[0])], seed=0)[0], tmp_path / "a.onnx")
    run = [sys.executable, "-c", COMPARE, ROOT / "scripts", tmp_path / "a.onnx", images[1]]
    done = subprocess.run(run, env=os.environ | {"OPENBLAS_CORETYPE": core}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]


@pytest.mark.parametrize("readers", [1, 2])
def test_a_slice_narrows_what_only_it_reads(images, tmp_path, readers):
    """As in the head `single`, where a constant channel leaves the boxes before the scores are joined to them."""
    rng = np.random.default_rng(0)
    filters = rng.standard_normal((8, 3, 3, 3), dtype=np.float32) * np.float32(
        [0.2, 0.3, 0.2, 0.3, 30, 20, 10, 30]
    ).reshape(8, 1, 1, 1)
    constants = {
        "filters": filters, "low": np.float32(0), "high": np.float32(8),
        "start": np.array([0]), "middle": np.array([4]), "end": np.array([8]), "axis": np.array([1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "filters"], ["sums"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["sums", "low", "high"], ["limited"]),
        helper.make_node("Slice", ["limited", "start", "middle", "axis"], ["first"]),
        helper.make_node("Slice", ["limited", "middle", "end", "axis"], ["second"]),
    ][: 2 + readers]
    outputs = [node.output[0] for node in nodes[2:]]
    graph = helper.make_graph(
        nodes, "slices", [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 32, 48]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    path = tmp_path / "slices.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    structure = toolkit.structure_of(path, images[:1], "rv1106")
    own = {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in structure.ranges.items()}
    assert adjusted(structure, measured(structure, images[:1])[0]) == own
    assert (own["limited"][1] < 8) == (readers == 1)


# Chains of operators behind a convolution each. "+" reads once more what the operator before it wrote; "Concat" reads
# also a convolution that nothing else reads, "Shared" one that another operator reads too.
CHAINS = (
    "LeakyRelu MaxPool", "LeakyRelu MaxPool+", "LeakyRelu Resize", "LeakyRelu Resize+", "Resize Resize AveragePool",
    "Relu MaxPool Resize", "HardSwish MaxPool", "Sigmoid MaxPool", "Sigmoid Resize+", "Sigmoid AveragePool",
    "Concat MaxPool", "Concat Resize+", "Shared MaxPool", "Concat Relu", "Concat Relu+", "LeakyRelu Sigmoid+",
    "Split Sigmoid", "Split MaxPool", "Split Relu+", "LeakyRelu Slice+", "MaxPool MaxPool", "Clip Resize+",
    "Tanh", "HardSigmoid", "HardSigmoid+", "LeakyRelu Pad", "MaxPool Pad+",
)  # fmt: skip
SETTINGS = {
    "MaxPool": {"kernel_shape": [3, 3], "pads": [1] * 4},
    "AveragePool": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "Resize": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "LeakyRelu": {"alpha": 0.1},
    "HardSigmoid": {"alpha": 1 / 6},
    "Concat": {"axis": 1},
    "Split": {"axis": 1, "num_outputs": 2},
}
SECOND_INPUTS = {"Resize": ["", "double"], "Slice": ["from", "to", "axis"], "Clip": ["low", "high"],
                 "Pad": ["border"]}  # fmt: skip


def chains_model() -> onnx.ModelProto:
    """The CHAINS, each with outputs of its own; sums of channels that reach beyond 7, where a sigmoid's range ends."""
    rng = np.random.default_rng(0)
    constants = {"double": np.array([1, 1, 2, 2], np.float32), "from": np.array([0]), "to": np.array([4]),
                 "axis": np.array([1]), "low": np.float32(-1), "high": np.float32(2),
                 "border": np.array([0, 0, 1, 1] * 2)}  # fmt: skip
    nodes, outputs = [], []

    def convolution(given: str, channels: int, name: str) -> str:
        constants[f"{name}/weights"] = rng.normal(0, 1.5, (8, channels, 1, 1)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [given, f"{name}/weights"], [name]))
        return name

    for number, chain in enumerate(CHAINS):
        now, channels = convolution("images", 3, f"{number}"), 8
        for place, word in enumerate(chain.split()):
            kind, before = word.removesuffix("+").replace("Shared", "Concat"), now
            now = f"{number}/{place}"
            others = SECOND_INPUTS.get(kind, [])
            if kind == "Concat":
                others = [convolution("images", 3, f"{now}/other")]
            if word == "Shared":
                outputs.append(convolution(others[0], 8, f"{now}/reader"))
            names = [now, f"{now}/second"] if kind == "Split" else [now]
            nodes.append(helper.make_node(kind, [before, *others], names, **SETTINGS.get(kind, {})))
            read_before, channels = channels, {"Concat": 16, "Split": 4, "Slice": 4}.get(kind, channels)
            if word.endswith("+"):
                outputs.append(convolution(before, read_before, f"{now}/again"))
            outputs += [convolution(other, channels, f"{other}/end") for other in names[1:]]
        outputs.append(convolution(now, channels, f"{number}/end"))
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ["images", *outputs]]
    infos[0] = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "chains", infos[:1], infos[1:], initializers)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    )


def test_what_narrows_a_range_and_what_takes_its_inputs(tmp_path):
    """The rules were found with 690 random graphs; the toolkit computes with mean and std in float64."""
    form = InputForm(channels="bgr", scale=1, mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))
    image, pixels = tmp_path / "image.png", np.random.default_rng(1).random((32, 32, 3)) ** 2 * 255
    cv2.imwrite(str(image), pixels.astype(np.uint8))
    save(chains_model(), tmp_path / "chains.onnx")
    structure = toolkit.structure_of(tmp_path / "chains.onnx", [image], "rv1106", form)
    ours = adjusted(structure, ranges_on(form, RangePass(structure), image))
    theirs = {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in structure.ranges.items()}
    assert {name: ours[name] for name in theirs if ours[name] != theirs[name]} == {}


def test_ranges_do_not_depend_on_the_threads_of_matrix_products():
    names = ["queries", "keys", "contents"]
    nodes = [
        helper.make_node("Split", ["images"], names, axis=1, num_outputs=3),
        helper.make_node("exSDPAttention", names, ["mixed"], scale=0.2, q_matmul="products", q_softmax="weights"),
    ]
    shapes = {"images": [2, 96, 1, 100], "mixed": [2, 32, 1, 100]}
    given, result = (helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items())
    model = helper.make_model(helper.make_graph(nodes, "attention", [given], [result]))
    run = RangePass(Structure(model, {}))
    for seed in range(20):
        tensor = np.random.default_rng(seed).normal(0, 1, shapes["images"]).astype(np.float32)
        with threadpool_limits(1, "blas"):
            expected = run.measure(tensor)
        with threadpool_limits(2, "blas"):
            assert run.measure(tensor) == expected
