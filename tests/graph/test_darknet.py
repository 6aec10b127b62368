"""Darknet models compute what OpenCV's reader computes, and damaged files are one sentence."""

import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from conftest import ASSETS, ROOT, image, slim

import lib.graph.darknet.weights
from lib import tasks
from lib.accuracy.average_precision import average_precision
from lib.accuracy.detection_set import DetectionSet
from lib.data.archives import unpack
from lib.data.calibration_list import calibration_list
from lib.data.checked_labels import Labelling
from lib.data.dataset import gather
from lib.data.formats import layout
from lib.data.formats.source import Hints
from lib.data.image_paths import image_paths
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.data.names import read_names
from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.detector.head import SINGLE, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.darknet.cfg import read_cfg
from lib.graph.darknet.convert import convert
from lib.graph.darknet.layers import Convolutional
from lib.graph.darknet.network import read_network
from lib.graph.darknet.weights import read_weights
from lib.graph.onnx_file import metadata, save
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import output_spec_of
from lib.graph.surgery.pipeline import adapt
from lib.npu import toolkit
from lib.npu.build import Build
from lib.npu.build_log import read_build_log
from lib.npu.verdict import RUNS, verdict
from lib.step.errors import UserError
from lib.step.files import sha256

SIZE = ImageSize(96, 64)
IMAGES = [letterbox(image(seed), SIZE)[0] for seed in range(3)]
CLASSES = 4

NET = "[net]\nwidth=96\nheight=64\nchannels=3\n"
STEM = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=8\npad=1\nactivation=leaky\n"


def yolo(mask="0,1,2", filters=27, activation="linear", options="") -> str:
    """The two last sections of a detector of CLASSES classes."""
    return (
        f"[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation={activation}\n"
        f"[yolo]\nmask={mask}\nanchors=10,14, 23,27, 37,58\nclasses={CLASSES}\nnum=3\njitter=.3\n{options}"
    )


def write_weights(path, network, seed=0) -> None:
    """Random weights of a size that keeps values near 1 through the layers; the header is that of Darknet 0.2."""
    rng = np.random.default_rng(seed)
    parts = []
    for layer in network.layers:
        if not isinstance(layer, Convolutional):
            continue
        filters, *window = layer.kernel
        parts.append(rng.normal(0, 0.3, filters))
        if layer.batch_normalize:
            parts += [rng.uniform(0.5, 1.5, filters), rng.normal(0, 0.3, filters), rng.uniform(0.5, 1.5, filters)]
        parts.append(rng.normal(0, (2 / np.prod(window)) ** 0.5, layer.kernel).ravel())
    path.write_bytes(struct.pack("<3iQ", 0, 2, 5, 0) + np.concatenate(parts).astype("<f4").tobytes())


@pytest.fixture
def detector(tmp_path):
    """A function: the text of a .cfg to (cfg, weights), two files with random weights."""

    def write(text: str, name="random", imgsz=None):
        cfg, weights = tmp_path / f"{name}.cfg", tmp_path / f"{name}.weights"
        cfg.write_text(text)
        write_weights(weights, read_network(cfg, imgsz))
        return cfg, weights

    return write


def opencv(cfg, weights, imgsz, tensor):
    """What OpenCV's reader gives: maps before each [yolo], and predictions [N, 4+C] in our order and in pixels."""
    network = read_network(cfg, imgsz)
    # OpenCV sets scores up to `thresh` to 0, by default up to 0.2.
    text = cfg.read_text().replace("[yolo]", "[yolo]\nthresh=0")
    text = re.sub(r"(?m)^(width|height)=.*$", lambda m: f"{m[1]}={getattr(imgsz, m[1])}", text)
    reader = cv2.dnn.readNetFromDarknet(text.encode(), weights.read_bytes())
    reader.setInput(tensor)
    numbers = [number for number, layer in enumerate(network.layers) if layer in network.heads]
    maps = reader.forward([f"permute_{number}" for number in numbers])
    found = []
    reader.setInput(tensor)
    for rows, layer in zip(reader.forward([f"yolo_{number}" for number in numbers]), network.heads):
        height, width = layer.head.cells(imgsz)
        # OpenCV has [cell, anchor], we have [anchor, cell]; its columns are box, objectness, scores.
        rows = rows.reshape(height * width, len(layer.head.anchors), -1).transpose(1, 0, 2)
        found.append(rows.reshape(-1, rows.shape[2]))
    found = np.concatenate(found)
    boxes = found[:, :4] * np.array([*imgsz, *imgsz])
    return [each.transpose(0, 3, 1, 2) for each in maps], np.concatenate([boxes, found[:, 5:]], axis=1)


def assert_like_opencv(cfg, weights, imgsz=SIZE, tolerance=1e-4):
    """Maps (of values around 1) and scores within `tolerance`, boxes within `tolerance` of the image's side."""
    model = convert(cfg, weights, None, imgsz, opset=19)
    tensor = to_tensor(letterbox(image(5), imgsz)[0])
    maps, predictions = opencv(cfg, weights, imgsz, tensor)
    [found] = infer(open_session(model.SerializeToString()), tensor)
    found = found[0].T
    assert found.shape == predictions.shape
    np.testing.assert_allclose(found[:, :4] / max(imgsz), predictions[:, :4] / max(imgsz), atol=tolerance, rtol=1e-4)
    np.testing.assert_allclose(found[:, 4:], predictions[:, 4:], atol=tolerance)
    split, _ = adapt(model, SPLIT, [letterbox(image(0), imgsz)[0]], seed=0)
    outputs = infer(open_session(split.SerializeToString()), tensor)
    spec = output_spec_of(model)
    for raw, layer, box in zip(maps, spec.family.layers, outputs[0::3], strict=True):
        raw = raw.reshape(len(layer.anchors), 5 + spec.classes, *raw.shape[2:])
        assert raw.std() > 0.1
        expected = raw[:, :4].transpose(1, 0, 2, 3).reshape(box.shape)
        np.testing.assert_allclose(box, expected, atol=tolerance * max(1, np.abs(expected).max()))


def convolutional(filters=8, **options) -> str:
    options = {"size": 3, "stride": 1, "pad": 1, "activation": "linear"} | options
    return f"[convolutional]\nfilters={filters}\n" + "".join(f"{key}={value}\n" for key, value in options.items())


LAYERS = {
    "convolutional": convolutional(),
    "batch normalization": convolutional(batch_normalize=1),
    "1x1": convolutional(12, size=1, pad=0),
    "5x5 stride 2": convolutional(size=5, stride=2),
    "padding given": convolutional(pad=0, padding=2),
    "no padding": convolutional(pad=0),
    "depthwise": convolutional(groups=8, batch_normalize=1),
    "groups": convolutional(groups=2),
    **{each: convolutional(activation=each) for each in ("leaky", "mish", "swish", "relu", "logistic")},
    "maxpool 2/2": "[maxpool]\nsize=2\nstride=2\n",
    "maxpool 2/1": "[maxpool]\nsize=2\nstride=1\n",
    "maxpool 3/2": "[maxpool]\nsize=3\nstride=2\n",
    "maxpool 5/1": "[maxpool]\nsize=5\nstride=1\n",
    "maxpool without padding": "[maxpool]\nsize=3\nstride=1\npadding=0\n",
    "upsample": "[maxpool]\nsize=2\nstride=2\n[upsample]\nstride=2\n",
    "route one": convolutional() + "[route]\nlayers=-2\n",
    "route two": convolutional() + "[route]\nlayers=-1,-2\n",
    "route by number": convolutional() + "[route]\nlayers=-1, 0\n",
    "route group": convolutional() + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
    "shortcut": convolutional() + "[shortcut]\nfrom=-2\nactivation=linear\n",
    "shortcut leaky": convolutional() + "[shortcut]\nfrom=-2\nactivation=leaky\n",
    "shortcut of fewer channels": convolutional(12) + "[shortcut]\nfrom=-2\nactivation=leaky\n",
    "shortcut of more channels": convolutional(5) + "[shortcut]\nfrom=-2\nactivation=linear\n",
    "dropout": "[dropout]\nprobability=.5\n" + convolutional() + "[shortcut]\nfrom=-3\n",
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_like_opencv(detector, name):
    text = NET + STEM + LAYERS[name]
    # [yolo] needs maps that are a whole fraction of the image: brought back by a layer proven on its own.
    if name in ("padding given", "no padding", "maxpool without padding"):
        text += convolutional(pad=0, padding={"padding given": 0}.get(name, 2))
    assert_like_opencv(*detector(text + yolo()))


@pytest.mark.parametrize("size", [ImageSize(96, 64), ImageSize(64, 96), ImageSize(160, 160)])
@pytest.mark.parametrize(
    ("mask", "filters", "activation", "options"),
    [
        ("0,1,2", 27, "linear", ""),
        ("2,0", 18, "linear", "scale_x_y=1.05\n"),
        ("1,2", 18, "logistic", "new_coords=1\nscale_x_y=2.0\n"),
    ],
)
def test_yolo_is_like_opencv(detector, mask, filters, activation, options, size):
    text = NET + STEM + yolo(mask, filters, activation, options)
    assert_like_opencv(*detector(text, imgsz=size), size)


TWO = convolutional(12) + convolutional(8)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        # OpenCV reads neither of the short forms.
        (
            "[route]\nlayers=-1,-2\ngroups=2\ngroup_id=1\n",
            "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n[route]\nlayers=-3\ngroups=2\ngroup_id=1\n[route]\nlayers=-2,-1\n",
        ),
        ("[shortcut]\nfrom=-3,-3\n", "[shortcut]\nfrom=-3\n[shortcut]\nfrom=-4\n"),
    ],
)
def test_short_form_is_like_the_long_one(detector, short, long):
    outputs = []
    for text in (short, long):
        model = convert(*detector(NET + STEM + TWO + text + yolo()), None, SIZE, opset=19)
        outputs += infer(open_session(model.SerializeToString()), to_tensor(IMAGES[0]))
    assert outputs[0].std() > 0.1
    np.testing.assert_array_equal(*outputs)


@pytest.fixture
def opencvs_epsilon(monkeypatch):
    """OpenCV takes that of an older Darknet; over twenty layers the difference is some 1e-4."""
    monkeypatch.setattr(lib.graph.darknet.weights, "BATCH_NORM_EPSILON", 1e-6)


@pytest.fixture(scope="session")
def darknet_assets():
    """The folder with local copies of Darknet's files; tests that need it skip without it."""
    if not (ASSETS / "darknet" / "yolov4-tiny.cfg").is_file():
        pytest.skip(f"needs {ASSETS / 'darknet'} (or $RV1106_ASSETS)")
    return ASSETS / "darknet"


@pytest.mark.parametrize(("name", "size"), [("yolov3-tiny", ImageSize(96, 64)), ("yolov4-tiny", ImageSize(96, 160))])
def test_whole_network_is_like_opencv(darknet_assets, detector, opencvs_epsilon, name, size):
    assert_like_opencv(*detector((darknet_assets / f"{name}.cfg").read_text(), name, size), size)


@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolo-fastest-1.1-xl"])
def test_published_weights_are_like_opencv(darknet_assets, opencvs_epsilon, name):
    files = (darknet_assets / f"{name}.cfg", darknet_assets / f"{name}.weights")
    assert_like_opencv(*files, ImageSize(320, 320))
    assert_like_opencv(*files, ImageSize(256, 160))


@pytest.fixture(scope="session")
def coco128(assets, tmp_path_factory):
    """COCO128, flat: (folder, images)."""
    folder = tmp_path_factory.mktemp("coco128")
    unpack(assets / "coco128.zip", folder / "unpacked")
    (folder / "flat").mkdir()
    check_label = partial(tasks.get(tasks.DEFAULT).check_label, classes=80)
    source = layout.read(layout.find(folder / "unpacked", Hints()), Hints())
    gather(source, folder / "flat" / "images", folder / "flat" / "labels", Labelling(check_label))
    return folder / "flat", image_paths(folder / "flat" / "images")


@pytest.mark.parametrize(("name", "expected"), [("yolo-fastest-1.1-xl", 0.1886), ("yolo-fastest-1.1", 0.1234)])
def test_map_of_published_weights_is_that_of_opencv(darknet_assets, coco128, name, expected):
    """The reference was measured with OpenCV's reader as it comes, which drops scores up to 0.2."""
    folder, images = coco128
    size = ImageSize(320, 320)
    files = (darknet_assets / f"{name}.cfg", darknet_assets / f"{name}.weights", darknet_assets / "coco.names")
    model = convert(*files, size, opset=19)
    session, spec = open_session(model.SerializeToString()), output_spec_of(model)
    truth, found, sizes = [], [], []
    for path in images:
        fitted, fit = letterbox(read_image(path), size)
        found.append(tasks.get(tasks.DEFAULT).instances(spec, infer(session, to_tensor(fitted)), fit, confidence=0.2))
        truth.append(tasks.get(tasks.DEFAULT).ground_truth(folder, path.name, fit.source, 80))
        sizes.append(fit.source)
    names = read_names([str(darknet_assets / "coco.names")])
    detections = DetectionSet([path.name for path in images], sizes, found)
    assert average_precision(truth, detections, names).map50_95 == pytest.approx(expected, abs=0.005)


@pytest.fixture
def small(detector):
    """A detector of two [yolo] layers, strides 16 and 8, and CLASSES classes: (cfg, weights)."""
    return detector(
        NET + STEM + convolutional(16, batch_normalize=1, stride=2, activation="leaky")
        + yolo(options="scale_x_y=1.05\n")
        + "[route]\nlayers=-3\n[upsample]\nstride=2\n[route]\nlayers=-1,0\n" + yolo(mask="0,1", filters=18)
    )  # fmt: skip


def outputs_of(model):
    return {each.name: tuple(d.dim_value for d in each.type.tensor_type.shape.dim) for each in model.graph.output}


@pytest.mark.parametrize("opset", [11, 12, 13, 19, 20])
def test_heads_are_proven_and_run_on_the_npu(small, opset):
    model = convert(*small, None, None, opset)
    count = 3 * 6 * 4 + 2 * 12 * 8
    assert outputs_of(model) == {"output0": (1, 4 + CLASSES, count)}
    single, record = adapt(slim(model), SINGLE, IMAGES, seed=0)
    assert outputs_of(single) == {"output0": (1, 4 + CLASSES, count, 1)}
    assert record["box_px"] < 1e-3 and record["score"] < 1e-6
    # The exponential is the one operator here that the RV1106 leaves to a CPU.
    assert not {"Exp", "Transpose"} & {node.op_type for node in single.graph.node}
    [output] = infer(open_session(single.SerializeToString()), to_tensor(IMAGES[0]))
    assert output[0, 2:].min() >= 0 and output[0, 2:].max() <= 1
    split, record = adapt(slim(model), SPLIT, IMAGES, seed=0)
    assert outputs_of(split) == {
        "box_16": (1, 12, 4, 6), "objectness_16": (1, 3, 4, 6), "scores_16": (1, 3 * CLASSES, 4, 6),
        "box_8": (1, 8, 8, 12), "objectness_8": (1, 2, 8, 12), "scores_8": (1, 2 * CLASSES, 8, 12),
    }  # fmt: skip
    assert record["box_px"] < 1e-3 and record["score"] < 1e-6
    assert not {"Exp", "Reshape", "Mul"} & {node.op_type for node in split.graph.node}


@pytest.mark.parametrize("head", [SINGLE, SPLIT])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"stride": 8}, "lacks the maps|not the|shape"),
        ({"anchors": ((11, 14), (23, 27), (37, 58))}, "boxes differ by up to"),
        ({"scale_x_y": 1.0}, "boxes differ by up to"),
    ],
)
def test_metadata_that_does_not_fit_is_caught(small, head, fault, reason):
    model = convert(*small, None, None, opset=19)
    spec = output_spec_of(model)
    first, second = spec.family.layers
    wrong = replace(spec, family=Anchors((replace(first, **fault), second)))
    onnx.helper.set_model_props(model, metadata(model) | wrong.to_metadata())
    with pytest.raises(UserError, match=reason):
        adapt(model, head, IMAGES, seed=0)


def test_decoding_by_hand():
    """One cell of two, one anchor: every quantity has its formula's value."""
    layer = AnchorLayer(32, ((20.0, 10.0),), scale_x_y=1.2, new_coords=False)
    size = ImageSize(64, 32)
    spec = OutputSpec(size, SPLIT, Anchors((layer,)), 2)
    box = np.zeros((1, 4, 1, 2), np.float32)
    box[0, :, 0, 1] = [np.log(3), 0, np.log(2), -1]  # sigmoid 0.75 and 0.5
    objectness = np.array([0.5, 0.8], np.float32).reshape(1, 1, 1, 2)
    scores = np.array([[0.1, 0.5], [0.2, 1.0]], np.float32).reshape(1, 2, 1, 2)
    found = spec.predictions([box, objectness, scores])
    np.testing.assert_allclose(found[0], [16, 16, 20, 10, 0.05, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found[1], [32 * (1.5 + 0.25 * 1.2), 16, 40, 10 / np.e, 0.4, 0.8], rtol=1e-6)
    box[0, 2] = 5
    assert spec.predictions([box, objectness, scores])[:, 2].tolist() == [64, 64]
    new = AnchorLayer(32, ((20.0, 10.0),), scale_x_y=2.0, new_coords=True)
    box[0, :, 0, 0] = [0.5, 0.25, 1.0, 0.5]
    # Before sizes are limited to the input's.
    found = Anchors((new,)).decode_maps([box, objectness, scores], size)
    np.testing.assert_allclose(found[0, :4], [16, 0, 80, 10], rtol=1e-6)
    with pytest.raises(UserError, match="'split' head"):
        spec.predictions([box, scores])


def test_class_names_are_metadata_and_counted(small, tmp_path):
    (tmp_path / "four.names").write_text("a\nb\nc\nd\n")
    (tmp_path / "two.names").write_text("a\nb\n")
    model = convert(*small, tmp_path / "four.names", None, opset=19)
    assert metadata(model)["names"] == "{0: 'a', 1: 'b', 2: 'c', 3: 'd'}"
    with pytest.raises(UserError, match=r"has 4 classes, .*two.names has 2 names"):
        convert(*small, tmp_path / "two.names", None, opset=19)


def test_size_is_the_cfgs_unless_given(small):
    assert read_network(small[0]).imgsz == SIZE
    assert read_network(small[0], ImageSize(320, 160)).heads[0].shape == (27, 10, 20)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], r"hold (\d+) bytes, .*random.cfg needs (\d+): it is truncated"),
        (lambda data: data[: len(data) // 2], "is truncated"),
        (lambda data: data[:7], "too short to be Darknet's: 7 bytes"),
        (lambda data: b"", "too short to be Darknet's: 0 bytes"),
        (lambda data: data + b"1234", r"hold (\d+) bytes, .* needs (\d+): 4 are left over"),
        (lambda data: b"PK\x03\x04" + data[4:], "not a Darknet .weights: its header says version"),
        (lambda data: data[:20] + struct.pack("<f", np.nan) + data[24:], "not finite"),
        (
            lambda data: data[:20] + np.full(8 * 4 + 216, -1, "<f4").tobytes() + data[20 + 4 * 248 :],
            "negative variance",
        ),
    ],
)
def test_damaged_weights_are_one_sentence(small, damage, reason):
    cfg, weights = small
    whole = weights.read_bytes()
    weights.write_bytes(damage(whole))
    with pytest.raises(UserError, match=reason) as error:
        convert(cfg, weights, None, None, opset=19)
    assert "\n" not in str(error.value)
    if counts := re.search(r"hold (\d+) bytes, .* needs (\d+)", str(error.value)):
        assert tuple(map(int, counts.groups())) == (len(damage(whole)), len(whole))


HEAD = yolo()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "first section is not \\[net\\]"),
        ("hello\n", r"line 1 \('hello'\) is neither"),
        ("width=3\n[net]\n", "line 1 .* is neither"),
        ("[convolutional]\nsize=3\n", "first section is not \\[net\\]"),
        ("[net]\nwidth\n", "line 2 .* is neither"),
        ("[net]\nwidth=\n", "line 2 .* is neither"),
        (NET, "has no \\[yolo\\] layer"),
        (NET + STEM, "has no \\[yolo\\] layer"),
        ("[net]\nchannels=1\n" + STEM + HEAD, "1 channels"),
        ("[net]\nwidth=64\n" + STEM + HEAD, "'height' is missing"),
        ("[net]\nwidth=100\nheight=64\n" + STEM + HEAD, "must be multiples of 32"),
        ("[net]\nwidth=999999\nheight=64\n" + STEM + HEAD, "not in 0..65536"),
        (NET + STEM + "[lstm]\noutput=3\n" + HEAD, r"line 12, \[lstm\]: this kind of layer is not supported"),
        (NET + STEM + convolutional(activation="selu") + HEAD, "activation 'selu' is not supported"),
        (NET + STEM + convolutional(stride=0) + HEAD, "'stride' is 0, not in 1"),
        (NET + STEM + convolutional(size="3x") + HEAD, "'size' is '3x'; a whole number"),
        (NET + STEM + convolutional(filters=10**9) + HEAD, "'filters' is 1000000000, not in"),
        (NET + STEM + convolutional(size=64) + HEAD, "'size' is 64, not in"),
        (NET + STEM + convolutional(size=61, pad=0) + HEAD, "window of 61 does not fit"),
        (NET + STEM + convolutional(groups=3) + HEAD, "groups=3 does not divide both 8 input channels and 8 filters"),
        (NET + STEM + convolutional(dilation=2) + HEAD, "dilation=2 is not supported"),
        (NET + STEM + convolutional(filtres=2) + HEAD, "option 'filtres' is unknown"),
        (NET + STEM + "[route]\nlayers=-2\n" + HEAD, "layer -2 does not exist"),
        (NET + STEM + "[route]\nlayers=1\n" + HEAD, "layer 1 does not exist"),
        (NET + STEM + "[route]\nlayers=a\n" + HEAD, "whole numbers with commas between"),
        (NET + STEM + "[route]\n" + HEAD, "'layers' is missing"),
        (NET + STEM + "[route]\nlayers=-1\ngroups=3\n" + HEAD, "8x8x12 cannot be joined in 3 groups"),
        (NET + STEM + convolutional(stride=2) + "[route]\nlayers=-1,-2\n" + HEAD, "8x4x6, 8x8x12 cannot be joined"),
        (NET + STEM + convolutional(stride=2) + "[shortcut]\nfrom=-2\n" + HEAD, "8x4x6 cannot be added to 8x8x12"),
        (NET + STEM + "[upsample]\nstride=60000\n" + HEAD, "larger than the image"),
        (NET + STEM + yolo(filters=28), "need 27 channels, but the layer before has 28"),
        (NET + STEM + yolo(mask="0,1,3"), r"mask \[0, 1, 3\] has anchors"),
        (NET + STEM + yolo(mask="0,1,1"), "or one twice"),
        (NET + STEM + yolo().replace("num=3", "num=4"), "4 anchors of a width and a height"),
        (NET + STEM + yolo().replace("10,14", "10,nan"), "'anchors' is"),
        (NET + STEM + yolo(activation="leaky"), "activation=linear is expected before it"),
        (NET + STEM + yolo(options="new_coords=1\n"), "activation=logistic is expected before it"),
        (NET + STEM + yolo(options="classes=4\n"), "'classes' of .yolo. is there twice"),
        (NET + STEM + convolutional(27, size=1, pad=0) + HEAD.partition("[yolo]")[2].join(["[yolo]", ""]) + HEAD,
         "two .yolo. layers of one stride"),
    ],
)  # fmt: skip
def test_cfg_that_makes_no_sense_is_one_sentence(tmp_path, text, reason):
    path = tmp_path / "broken.cfg"
    path.write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        read_network(path)
    assert "\n" not in str(error.value) and "broken.cfg" in str(error.value)


def test_step_writes_nothing_for_a_damaged_file(small, step, tmp_path):
    cfg, weights = small
    convert_files = lambda *more: step(  # noqa: E731
        "darknet_to_onnx", "--cfg", cfg, "--weights", weights, "--opset", "19", "--output", tmp_path / "o.onnx", *more
    )  # fmt: skip
    for damage in ("cfg", "weights", "sha256"):
        kept = cfg.read_bytes(), weights.read_bytes()
        if damage == "cfg":
            cfg.write_bytes(weights.read_bytes())
        if damage == "weights":
            weights.write_bytes(weights.read_bytes()[:-4])
        done = convert_files(*(["--sha256", "0" * 64] if damage == "sha256" else []))
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "o.onnx").exists()
        cfg.write_bytes(kept[0])
        weights.write_bytes(kept[1])
    assert convert_files().returncode == 0
    onnx.checker.check_model(onnx.load(tmp_path / "o.onnx"), full_check=True)


def test_folder_in_place_of_a_file_is_one_sentence(small, tmp_path):
    for files in ((tmp_path, small[1]), (small[0], tmp_path)):
        with pytest.raises(UserError, match="cannot be read: Is a directory"):
            convert(*files, None, None, opset=19)


def test_comments_blanks_and_case_are_fine(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("# first\n[Net]\n width = 96 # inside\n;old\n\nheight=64\n")
    [net] = read_cfg(path)
    assert (net.kind, net.integer("width"), net.integer("height")) == ("net", 96, 64)


def test_weights_header_of_darknet_0_1_is_shorter(small):
    cfg, weights = small
    network = read_network(cfg)
    new = read_weights(weights, network)
    weights.write_bytes(struct.pack("<4i", 0, 1, 0, 7) + weights.read_bytes()[20:])
    old = read_weights(weights, network)
    assert all(np.array_equal(new[number][0], old[number][0]) for number in new)


def correlation(exact, found) -> float:
    return np.corrcoef(np.ravel(exact), np.ravel(found))[0, 1]


@pytest.mark.toolkit
@pytest.mark.parametrize("head", [SINGLE, SPLIT])
def test_int8_of_both_heads(small, pool, tmp_path, quantize, head):
    """On the simulator: the same predictions but for rounding, and nothing on the CPU."""
    model = slim(convert(*small, None, None, opset=19))
    adapted, _ = adapt(model, head, IMAGES, seed=0)
    save(adapted, tmp_path / "model.onnx")
    before, after = output_spec_of(model), output_spec_of(adapted)
    assert after == replace(before, head=head)
    original = open_session(model.SerializeToString())
    with toolkit.quantized(tmp_path / "model.onnx", sorted(pool.iterdir()), "rv1106", "normal") as session:
        run = session.simulate()
        for fitted in IMAGES:
            exact = before.predictions(infer(original, to_tensor(fitted)))
            found = after.predictions(run(fitted))
            assert np.abs(exact - found).max() > 0
            assert correlation(exact[:, :4], found[:, :4]) > 0.99
            assert correlation(exact[:, 4:], found[:, 4:]) > 0.99
    done = quantize(tmp_path / "model.onnx", tmp_path, names=map(str, range(before.classes)))
    assert done.returncode == 0, done.stderr
    build = Build.read(tmp_path / "build.json")
    assert not build.cpu_operators
    assert verdict(build, 66).result == RUNS


READ_BY_TOOLKIT = """
import sys
import numpy as np
from rknn.api import RKNN
scripts, cfg, weights, images, output = sys.argv[1:]
sys.path.insert(0, scripts)
from lib.step import console
console.log_to("printed")  # line by line, from Python and from C++
rknn = RKNN(verbose=True)
rknn.config(mean_values=[[0, 0, 0]], std_values=[[255, 255, 255]], target_platform="rv1106")
assert rknn.load_darknet(model=cfg, weight=weights) == 0
assert rknn.build(do_quantization=True, dataset=images) == 0
assert rknn.init_runtime() == 0
image = np.load(output + ".input.npy")
np.savez(output, *rknn.inference(inputs=[image[None]], data_format=["nhwc"]))
"""


@pytest.mark.toolkit
def test_toolkits_own_reader_beside_ours(darknet_assets, detector, tmp_path, quantize):
    """YOLOv3-tiny, which it can read: as accurate, and of the same cost, but for objectness as a map of its own."""
    size = ImageSize(96, 96)
    text = re.sub(r"(?m)^(width|height)=.*$", r"\1=96", (darknet_assets / "yolov3-tiny.cfg").read_text())
    cfg, weights = detector(text)
    images = [tmp_path / f"{seed}.png" for seed in range(8)]
    for seed, path in enumerate(images):
        cv2.imwrite(str(path), letterbox(image(seed), size)[0][:, :, ::-1])
    (tmp_path / "images.txt").write_text("".join(f"{path}\n" for path in images))
    fitted = letterbox(image(20), size)[0]
    np.save(tmp_path / "theirs.npz.input.npy", fitted)
    arguments = [ROOT / "scripts", cfg, weights, tmp_path / "images.txt", tmp_path / "theirs.npz"]
    done = subprocess.run([sys.executable, "-c", READ_BY_TOOLKIT, *arguments], cwd=tmp_path)
    said = (tmp_path / "printed").read_text(errors="replace")
    assert done.returncode == 0, said[-2000:]
    theirs = np.load(tmp_path / "theirs.npz")

    model = slim(convert(cfg, weights, None, None, opset=19))
    split, _ = adapt(model, SPLIT, [fitted], seed=0)
    save(split, tmp_path / "split.onnx")
    with toolkit.quantized(tmp_path / "split.onnx", images, "rv1106", "normal") as session:
        ours = session.simulate()(fitted)
    maps, _ = opencv(cfg, weights, size, to_tensor(fitted))
    for number, exact in enumerate(maps):
        exact, their = (each.reshape(3, 85, -1).transpose(1, 0, 2) for each in (exact, theirs[f"arr_{number}"]))
        our_box, our_objectness, our_scores = ours[3 * number : 3 * number + 3]
        assert correlation(exact[:4], their[:4]) > 0.995
        assert correlation(exact[:4], our_box) > 0.995
        for quantities, our in ((slice(4, 5), our_objectness), (slice(5, 85), our_scores)):
            probability = 1 / (1 + np.exp(-exact[quantities]))
            assert correlation(probability, 1 / (1 + np.exp(-their[quantities]))) > 0.995
            assert correlation(probability, our) > 0.995
    listed = tmp_path / "listed.txt"
    listed.write_text(calibration_list([path.name for path in images]))
    done = quantize(tmp_path / "split.onnx", tmp_path, "--calibration", listed, names=map(str, range(80)))
    assert done.returncode == 0, done.stderr
    build = Build.read(tmp_path / "build.json")
    assert build.npu_mcycles * 1e6 == pytest.approx(read_build_log(said).cycles, rel=0.03)
    assert not build.cpu_operators


@pytest.mark.toolkit
def test_toolkits_own_reader_refuses_dropout(darknet_assets, tmp_path):
    """Why there is a reader here at all; when this fails, a newer toolkit can do it."""
    refused = "from rknn.api import RKNN; import sys; rknn = RKNN(); rknn.config(target_platform='rv1106'); " \
              "sys.exit(rknn.load_darknet(model=sys.argv[1], weight=sys.argv[2]) and 7)"  # fmt: skip
    files = [darknet_assets / f"yolo-fastest-1.1{suffix}" for suffix in (".cfg", ".weights")]
    done = subprocess.run([sys.executable, "-c", refused, *files], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "dropout" in done.stdout + done.stderr


def test_both_engines_make_the_same_onnx(small, project, python_env):
    """A Darknet model beside the bundled example's, in one config."""
    path = project / "config" / "demo.yaml"
    config = yaml.safe_load(path.read_text())
    config["models"]["tiny"] = {
        "cfg": [str(small[0])],
        "weights": ["no/such.weights", str(small[1])],
        "names": "config/parts.names",
        "sha256": sha256(small[1]),
    }
    config["sweep"].update(model=["parts4", "tiny"], imgsz=[96])
    path.write_text(yaml.safe_dump(config))
    made = Path("results", "demo", "onnx", "tiny", "96", "exported.onnx")

    def run(*command):
        done = subprocess.run(command, cwd=project, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("snakemake", made, "-j1", "--configfile", "config/demo.yaml")
    by_snakemake = (project / made).read_bytes()
    shutil.rmtree(project / "results")
    run("git", "init", "-q")
    run("dvc", "repro", "export_onnx@tiny-96")
    assert (project / made).read_bytes() == by_snakemake
    model = onnx.load(project / made)
    assert metadata(model)["names"] == str(dict(enumerate((project / "config/parts.names").read_text().split())))
    assert outputs_of(model) == {"output0": (1, 4 + CLASSES, 3 * 36 + 2 * 144)}


def test_missing_checksum_of_darknet_weights_is_a_warning(small, step, tmp_path):
    done = step("download_weights", "--cfg", small[0], "--weights", small[1], "--output", tmp_path / "tiny")
    assert done.returncode == 0, done.stderr
    assert "WARNING" in done.stdout and "used unchecked" in done.stdout
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["tiny.cfg", "tiny.weights"]
    done = step("download_weights", "--cfg", small[0], "--weights", small[1], "--sha256", "0" * 64,
                "--output", tmp_path / "other")  # fmt: skip
    assert done.returncode == 2 and "its sha256 is" in done.stderr
    assert not (tmp_path / "other").exists()
