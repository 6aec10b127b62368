"""A model of no known family is converted as it is: prepared, judged, and compared with FP32 output by output."""

import cv2
import numpy as np
import onnx
import pytest
from conftest import ROOT, image
from onnx import TensorProto, helper, numpy_helper

from lib.accuracy.likeness import MOST_DB, ImageLikeness, demand_same_outputs, image_likeness, output_likeness
from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.convert import conversion
from lib.convert.conversion import Request, convert
from lib.convert.images import noise_images
from lib.data.imgsz import ImageSize
from lib.detector.head import AS_IS, SPLIT
from lib.detector.output_spec import METADATA_KEY
from lib.graph import families
from lib.graph.onnx_file import metadata
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.pipeline import adapt
from lib.npu.rknn_file import read_rknn
from lib.npu.verdict import Judgement
from lib.step.errors import Incomplete, UserError


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """ONNX files of networks with random weights that are no detectors, by name."""
    torch = pytest.importorskip("torch", reason="needs torch, which a light environment lacks")
    from torch import nn

    def block(channels_in, channels, stride=1):
        convolution = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 64, 2))
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            return self.linear(self.features(x).mean((2, 3))).softmax(1)

    class Segmenter(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.deep = block(3, 16, 2), block(16, 32, 2)
            self.up, self.last = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 5, 2, 2)

        def forward(self, x):
            shallow = self.down(x)
            return self.last(torch.relu(self.up(self.deep(shallow)) + shallow))

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(block(3, 16, 2), block(16, 32, 2), nn.AvgPool2d((8, 1)))
            self.recurrent, self.linear = nn.LSTM(32, 16, bidirectional=True), nn.Linear(32, 37)

        def forward(self, x):
            columns = self.features(x).squeeze(2).permute(2, 0, 1)
            return self.linear(self.recurrent(columns)[0])

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("strangers")
    for name, network, size in (
        ("classifier", Classifier(), (112, 104)),
        ("segmenter", Segmenter(), (64, 96)),
        ("reader", Reader(), (32, 96)),
    ):
        torch.onnx.export(network.eval(), torch.rand(1, 3, *size), str(folder / f"{name}.onnx"), opset_version=13,
                          input_names=["image"], output_names=["out"])  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of eight images without labels."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), image(number))
    return folder


def one_node(op_type: str, *tensors, opset=13, shape=(1, 3, 8, 8), **attributes) -> onnx.ModelProto:
    """A model of an image, one node and its constant tensors."""
    names = [f"constant_{number}" for number in range(len(tensors))]
    node = helper.make_node(op_type, ["image", *names], ["out"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(tensor, name) for tensor, name in zip(tensors, names)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def said(done) -> dict[str, list[str]]:
    """The converter's lines by their first word."""
    lines = {}
    for line in done.stderr.splitlines():
        word, _, text = line.partition(" ")
        lines.setdefault(word, []).append(text.strip())
    return lines


@pytest.mark.parametrize(
    ("model", "passes"),
    [
        (one_node("ReduceMean", axes=[2, 3], keepdims=0), ["pool_globally"]),
        (one_node("ReduceMean", axes=[-1, 2], keepdims=0, opset=11), ["raise_opset", "pool_globally"]),
        (one_node("ReduceMean", np.array([2, 3]), opset=18, keepdims=0), ["pool_globally"]),
        (one_node("ReduceMean", axes=[2, 3], keepdims=1), []),
        (one_node("ReduceMean", axes=[1, 2], keepdims=0), []),
        (one_node("ReduceMean", axes=[2], keepdims=0), []),
        (one_node("Relu", opset=20), ["lower_opset"]),
    ],
)
def test_a_graph_is_prepared_and_computes_the_same(model, passes):
    model.metadata_props.add(key=METADATA_KEY, value="of another head")
    model.metadata_props.add(key="author", value="somebody")
    pixels = image(0, 8, 8)
    after, record = adapt(model, AS_IS, [pixels], seed=0)
    assert [entry["pass"] for entry in record["passes"]] == passes
    assert (record["head"], record["inputs"]) == (AS_IS, 2) and record["difference"] < 1e-6
    assert is_as_is(after) and not is_as_is(model)
    assert METADATA_KEY not in metadata(after) and metadata(after)["author"] == "somebody"
    assert not {node.op_type for node in after.graph.node} & ({"ReduceMean"} if "pool_globally" in passes else set())
    before, now = (infer(open_session(each.SerializeToString()), to_tensor(pixels))[0] for each in (model, after))
    np.testing.assert_allclose(now, before, atol=1e-6)
    again, record = adapt(after, AS_IS, [pixels], seed=0)
    assert record["passes"] == [] and again == after


def test_an_output_that_is_constant_is_told():
    """The toolkit drops it, and the others would be compared with the wrong ones."""
    model = one_node("Relu")
    for number in range(2):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), f"anchors_{number}"))
        model.graph.node.append(helper.make_node("Neg", [f"anchors_{number}"], [f"fixed_{number}"]))
        model.graph.output.append(helper.make_tensor_value_info(f"fixed_{number}", TensorProto.FLOAT, (2,)))
        with pytest.raises(
            UserError, match=f"^output fixed_0{', fixed_1 are constants' if number else ' is a constant'}"
        ):
            adapt(model, AS_IS, [], seed=0)


def test_half_precision_is_widened():
    model = one_node("Conv", np.linspace(-1, 1, 27).reshape(1, 3, 3, 3).astype(np.float16))
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.elem_type = TensorProto.FLOAT16
    after, record = adapt(model, AS_IS, [], seed=0)
    assert [entry["pass"] for entry in record["passes"]] == ["float32_weights"]
    assert after.graph.initializer[0].data_type == after.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_outputs_that_the_toolkit_dropped_are_named():
    fp32 = [np.arange(6.0), np.full(4, 0.5), np.arange(3.0)]
    demand_same_outputs(["box_8", "scores_8", "box_16"], fp32, fp32)
    with pytest.raises(UserError, match=r"has 2 outputs, of \[6, 3\] values, .* dropped by it, are scores_8"):
        demand_same_outputs(["box_8", "scores_8", "box_16"], fp32, [fp32[0], fp32[2]])


def test_likeness_of_outputs():
    exact = image_likeness(np.array([[3.0, 4.0]]), np.array([3.0, 4.0]))
    assert exact == ImageLikeness(1.0, 25.0, 0.0, 0)
    opposite = image_likeness(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert opposite == ImageLikeness(0.0, 1.0, 2.0, 1)
    both = output_likeness("out", [exact, opposite])
    assert (both.name, both.cosine) == ("out", 0.5)
    assert both.snr_db == pytest.approx(10 * np.log10(26 / 2))
    assert output_likeness("out", [exact]).snr_db == MOST_DB
    nothing = image_likeness(np.zeros(2), np.zeros(2))
    assert (nothing.cosine, output_likeness("out", [nothing]).snr_db) == (0.0, MOST_DB)
    assert output_likeness("out", [image_likeness(np.zeros(2), np.ones(2))]).snr_db == -MOST_DB


@pytest.mark.parametrize(
    ("int8", "rank"),
    [
        ([0, 1, 2, 3, 9, 5, 6], 0),
        ([0, 1, 2, 9, 9, 5, 6], 1),  # of equal values, a program takes the first
        ([0, 1, 2, 3, 9, 9, 6], 0),
        ([5, 6, 7, 8, 4, 9, 0], 5),
    ],
)
def test_the_rank_of_the_best_class(int8, rank):
    fp32 = np.array([0, 0, 0, 0, 1, 0, 0], float)
    assert image_likeness(fp32.reshape(1, 7, 1, 1), np.array(int8, float)).rank == rank
    assert image_likeness(np.zeros((1, 7, 2)), np.zeros((1, 7, 2))).rank is None, "not a vector"


def test_shares_of_images_with_the_same_best_class():
    images = [ImageLikeness(1, 1, 0, rank) for rank in (0, 0, 4, 5)]
    like = output_likeness("classes", images)
    assert (like.top1, like.top5) == (0.5, 0.75)
    assert output_likeness("map", [ImageLikeness(1, 1, 0)] * 2).top1 is None


@pytest.mark.toolkit
@pytest.mark.parametrize(
    ("name", "shape", "verdict", "at_fault", "size"),
    [
        ("classifier", (1, 10), "unsure (inferred)", "exSoftmax13:/Softmax, FLOAT16 on the NPU", "104x112"),
        ("segmenter", (1, 5, 64, 96), "runs (inferred)", None, "96x64"),
        ("reader", (24, 1, 37), "fails (", "Transpose:", "96x32"),
    ],
)
def test_a_stranger_is_converted_judged_and_compared(
    step, strangers, images, tmp_path, name, shape, verdict, at_fault, size
):
    rknn = tmp_path / "model.rknn"
    done = step("onnx_to_rknn", strangers / f"{name}.onnx", "--dataset", images, "--max-images", 4, "-o", rknn,
                "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = said(done)
    assert f": {size}, " in lines["model"][0]
    assert lines["head"][0].startswith("as_is: ") and lines["head"][0].endswith("no detections and no mAP")
    assert "mAP50" not in lines and "detections" not in lines
    assert lines["compared"] == ["INT8 with FP32 on 4 images that it was not calibrated with, output by output"]
    assert verdict in lines["verdict"][0] and "head 'split'" not in lines["verdict"][0]
    faults = lines.get("at", [])
    assert not faults if at_fault is None else any(at_fault in fault for fault in faults), faults
    assert "million cycles" in lines["costs"][0] and "KB for weights" in lines["costs"][0]
    [output] = read_rknn(rknn).outputs
    assert output.shape == shape and len(output.native_shape) == len(shape) + 1
    [told] = lines["output"]
    stored = "FLOAT16, not quantized" if output.scale is None else output.quantization
    assert told.startswith(f"out {list(shape)} {stored}, cosine ")
    assert float(told.split("cosine ")[1].split(",")[0]) > 0.999
    assert float(told.split("noise ")[1].split()[0]) > 25
    same = ", FP32's largest value (a classifier's best class) is INT8's in 100% of images, among its 5 largest in 100%"
    assert told.endswith(f" dB{same}") == (name == "classifier")
    assert "best class" not in told.replace(same, ""), "the graph does not say what a vector's values are"


@pytest.mark.toolkit
def test_a_detector_can_be_left_as_it_is(step, exported, images, tmp_path):
    done = step("onnx_to_rknn", exported[0], "--head", AS_IS, "--dataset", images, "--max-images", 4,
                "-o", tmp_path / "model.rknn", "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = said(done)
    assert lines["head"] == ["as_is; its outputs are not decoded, so there are no detections and no mAP"]
    [output] = read_rknn(tmp_path / "model.rknn").outputs
    assert output.shape == (1, 8, 126)


def test_what_as_is_cannot_do_is_one_sentence(step, strangers, images, tmp_path):
    onnx.save(one_node("Relu", shape=(1, 10)), tmp_path / "vector.onnx")
    two = one_node("Add", np.ones(1, np.float32))
    del two.graph.initializer[:]
    two.graph.input.add().CopyFrom(helper.make_tensor_value_info("constant_0", TensorProto.FLOAT, (1, 3, 8, 8)))
    onnx.save(two, tmp_path / "two.onnx")
    for model, arguments, sentence in (
        (strangers / "classifier.onnx", ["--labels", images, "--dataset", images], "--labels are for the mAP of"),
        (strangers / "segmenter.onnx", ["--head", SPLIT], "ConvTranspose"),
        (tmp_path / "vector.onnx", [], "inputs are [[1, 10]]"),
        (tmp_path / "two.onnx", [], "one input [1, 3, height, width] is expected"),
    ):
        done = step("onnx_to_rknn", model, *arguments, "-o", tmp_path / "model.rknn")
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert sentence in done.stderr.splitlines()[-1]
    assert not (tmp_path / "model.rknn").exists()


def test_inspect_says_that_it_will_be_as_is_and_why(step, strangers):
    done = step("inspect_onnx", strangers / "classifier.onnx")
    assert done.returncode == 2
    assert "as_is     pool_globally" in done.stdout.splitlines()
    assert "converts it with the head as_is: the output is not a Concat" in done.stderr
    done = step("inspect_onnx", strangers / "reader.onnx")
    assert "as_is     left as it came" in done.stdout.splitlines()
    assert "of shape [24, 1, 37]" in done.stderr


@pytest.mark.toolkit
def test_retinaface(step, assets, images, tmp_path):
    done = step("onnx_to_rknn", assets / "onnx" / "retinaface-640.onnx", "--dataset", images, "--max-images", 6,
                "-o", tmp_path / "model.rknn", "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = said(done)
    assert [output.shape for output in read_rknn(tmp_path / "model.rknn").outputs] == [
        (1, 16800, 4), (1, 16800, 2), (1, 16800, 10)
    ]  # fmt: skip
    assert lines["verdict"][0].startswith("fails") and "8392 is needed" in lines["verdict"][0]
    assert any("Transpose:592" in fault for fault in lines["at"])
    assert len(lines["output"]) == 3


def test_only_what_recognition_refuses_is_left_as_it_is(exported):
    model = exported[1]
    with pytest.raises(UserError, match="already went through surgery"):
        adapt(adapt(model, SPLIT, [], seed=0)[0], "single", [], seed=0)
    assert is_as_is(adapt(model, AS_IS, [], seed=0)[0])


@pytest.mark.toolkit
def test_steps_of_the_workflow_give_a_verdict_and_a_likeness_and_no_map(
    step, strangers, pool, heldout, quantize, tmp_path
):
    def done(name, *arguments):
        finished = step(name, *arguments)
        assert finished.returncode == 0, finished.stderr
        return finished

    onnx, verdict = tmp_path / "as_is.onnx", tmp_path / "verdict.json"
    surgery = done("graph_surgery", "--onnx", strangers / "segmenter.onnx", "--head", AS_IS, "--images", pool,
                   "--output", onnx, "--proof", tmp_path / "proof.json")  # fmt: skip
    assert "outputs [[1, 5, 64, 96]], outputs differ by at most" in surgery.stdout
    quantized = quantize(onnx, tmp_path)
    assert quantized.returncode == 0, quantized.stderr
    done("judge", "--build", tmp_path / "build.json", "--head", AS_IS, "--cma-mb", 66, "--clock-mhz", 420,
         "--measured", ROOT / "config" / "measured.csv", "--verdict", verdict)  # fmt: skip
    judged = Judgement.read(verdict).verdict
    assert (judged.result, judged.basis) == ("runs", "inferred")
    for name, source, options in (
        ("exported", strangers / "segmenter.onnx", []),
        ("int8", None, ["--baseline", tmp_path / "exported.npz"]),
    ):
        detections = tmp_path / "detections.npz"
        if source:
            detections = tmp_path / "fp32.npz"
            done("detect", "--onnx", source, "--dataset", heldout, "--names", *"abcd", "--detections", detections)
        done("evaluate", "--detections", detections, "--dataset", heldout, "--names", *"abcd", "--resamples", 5,
             "--seed", 0, "--metrics", tmp_path / f"{name}.json", "--resampled", tmp_path / f"{name}.npz",
             *options)  # fmt: skip
    fp32, int8 = Metrics.read(tmp_path / "exported.json"), ComparedMetrics.read(tmp_path / "int8.json")
    assert (fp32.map50_95, fp32.outputs) == (None, None) and "not a detector of a known family" in fp32.undecoded
    assert (int8.map50_95, int8.retention, int8.images) == (None, None, 3)
    [output] = int8.outputs
    assert output.name == "out" and 0.99 < output.cosine < 1 and 25 < output.snr_db < MOST_DB


def test_a_known_kind_that_lacks_something_is_not_left_as_it_is(exported, monkeypatch, tmp_path):
    def asks(graph):
        raise Incomplete("say which anchors")

    monkeypatch.setattr(families, "recognize", asks)
    with pytest.raises(Incomplete, match=r"^say which anchors; or convert it with --head as_is$"):
        convert(Request(exported[1], None, (), proven_on_noise=True), tmp_path)


@pytest.mark.toolkit
def test_what_the_proof_refuses_is_left_as_it_is_unless_a_head_is_asked_for(exported, monkeypatch, tmp_path):
    def refuses(model, head, images, seed):
        if head == SPLIT:
            raise UserError("the graph computes something else; nothing was written")
        return adapt(model, head, images, seed)

    monkeypatch.setattr(conversion, "adapt", refuses)
    with pytest.raises(UserError, match="computes something else; nothing"):
        convert(Request(exported[1], SPLIT, (), proven_on_noise=True), tmp_path)
    noise = noise_images(ImageSize(96, 64), 1, 0, tmp_path)
    adapted = convert(Request(exported[1], None, noise, proven_on_noise=True), tmp_path).adapted
    assert (adapted.head, adapted.stranger) == (AS_IS, "the graph computes something else")
