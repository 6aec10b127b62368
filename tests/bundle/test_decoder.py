"""decode.h finds on raw INT8 in NC1HWC2 what Python finds on floats, for any shape, scale and zero point; safely."""

import ctypes
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from conftest import ROOT

from lib.bundle import HERE
from lib.bundle.agreement import compare
from lib.bundle.layout import PADDING, from_native, to_native
from lib.bundle.program import FLAGS
from lib.data.imgsz import ImageSize
from lib.data.letterbox import fit_of
from lib.detector import nms as python
from lib.detector.detections import Detections
from lib.detector.head import DFL_BINS, HEADS, SINGLE, SPLIT, STRIDES, decode
from lib.detector.nms import detect
from lib.npu.rknn_file import RknnTensor, dequantize
from lib.step.errors import UserError

SOURCES = ROOT / "tests" / "bundle" / "c"


class Output(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("channels", "height", "width", "c1", "c2", "zero_point")),
        ("scale", ctypes.c_float),
    ]


class Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("head", "width", "height", "classes", "output_count")),
        ("outputs", Output * 6),
    ]


class Fit(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int) for name in ("width", "height", "left", "top")), ("scale", ctypes.c_double)]


class Found(ctypes.Structure):
    _fields_ = [
        ("class_id", ctypes.c_int),
        *((name, ctypes.c_float) for name in ("score", "x1", "y1", "x2", "y2")),
    ]


def cc(*arguments):
    """Run the C compiler with the flags that decode.h promises to be free of warnings with."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    done = subprocess.run(["cc", *FLAGS, f"-I{HERE}", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """decode.h as a library."""
    path = tmp_path_factory.mktemp("shim") / "shim.so"
    cc("-shared", "-fPIC", SOURCES / "shim.c", "-o", path)
    return opened(path)


def opened(path):
    """The library of tests/bundle/c/shim.c with its functions' types."""
    library = ctypes.CDLL(str(path))
    library.shim_fit.restype = Fit
    library.shim_iou.restype = ctypes.c_float
    library.shim_exp.restype = ctypes.c_double
    library.shim_exp.argtypes = [ctypes.c_double]
    library.shim_decoder_size.restype = ctypes.c_size_t
    return library


def model_of(tensors, head, imgsz, classes) -> Model:
    rows = []
    for each in tensors:
        _, c1, height, width, c2 = each.native_shape
        rows.append((each.shape[1], height, width, c1, c2, each.zero_point, each.scale))
    return Model(HEADS.index(head), *imgsz, classes, len(tensors), (Output * 6)(*rows))


class Decoder:
    """What a program does with decode.h."""

    def __init__(self, shim, model: Model):
        self.shim, self.model = shim, model
        self.memory = ctypes.create_string_buffer(shim.shim_decoder_size())
        self.status = shim.shim_init(self.memory, ctypes.byref(model))

    def run(self, natives, source, confidence, iou, room=30_000, most=300, sizes=None):
        """Detections, or the error's number."""
        count = len(natives)
        buffers = (ctypes.c_void_p * count)(*(None if each is None else each.ctypes.data for each in natives))
        lengths = (ctypes.c_size_t * count)(*(sizes or [each.nbytes for each in natives]))
        fit = self.shim.shim_fit(ctypes.byref(self.model), *source)
        found = (Found * max(most, 1))()
        candidates = ctypes.create_string_buffer(8 * max(room, 1))
        n = self.shim.shim_decode(
            self.memory, buffers, lengths, ctypes.c_float(confidence), ctypes.c_float(iou), ctypes.byref(fit),
            candidates, room, found, most,
        )  # fmt: skip
        if n < 0:
            return n
        table = np.array([[f.class_id, f.score, f.x1, f.y1, f.x2, f.y2] for f in found[:n]]).reshape(-1, 6)
        return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(int))


def random_case(seed: int):
    """A model of any head, size, scales and zero points, and INT8 outputs: (head, imgsz, classes, tensors, stored)."""
    rng = np.random.default_rng(seed)
    head = HEADS[seed % 2]
    imgsz = ImageSize(*(32 * rng.integers(1, 5, 2)))
    classes = int(rng.choice([1, 2, 4, 11, 12, 13, 80]))
    c2 = int(rng.choice([16, 16, 16, 8, 32, 5, 1, 0]))
    if head == SINGLE:
        shapes = [(4 + classes, imgsz.area * 21 // 1024, 1)]
    else:
        cells = [(imgsz.height // s, imgsz.width // s) for s in STRIDES]
        shapes = [(channels, *cell) for cell in cells for channels in (4 * DFL_BINS, classes)]
    tensors, stored = [], []
    for number, (channels, height, width) in enumerate(shapes):
        logits = head == SPLIT and number % 2 == 0
        scale = float(np.float32(np.exp(rng.uniform(np.log(1e-3), np.log(2.7 if logits else 0.05)))))
        zero_point = int(rng.choice([-128, -128, rng.integers(-128, 128)]))
        lanes = c2 or channels  # one group of all channels is NHWC
        native = (1, -(-channels // lanes), height, width, lanes)
        tensors.append(RknnTensor(f"output{number}", (1, channels, height, width), native, "int8", scale, zero_point))
        # Few levels make ties, many zeros make what a trained detector gives.
        values = rng.integers(-128, 128, (1, channels, height, width))
        if rng.random() < 0.5:
            values = np.where(rng.random(values.shape) < 0.9, -128, values // 16 * 16)
        stored.append(values.astype(np.int8))
    return head, imgsz, classes, tensors, stored


def both(shim, seed, monkeypatch):
    """Python's and C's detections of a random case under random thresholds and limits."""
    head, imgsz, classes, tensors, stored = random_case(seed)
    rng = np.random.default_rng([seed, 1])
    confidence, iou = float(rng.choice([0.0, 0.001, 0.25, 0.6])), float(rng.choice([0.0, 0.3, 0.45, 0.5, 0.7, 1.0]))
    room, most = (int(rng.choice(sizes)) for sizes in ([1, 7, 100, 30_000], [1, 5, 300, 30_000]))
    source = tuple(map(int, rng.integers(1, 2000, 2)))
    monkeypatch.setattr(python, "MOST_CANDIDATES", room)
    outputs = [dequantize(each, tensor) for each, tensor in zip(stored, tensors)]
    expected = detect(decode(outputs, head, imgsz), fit_of(source, imgsz), confidence, iou, most)
    decoder = Decoder(shim, model_of(tensors, head, imgsz, classes))
    assert decoder.status == 0
    natives = [to_native(each, tensor.native_shape) for each, tensor in zip(stored, tensors)]
    return expected, decoder.run(natives, source, confidence, iou, room, most)


def test_any_model_gives_the_same_detections_in_the_same_order(shim, monkeypatch):
    counts = []
    for seed in range(400):
        expected, found = both(shim, seed, monkeypatch)
        compare(expected, found)
        # No rounding either: the decoders round where numpy does.
        np.testing.assert_allclose(expected.boxes, found.boxes, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(expected.scores, found.scores.astype(np.float32))
        counts.append(len(found.scores))
    assert np.mean(np.array(counts) > 0) > 0.8 and max(counts) > 300


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # What people get wrong: padding, the layout, the order of ties, the letterbox, the zero point, pixels cut.
        ("output->channels - c1 * c2 < c2 ? output->channels - c1 * c2 : c2;", "c2;"),
        ("* cells + (size_t)cell) * c2", "* cells + (size_t)cell) * 8"),
        ("a.score == b.score && a.rank > b.rank", "a.score == b.score && a.rank < b.rank"),
        ("/ scale;\n    return (float)(moved", ";\n    return (float)(moved"),
        ("(float)(stored - output->zero_point)", "(float)(stored + 128 + 0 * output->zero_point)"),
        ("candidates[0] = one;", "(void)one;"),
        ("detections[j].class_id == class_id && ", ""),
    ],
)
def test_comparison_sees_a_wrong_decoder(tmp_path, monkeypatch, right, wrong):
    text = (HERE / "decode.h").read_text()
    assert right in text
    (tmp_path / "decode.h").write_text(text.replace(right, wrong))
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", f"-I{tmp_path}", SOURCES / "shim.c", "-o", tmp_path / "wrong.so"],
                   check=True, capture_output=True)  # fmt: skip
    wrong_shim = opened(tmp_path / "wrong.so")
    with pytest.raises(UserError, match=r"expected"):
        for seed in range(100):
            compare(*both(wrong_shim, seed, monkeypatch))


def test_comparison_sees_a_wrong_box_score_class_and_order(shim, monkeypatch):
    expected, found = both(shim, 5, monkeypatch)
    assert len(found.scores) > 1
    for wrong in (
        Detections(found.boxes + 0.002, found.scores, found.classes),
        Detections(found.boxes, found.scores + 2e-4, found.classes),
        Detections(found.boxes, found.scores, found.classes + 1),
        Detections(found.boxes[::-1], found.scores[::-1], found.classes[::-1]),
        Detections(found.boxes[1:], found.scores[1:], found.classes[1:]),
        Detections(found.boxes * np.nan, found.scores, found.classes),
    ):
        with pytest.raises(UserError, match=r"expected"):
            compare(expected, wrong)


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 84])
def test_native_layout_and_back(channels):
    rng = np.random.default_rng(channels)
    stored = rng.integers(-128, 128, (1, channels, 5, 7)).astype(np.int8)
    groups = -(-channels // 16)
    native = to_native(stored, (1, groups, 5, 7, 16))
    assert native.shape == (1, groups, 5, 7, 16)
    for c, y, x in [(0, 0, 0), (channels - 1, 4, 6), (channels // 2, 3, 1)]:
        assert native[0, c // 16, y, x, c % 16] == stored[0, c, y, x]
    assert (native[0, -1, :, :, (channels - 1) % 16 + 1 :] == PADDING).all()
    np.testing.assert_array_equal(from_native(native, channels), stored)


def test_letterbox_is_pythons(shim):
    rng = np.random.default_rng(0)
    for _ in range(3000):
        imgsz = ImageSize(*map(int, 32 * rng.integers(1, 30, 2)))
        source = tuple(map(int, rng.integers(1, 5000, 2)))
        fit = shim.shim_fit(ctypes.byref(Model(0, *imgsz, 1, 1)), *source)
        expected = fit_of(source, imgsz)
        assert (fit.width, fit.height, fit.left, fit.top) == (*expected.source, expected.left, expected.top)
        assert fit.scale == expected.scale


def test_overlap_is_opencvs_at_the_threshold_itself(shim):
    """On a grid of whole numbers many pairs overlap by exactly 0.5 or 0.7, and some boxes are empty or turned over."""
    rng = np.random.default_rng(0)
    at_threshold = 0
    for _ in range(4000):
        pair = rng.integers(-2, 12, (2, 4)).astype(np.float32)
        threshold = float(rng.choice([0.5, 0.7, 0.2, 1.0, 0.0]))
        a, b = ((ctypes.c_float * 4)(*each) for each in pair)
        overlap = shim.shim_iou(a, b)
        kept = len(cv2.dnn.NMSBoxes(pair, np.array([0.9, 0.8], np.float32), 0.0, threshold))
        assert (overlap <= np.float32(threshold)) == (kept == 2), (pair, threshold, overlap)
        at_threshold += abs(overlap - threshold) < 1e-6
    assert at_threshold > 100


def test_exponential_is_exact_to_float32_and_far_beyond(shim):
    x = np.concatenate([-np.logspace(-12, np.log10(699), 500), [0.0]])
    np.testing.assert_allclose([shim.shim_exp(each) for each in x], np.exp(x), rtol=1e-11)


def test_eight_bytes_at_once_are_compared_as_one_by_one(shim):
    rng = np.random.default_rng(0)
    for limit in range(-129, 127):
        near = np.clip([limit - 1, limit, limit + 1, -128, 127, 0, -1], -128, 127)
        for _ in range(40):
            stored = rng.choice(near[: rng.integers(1, 8)], 8).astype(np.int8)
            found = shim.shim_any_above(stored.ctypes.data_as(ctypes.c_void_p), limit)
            assert bool(found) == bool((stored > limit).any()), (stored, limit)


def test_wrong_buffers_and_arguments_are_refused(shim):
    head, imgsz, classes, tensors, stored = random_case(1)
    decoder = Decoder(shim, model_of(tensors, head, imgsz, classes))
    natives = [to_native(each, tensor.native_shape) for each, tensor in zip(stored, tensors)]
    right = [each.nbytes for each in natives]
    source = (100, 100)
    assert isinstance(decoder.run(natives, source, 0.25, 0.7), Detections)
    bad_size, bad_argument = -2, -3
    for number in range(len(natives)):
        for wrong in (0, right[number] - 1, right[number] + 1, right[number] * 2):
            sizes = [*right[:number], wrong, *right[number + 1 :]]
            assert decoder.run(natives, source, 0.25, 0.7, sizes=sizes) == bad_size
        missing = [*natives[:number], None, *natives[number + 1 :]]
        assert decoder.run(missing, source, 0.25, 0.7, sizes=right) == bad_argument
    for arguments in (
        {"confidence": -0.1, "iou": 0.7}, {"confidence": float("nan"), "iou": 0.7},
        {"confidence": 0.1, "iou": float("nan")}, {"confidence": 0.1, "iou": -1},
        {"confidence": 0.1, "iou": 0.7, "room": 0}, {"confidence": 0.1, "iou": 0.7, "most": 0},
        {"confidence": 0.1, "iou": 0.7, "most": -5},
    ):  # fmt: skip
        assert decoder.run(natives, source, **arguments) == bad_argument
    assert decoder.run(natives, (0, 5), 0.1, 0.7) == bad_argument


@pytest.mark.parametrize("seed", [0, 1])
def test_models_that_are_none_are_refused(shim, seed):
    head, imgsz, classes, tensors, _ = random_case(seed)

    def status(change):
        model = model_of(tensors, head, imgsz, classes)
        change(model)
        return Decoder(shim, model).status

    def set_to(name, value, output=None):
        return lambda model: setattr(model if output is None else model.outputs[output], name, value)

    last = len(tensors) - 1
    assert status(lambda model: None) == 0
    for change in (
        set_to("head", 3), set_to("width", imgsz.width + 1), set_to("height", 0), set_to("width", -32),
        set_to("width", 1 << 20), set_to("classes", classes + 1), set_to("classes", 0), set_to("classes", 2**31 - 1),
        set_to("output_count", 0), set_to("output_count", 7), set_to("output_count", 3),
        set_to("channels", 1, last), set_to("height", 0, last), set_to("width", 0, last), set_to("c1", 0, last),
        set_to("c1", 1000, last), set_to("c2", 0, last), set_to("c2", -16, last), set_to("zero_point", 128, last),
        set_to("zero_point", -129, 0), set_to("scale", 0, last), set_to("scale", -1, 0),
        set_to("scale", float("nan"), last), set_to("scale", float("inf"), last),
    ):  # fmt: skip
        assert status(change) == -1
    if head == SPLIT:
        # Of a joined output the length is the model's own affair, and the buffer's size is held against it.
        assert status(set_to("height", 1000, last)) == -1
    # Box logits that span more than exponentials can hold.
    assert status(set_to("scale", 2.74, 0)) == 0
    assert status(set_to("scale", 2.75, 0)) == (-1 if head == SPLIT else 0)


def test_darknet_model_holds_as_many_predictions_as_its_output(shim):
    """Whose number a YOLOv8's strides give, and another is refused."""
    head, imgsz, classes, tensors, _ = random_case(0)
    assert head == SINGLE

    def status(predictions, darknet):
        model = model_of(tensors, head, imgsz, classes)
        model.outputs[0].height = predictions
        model.head = 2 if darknet else 0
        return Decoder(shim, model).status

    for predictions in (1, 1500, tensors[0].shape[2]):
        assert status(predictions, darknet=True) == 0
    for predictions in (0, -5, 2**31 - 1):
        assert status(predictions, darknet=True) == -1
    assert status(1500, darknet=False) == -1


def test_header_is_cplusplus_too(tmp_path):
    """Rockchip's own examples are C++."""
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler (g++)")
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", f"-I{HERE}", "-x", "c++"]
    done = subprocess.run(["g++", *flags, "-c", SOURCES / "shim.c", "-o", tmp_path / "shim.o"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_million_random_inputs_under_sanitizers(tmp_path):
    """Nothing read or written out of bounds, nothing undefined: tests/bundle/c/fuzz.c."""
    sanitizers = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    linked = shutil.which("cc") and subprocess.run(["cc", *sanitizers, str(probe), "-o", str(tmp_path / "probe")])
    if not linked or linked.returncode:
        pytest.skip("needs a C compiler (cc) with AddressSanitizer")
    cc(*sanitizers, SOURCES / "fuzz.c", "-o", tmp_path / "fuzz")
    done = subprocess.run([tmp_path / "fuzz", "1000000", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    inputs, refused, found = map(int, re.findall(r"\d+", done.stdout))
    assert inputs >= 1_000_000 and refused > 1000 and found > 1_000_000


def test_sanitizers_see_a_read_beyond_a_buffer(tmp_path):
    """The fuzz run can fail: with the check of sizes taken out of decode.h it does."""
    header = (HERE / "decode.h").read_text()
    check = "if (sizes[i] != yolov8_size(&model->outputs[i])) return YOLOV8_BAD_SIZE;"
    assert check in header
    (tmp_path / "decode.h").write_text(header.replace(check, ""))
    command = ["cc", "-std=c99", "-g", "-fsanitize=address", f"-I{tmp_path}", SOURCES / "fuzz.c"]
    if not shutil.which("cc") or subprocess.run([*command, "-o", tmp_path / "fuzz"], capture_output=True).returncode:
        pytest.skip("needs a C compiler (cc) with AddressSanitizer")
    done = subprocess.run([tmp_path / "fuzz", "20000", "7"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr or "YOLOV8_BAD_SIZE" in done.stderr
