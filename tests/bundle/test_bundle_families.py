"""Bundles of detectors other than YOLOv8: end-to-end, a DFL of 8 bins, Darknet's maps, YOLOX; random weights."""

import shutil
import struct
import subprocess
from functools import partial

import numpy as np
import pytest
from anchor_heads import ANCHORS, AnchorHead
from conftest import fresh_detector, image
from maker_heads import Head
from random_models import Case

from lib import tasks
from lib.accuracy.evaluation import measure
from lib.accuracy.inference import detect_all
from lib.accuracy.metrics import ComparedMetrics
from lib.bundle import program
from lib.bundle.check import problems
from lib.bundle.contract import Contract
from lib.bundle.make import make, read_evaluation
from lib.data.calibration_list import calibration_images, calibration_list
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.detector.families.dfl import Dfl
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.darknet.convert import convert
from lib.graph.darknet.layers import Convolutional
from lib.graph.darknet.network import read_network
from lib.graph.export import export
from lib.graph.onnx_file import load, save
from lib.graph.output_spec import detector_spec
from lib.graph.surgery.pipeline import adapt
from lib.npu.int8 import Quantization, int8_model
from lib.npu.rknn_file import RknnTensor
from lib.npu.verdict import Costs, Judgement, Verdict
from lib.results import run_files
from lib.results.sweep import Variant
from lib.step.errors import UserError

SIZE, NAMES = ImageSize(96, 64), list("abcd")
# One layer as of YOLOv3, one with what YOLOv4 added.
CFG = """\
[net]
width=96
height=64
channels=3
[convolutional]
filters=8
size=3
stride=16
pad=1
activation=leaky
[convolutional]
filters=27
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=4
num=3
[route]
layers=-3
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=18
size=1
activation=logistic
[yolo]
mask=1,2
anchors=10,14, 23,27, 37,58
classes=4
num=3
scale_x_y=2.0
new_coords=1
"""


def darknet(folder):
    """A Darknet detector with random weights, as exported."""
    cfg, weights = folder / "random.cfg", folder / "random.weights"
    cfg.write_text(CFG)
    rng = np.random.default_rng(0)
    kernels = [layer.kernel for layer in read_network(cfg, None).layers if isinstance(layer, Convolutional)]
    numbers = [
        part for kernel in kernels for part in (rng.normal(0, 1, kernel[0]), rng.normal(0, 0.5, np.prod(kernel)))
    ]
    weights.write_bytes(struct.pack("<3iQ", 0, 2, 5, 0) + np.concatenate(numbers).astype("<f4").tobytes())
    return convert(cfg, weights, None, None, opset=19)


def checkpoint(name: str, folder, reg_max: int | None = None):
    """A detector of Ultralytics with random weights, exported with the defaults."""
    import torch

    torch.manual_seed(0)
    model = fresh_detector(name, len(NAMES), reg_max)
    torch.save({"model": model.half(), "train_args": {}}, folder / "random.pt")
    return load(export(folder / "random.pt", SIZE, 19, folder))


def yolox(folder):
    """YOLOX with random weights, in the form of its export_onnx.py."""
    head = Head(len(NAMES))
    return head.finish(head.rows())


def yolov5(folder):
    """A YOLOv5 with random weights, decoded in the graph."""
    maker = AnchorHead(len(NAMES), size=SIZE)
    return maker.finish(maker.joined(maker.decoded()))


# How each is exported; its head, family and number of outputs.
KINDS = {
    "end2end": (partial(checkpoint, "yolo26n"), "split", "distances", 6),
    "eight-bins": (partial(checkpoint, "yolov8n", reg_max=8), "split", "dfl", 6),
    "darknet": (darknet, "split", "anchors", 6),
    "yolov5": (yolov5, "split", "anchors", 9),
    "yolox": (yolox, "split", "yolox", 9),
}


@pytest.fixture(scope="module", params=KINDS)
def bundle(request, tmp_path_factory, listed, heldout):
    """A bundle of one of KINDS, made from a run's folder: (kind, folder)."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    exported, head, *_ = KINDS[request.param]
    run = tmp_path_factory.mktemp(request.param)
    variant = Variant("random", str(SIZE), head, "normal", 8)
    simplified, onnx = (run_files.onnx(run, variant, stage) for stage in ("simplified", head))
    save(exported(run), simplified)
    save(adapt(load(simplified), head, [image(0, *SIZE)], seed=0)[0], onnx)
    shutil.copytree(heldout, run / "dataset")
    listing = run_files.calibration(run, variant)
    listing.parent.mkdir(parents=True)
    listing.write_text(calibration_list([str(each) for each in calibration_images(listed)]))
    evaluation = read_evaluation(run, "heldout", NAMES)
    rknn = run_files.rknn(run, variant, "model.rknn")
    rknn.parent.mkdir(parents=True)
    outputs = detector_spec(load(onnx), NAMES, onnx)
    asked = Quantization(onnx, "rv1106", "normal", InputForm(), outputs)
    with int8_model(asked, calibration_images(listing)) as built:
        built.session.export(rknn).write(run_files.rknn(run, variant, "build.json"))
        found = detect_all(built.session.simulate, outputs, evaluation.images, 1, "INT8")
    ground_truth = tasks.get(found.task).ground_truth
    truth = [ground_truth(run / "dataset", image, size, len(NAMES)) for image, size in zip(found.images, found.sizes)]
    metrics = measure(truth, found, NAMES, 1, 0)[0]
    metrics.write(run_files.exported_metrics(run, variant))
    ComparedMetrics(**vars(metrics), retention=1.0, retention_low=None, retention_high=None).write(
        run_files.metrics(run, variant)
    )
    verdict, costs = Verdict("runs", "a test", "none", "inferred", ""), Costs(1.0, 2.0, 420, 0, 1.0, 66)
    Judgement(verdict, costs).write(run_files.rknn(run, variant, "verdict.json"))
    folder = run / "bundle"
    proof = make(run, variant, evaluation, 1, program.compiler(), folder)
    assert proof.detections == found.count() > 20
    return request.param, folder


@pytest.mark.toolkit
def test_contract_names_the_family_and_whether_nms_is_needed(bundle):
    kind, folder = bundle
    _, head, family, count = KINDS[kind]
    contract = Contract.of_bundle(folder)
    end2end = kind == "end2end"
    assert (contract.family, contract.end2end, len(contract.outputs)) == (family, end2end, count)
    assert contract.thresholds.iou == (None if end2end else 0.7)
    assert any("no NMS" in line for line in contract.decode) == end2end
    text = (folder / "model.h").read_text()
    assert f"RV1106_{head.upper()}, &rv1106_{family}, {int(end2end)}, 96, 64, 4,\n" in text
    assert "IoU none" in (folder / "README.md").read_text() or not end2end
    if kind == "eight-bins":
        assert list(contract.outputs[0].channels) == ["0 to 7", "8 to 15", "16 to 23", "24 to 31"]
    if kind == "yolov5":
        layers = contract.output_spec().family.layers
        assert tuple(layer.anchors for layer in layers) == ANCHORS
        assert "{1, 2.0, {{10.0f, 13.0f}, {16.0f, 30.0f}, {33.0f, 23.0f}}}," in text
    if kind == "darknet":
        first, second = contract.output_spec().family.layers
        assert [first.stride, second.stride] == [16, 32] and second.new_coords and second.scale_x_y == 2
        box, objectness, scores = contract.outputs[3:]
        assert box.anchors == ((23.0, 27.0), (37.0, 58.0)) and list(box.channels)[-1] == "6 to 7"
        assert list(objectness.channels) == ["0 to 1"] and list(scores.channels) == ["0 to 7"]
        assert "{32, 2},\n" in text and "{1, 2.0, {{23.0f, 27.0f}, {37.0f, 58.0f}}}," in text


@pytest.mark.toolkit
def test_bundle_of_any_family_is_sound_on_armhf(bundle):
    for needed in ("arm-linux-gnueabihf-gcc", "qemu-arm"):
        if not shutil.which(needed):
            pytest.skip(f"needs {needed} (apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user)")
    _, folder = bundle
    for flags in ((), ("-O3", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-mfloat-abi=hard")):
        command = ["arm-linux-gnueabihf-gcc", "-static", *flags]
        assert problems(folder, command, ("qemu-arm",)) == []


@pytest.mark.toolkit
def test_header_of_any_family_is_cplusplus_too(bundle, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler (g++)")
    (tmp_path / "use.cpp").write_text(
        '#include "model.h"\nint main() { rv1106_decoder decoder; return rv1106_init(&decoder, &RV1106_MODEL); }\n'
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wno-unused-variable", f"-I{bundle[1]}"]
    done = subprocess.run(["g++", *flags, tmp_path / "use.cpp", "-o", tmp_path / "use"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "use"]).returncode == 0


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        (Dfl(bins=33), "33 bins per side, but decode.h supports up to 32"),
        (Anchors((AnchorLayer(16, ((10.0, 10.0),)),) * 7), r"7 \[yolo\] layers, but decode\.h supports up to 6"),
        (
            Anchors((AnchorLayer(16, ((10.0, 10.0),) * 17),)),
            r"17 anchors in a \[yolo\] layer, but decode\.h supports up to 16",
        ),
    ],
)
def test_a_model_beyond_the_decoders_limits_gives_one_message(family, reason):
    spec = OutputSpec(SIZE, SPLIT, family, 4)
    box = RknnTensor("box", spec.maps()[0].shape(SIZE), (1, 9, 2, 3, 16), "int8", 0.1, 0)
    with pytest.raises(UserError, match=reason):
        Case(spec, [box, box], []).contract("m", NAMES)
