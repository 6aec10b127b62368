"""decode.h gets the same detections from raw INT8 in NC1HWC2 as Python from floats, for any shape and scale; safely."""

import ctypes
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from c_library import (
    HEADERS,
    PLACES,
    SOURCES,
    Decoder,
    Model,
    Output,
    both,
    compiled,
    fuzzer,
    model_of,
    wrong_library,
)
from random_models import FAMILIES, KINDS, random_case

from lib.bundle import HERE
from lib.bundle.layout import PADDING, from_native, to_native
from lib.bundle.same_detections import demand_same
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import fit_of
from lib.detector.families.anchors import MOST_ANCHORS, MOST_LAYERS, Anchors
from lib.detector.families.dfl import MOST_BINS, Dfl
from lib.detector.head import HEADS, SPLIT
from lib.detector.instances import Instances
from lib.step.errors import UserError


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """decode.h, the families' and the tasks' headers as a library."""
    return compiled(tmp_path_factory.mktemp("shim"))


def test_any_model_gives_the_same_detections_in_the_same_order(shim, monkeypatch):
    counts = []
    for seed in range(200 * len(KINDS)):
        expected, found = both(shim, seed, monkeypatch)
        demand_same(expected, found)
        # No rounding either: the decoders round where numpy does.
        np.testing.assert_allclose(expected.boxes, found.boxes, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(expected.scores, found.scores.astype(np.float32))
        counts.append(len(found.scores))
    by_kind = np.reshape(counts, (-1, len(KINDS)))
    assert ((by_kind > 0).mean(axis=0) > 0.7).all() and (by_kind.max(axis=0) >= 300).all()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # What people get wrong: padding, the layout, the order of ties, the letterbox, the zero point, pixels cut.
        ("output->channels - c1 * c2 < c2 ? output->channels - c1 * c2 : c2;", "c2;"),
        ("lane >= begin && lane < end ? 255", "lane > begin && lane < end ? 255"),
        ("* cells + (size_t)cell) * c2", "* cells + (size_t)cell) * 8"),
        ("a.score == b.score && a.rank > b.rank", "a.score == b.score && a.rank < b.rank"),
        ("/ scale;\n    return (float)(moved", ";\n    return (float)(moved"),
        ("(float)(stored - output->zero_point)", "(float)(stored + 128 + 0 * output->zero_point)"),
        ("candidates[0] = candidate;", "(void)candidate;"),
        ("better[i].class_id == class_id && ", ""),
        # And of other families: bins, the order of [yolo] maps, limits of sizes and scores, NMS where there is none.
        ("weighted += weight * bin;", "weighted += weight * (bin % 16);"),
        ("source->cell % width) + offset,", "source->cell % width) + 0.5f + 0 * offset,"),
        ("model->details ? ((const rv1106_point", "model->family->map_count == 9 ? ((const rv1106_point"),
        ("(sigmoid - 0.5) * details->scale_x_y + 0.5", "sigmoid"),
        ("4 * real * real", "2 * real * real"),
        ("channel + 2 * level->per_cell", "(axis + 2) * level->per_cell"),
        ("side < most ? side : most", "side"),
        ("prediction + anchor * cells + cell", "prediction + cell"),
        ("rv1106_anchors_score(factors[anchor], ", "rv1106_anchors_score(1, "),
        ("group[at] > limits[(first + at) % per_cell]", "1"),
        ("output->height * output->width * model->levels[i].per_cell;", "output->height * output->width;"),
        ("model->end2end || !rv1106_overlaps", "!rv1106_overlaps"),
        ("(at + table[0][shift + 128]) * stride", "(at + 0.5 + table[0][shift + 128]) * stride"),
        ("side < limit ? side : limit", "side"),
        ("table[1][growth + 128] * stride", "table[0][growth + 128] * stride"),
        # And of inputs that other makers fit.
        ("fit->scale_y > 0 ? fit->scale_y : fit->scale", "fit->scale"),
        ("if (model->place == RV1106_TOP_LEFT) return fit;", ""),
    ],
)
def test_comparison_sees_a_wrong_decoder(tmp_path, monkeypatch, right, wrong):
    assert [right in (HERE / name).read_text() for name in HEADERS].count(True) == 1
    wrong_shim = wrong_library(tmp_path, right, wrong)
    with pytest.raises(UserError, match=r"detections, but|^detection \d+ of"):
        for seed in range(40 * len(KINDS)):
            demand_same(*both(wrong_shim, seed, monkeypatch))


def test_comparison_sees_a_wrong_box_score_class_and_order(shim, monkeypatch):
    expected, found = both(shim, 5, monkeypatch)
    assert len(found.scores) > 1
    for wrong in (
        Instances(found.boxes + 0.002, found.scores, found.classes),
        Instances(found.boxes, found.scores + 2e-4, found.classes),
        Instances(found.boxes, found.scores, found.classes + 1),
        Instances(found.boxes[::-1], found.scores[::-1], found.classes[::-1]),
        Instances(found.boxes[1:], found.scores[1:], found.classes[1:]),
        Instances(found.boxes * np.nan, found.scores, found.classes),
    ):
        with pytest.raises(UserError, match=r"detections, but|^detection \d+ of"):
            demand_same(expected, wrong)


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


def test_letterbox_equals_pythons(shim):
    rng = np.random.default_rng(0)
    for _ in range(3000):
        imgsz = ImageSize(*map(int, 32 * rng.integers(1, 30, 2)))
        source = tuple(map(int, rng.integers(1, 5000, 2)))
        for number, place in enumerate(PLACES):
            model = Model(width=imgsz.width, height=imgsz.height, place=number)
            fit = shim.shim_fit(ctypes.byref(model), *source)
            expected = fit_of(source, imgsz, InputForm(letterbox=place))
            assert (fit.width, fit.height, fit.left, fit.top) == (*expected.source, expected.left, expected.top)
            assert (fit.scale, fit.scale_y) == (expected.scale, expected.scale_y or 0)


def test_iou_equals_opencvs_exactly_at_the_threshold(shim):
    """On a grid of integers many pairs have an IoU of exactly 0.5 or 0.7, and some boxes are empty or inverted."""
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


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_wrong_buffers_and_arguments_are_refused(shim, seed):
    case = random_case(seed)
    model = model_of(shim, case)
    model.end2end = 0
    decoder = Decoder(shim, model)
    natives = case.natives()
    right = [native.nbytes for native in natives]
    source = (100, 100)
    assert isinstance(decoder.run(natives, source, 0.25, 0.7), Instances)
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


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_end_to_end_model_ignores_iou(shim, seed):
    """It keeps boxes that NMS would drop. Several cases of each kind, because a case may have no overlapping boxes."""
    counts = {1: 0, 0: 0}
    for case in map(random_case, range(seed, 4 * len(KINDS), len(KINDS))):
        for end2end in counts:
            model = model_of(shim, case)
            model.end2end = end2end
            iou = float("nan") if end2end else 0.0
            counts[end2end] += len(Decoder(shim, model).run(case.natives(), (100, 100), 0.0, iou, most=30_000).scores)
    assert counts[1] > counts[0] > 0


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_invalid_models_are_refused(shim, seed):
    case = random_case(seed)
    family, head = KINDS[seed]
    imgsz, classes = case.spec.imgsz, case.spec.classes

    def status(change):
        model = model_of(shim, case)
        change(model)
        return Decoder(shim, model).status

    def set_to(name, value, output=None):
        return lambda model: setattr(model if output is None else model.outputs[output], name, value)

    last = len(case.tensors) - 1
    assert status(lambda model: None) == 0
    for change in (
        set_to("head", 2), set_to("head", 1 - HEADS.index(head)), set_to("family", None),
        set_to("width", imgsz.width + 1), set_to("height", 0), set_to("width", -32),
        set_to("level_count", -1), set_to("level_count", 0), set_to("level_count", MOST_LAYERS + 1),
        set_to("width", 1 << 20), set_to("classes", classes + 1), set_to("classes", 0), set_to("classes", 2**31 - 1),
        set_to("output_count", 0), set_to("output_count", 19), set_to("output_count", last),
        set_to("channels", 0, last), set_to("height", 0, last), set_to("width", 0, last), set_to("c1", 0, last),
        set_to("c1", 1000, last), set_to("c2", 0, last), set_to("c2", -16, last), set_to("zero_point", 128, last),
        set_to("zero_point", -129, 0), set_to("scale", 0, last), set_to("scale", -1, 0),
        set_to("scale", float("nan"), last), set_to("scale", float("inf"), last), set_to("height", 1000, last),
    ):  # fmt: skip
        assert status(change) == -1
    if head == SPLIT:
        others = [shim.shim_family(number) for number, other in enumerate(FAMILIES) if other != family]
        assert [status(set_to("family", other)) for other in others] == [-1] * len(others)
    # Box logits that span more than exponentials of a DFL can hold.
    assert status(set_to("scale", 2.74, 0)) == 0
    assert status(set_to("scale", 2.75, 0)) == (-1 if (family, head) == (Dfl, SPLIT) else 0)


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_invalid_levels_are_refused(shim, seed):
    case = random_case(seed)
    anchors = type(case.spec.family) is Anchors

    def status(name=None, value=None):
        model = model_of(shim, case)
        if name == "side":
            model.details[0].anchors[0][1] = value
        elif name == "details":
            model.details = value
        elif name:
            part = next(
                part for part in (model.levels[0], model.details[0] if anchors else 0, model) if hasattr(part, name)
            )
            setattr(part, name, value)
        return Decoder(shim, model).status

    assert status() == 0
    levels = case.spec.family.levels()
    wrong = {
        "level_count": (-1, 0, len(levels) + 1, MOST_LAYERS + 1),
        "stride": (-8, 0, 8193, 2**31 - 1, 7),
        "per_cell": (-1, 0, levels[0].per_cell + 1, MOST_ANCHORS + 1, 2**31 - 1),
    }
    if anchors:
        assert status("scale_x_y", 1.3) == status("new_coords", 1) == 0
        wrong |= {
            "details": (None,),
            "scale_x_y": (0, -1, 101, float("nan")),
            "side": (0, -1, float("nan"), float("inf")),
        }
    for name, values in wrong.items():
        for value in values:
            assert status(name, value) == -1, (name, value)


def test_number_of_dfl_bins_is_limited(shim):
    case = random_case(KINDS.index((Dfl, SPLIT)))

    def status(bins, first=0):
        model = model_of(shim, case)
        for output in list(model.outputs)[first:5:2]:
            output.channels, output.c1, output.c2 = 4 * bins, 1, max(4 * bins, 1)
        return Decoder(shim, model).status

    assert [status(bins) for bins in (0, 1, 2, 3, 16, MOST_BINS, MOST_BINS + 1)] == [-1, -1, 0, 0, 0, 0, -1]
    assert status(7, first=2) == -1, "the strides have different numbers of bins"


def test_limits_equal_those_of_the_headers():
    text = "".join((HERE / name).read_text() for name in HEADERS)
    for name, value in {"BINS": MOST_BINS, "LEVELS": MOST_LAYERS, "ANCHORS": MOST_ANCHORS}.items():
        assert re.search(rf"\bRV1106_MAX_{name} = {value}\b", text)


def test_limits_of_class_scores_equal_those_of_all_products(shim):
    """The table of limits is compared with all 65536 products of bytes, including negative values."""
    rng = np.random.default_rng(0)
    every = np.arange(-128, 128)
    for _ in range(50):
        pair = [(0,) * 5 + (int(rng.choice([-128, rng.integers(-128, 128)])), rng.uniform(1e-3, 0.02)) for _ in "os"]
        confidence = float(rng.choice([0.0, 0.001, 0.25, 0.6]))
        limits = (ctypes.c_int * 256)()
        outputs = [Output(*each) for each in pair]
        shim.shim_anchors_limits(*map(ctypes.byref, outputs), ctypes.c_float(confidence), limits)
        reals = [(every - each.zero_point).astype(np.float32) * np.float32(each.scale) for each in outputs]
        products = np.maximum(reals[0], 0)[:, None] * reals[1]
        np.testing.assert_array_equal(products > np.float32(confidence), every > np.array(limits)[:, None])


def test_header_is_cplusplus_too(tmp_path):
    """Rockchip's own examples are C++."""
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler (g++)")
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", f"-I{HERE}", "-x", "c++"]
    done = subprocess.run(["g++", *flags, "-c", SOURCES / "shim.c", "-o", tmp_path / "shim.o"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_random_inputs_under_sanitizers(tmp_path):
    """No access out of bounds, no undefined behaviour: tests/bundle/c/fuzz.c."""
    done = subprocess.run([fuzzer(tmp_path, SOURCES / "fuzz.c"), "100000", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    inputs, refused, found = map(int, re.findall(r"\d+", done.stdout))
    assert inputs >= 100_000 and refused > 400 and found > 200_000


def test_sanitizers_see_a_read_beyond_a_buffer(tmp_path):
    """The fuzz test can fail: without the check of sizes in decode.h it does."""
    header = (HERE / "decode.h").read_text()
    check = "if (sizes[i] != rv1106_size(&model->outputs[i])) return RV1106_BAD_SIZE;"
    assert check in header
    for name in HEADERS:
        (tmp_path / name).write_text((HERE / name).read_text().replace(check, ""))
    command = ["cc", "-std=c99", "-g", "-fsanitize=address", f"-I{tmp_path}", SOURCES / "fuzz.c"]
    if not shutil.which("cc") or subprocess.run([*command, "-o", tmp_path / "fuzz"], capture_output=True).returncode:
        pytest.skip("needs a C compiler (cc) with AddressSanitizer")
    done = subprocess.run([tmp_path / "fuzz", "20000", "7"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr or "RV1106_BAD_SIZE" in done.stderr
