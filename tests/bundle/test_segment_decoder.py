"""segment.h gives the same masks as Python, for any model, layout and scale, without access out of bounds."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from c_library import (
    Decoder,
    Fit,
    Found,
    both,
    built_bundle,
    compiled,
    model_of,
    opened,
    wrong_library,
)
from random_models import KINDS, Case, random_case, with_task

from lib import tasks
from lib.bundle import HERE, golden, program
from lib.bundle.same_detections import demand_same
from lib.data.letterbox import fit_of
from lib.detector.families import OutputMap
from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.head import SPLIT
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.tasks.segment.decoding import masks_of
from lib.tasks.segment.masks import MASK, as_rows, decoded, encoded

FAMILIES = (Dfl, Distances)  # of the models that have masks
CASES = 60
LIMITS = (300, 250)  # detections, and pixels a side: masks take longer than boxes


class Area(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("x", "y", "width", "height")]


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """decode.h, the families' and the tasks' headers as a library."""
    library = compiled(tmp_path_factory.mktemp("shim"))
    library.shim_mask_area.restype = Area
    return library


def segment_case(seed: int) -> Case:
    """A random model with 1 to 70 prototypes, at a quarter of the input's size or another one."""
    family, number = FAMILIES[seed % len(FAMILIES)], seed // len(FAMILIES)
    case, rng = random_case(KINDS.index((family, SPLIT)) + number * len(KINDS)), np.random.default_rng([seed, 3])
    count = int(rng.choice([32, 32, 16, 1, 5, 20, 70]))
    extras = {OutputMap("coefficients", stride, count): (1e-3, 0.1) for stride in case.spec.family.strides}
    # Another stride than the family's, by which the prototypes are known.
    strides = {2, 4, 16} - set(case.spec.family.strides)
    extras[OutputMap("prototypes", int(rng.choice(sorted(strides))), count)] = (1e-3, 0.1)
    return with_task(case, "segment", extras, rng)


def test_any_model_gives_the_same_masks(shim, monkeypatch):
    counts, different = [], 0
    for seed in range(CASES):
        expected, detected = both(shim, seed, monkeypatch, segment_case, *LIMITS)
        demand_same(expected, detected, "segment")
        different += np.count_nonzero(expected.extras[MASK] != detected.extras[MASK])
        counts.append(len(detected))
    assert np.count_nonzero(counts) > 0.7 * CASES and max(counts) >= 300
    # Random sums are 0 to rounding more often than a model's: of small masks at a cell's very middle.
    assert different < 0.01 * sum(counts)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("i, source.cell) - map->zero_point", "i, source.cell)"),
        ("-prototypes->zero_point * sum", "0 * sum"),
        ("/ stride - 0.5, cells}", "/ stride, cells}"),
        ("(0.5 * scale + border) / stride", "0.5 * scale / stride"),
        ("(rv1106_scale_y(fit), fit->top, stride", "(fit->scale, fit->top, stride"),
        ("from = rv1106_box_outputs(model) + source.level", "from = rv1106_box_outputs(model)"),
        ("(float)whole < position ? whole + 1 : whole", "0 ? whole + 1 : whole"),
        ("counts.height = fit->height;", "counts.height = fit->height + 1;"),
        ("if (first > counts->at || !first)", "if (1)"),
        ("if (pixels > counts.at)", "if (1)"),
    ],
)  # fmt: skip
def test_comparison_sees_wrong_masks(tmp_path, monkeypatch, right, wrong):
    assert (HERE / "segment.h").read_text().count(right) == 1
    wrong_shim = wrong_library(tmp_path, right, wrong)
    with pytest.raises((UserError, ValueError), match=r"of a mask's pixels apart|not run lengths|different sizes"):
        for seed in range(CASES):
            demand_same(*both(wrong_shim, seed, monkeypatch, segment_case, *LIMITS), "segment")


def decoder_and_detections(shim, seed: int, source: tuple[int, int], most: int):
    """A decoder of a random model, its buffers, the letterbox, C's detections and Python's."""
    case = segment_case(seed)
    natives, decoder = case.natives(), Decoder(shim, model_of(shim, case))
    buffers = (ctypes.c_void_p * len(natives))(*(native.ctypes.data for native in natives))
    sizes = (ctypes.c_size_t * len(natives))(*(native.nbytes for native in natives))
    fit = shim.shim_fit(ctypes.byref(decoder.model), *source)
    found, room = (Found * most)(), ctypes.create_string_buffer(8 * 30_000)
    n = shim.shim_decode(decoder.memory, buffers, sizes, ctypes.c_float(0.05), ctypes.c_float(0.6), ctypes.byref(fit),
                         room, 30_000, found, most)  # fmt: skip
    expected = tasks.get("segment").instances(
        case.spec, case.floats(), fit_of(source, case.spec.imgsz), 0.05, 0.6, most
    )
    assert n == len(expected)
    return case, natives, decoder, buffers, fit, found, expected


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_in_the_callers_buffer_is_the_printed_one(shim, seed):
    source = (141, 97)
    *kept, decoder, buffers, fit, found, expected = decoder_and_detections(shim, seed, source, 20)
    assert kept and len(expected)
    for number, mask in enumerate(decoded(expected.extras[MASK], source)):
        area = shim.shim_mask_area(ctypes.byref(fit), ctypes.byref(found[number]))
        image = np.full((source[1], source[0]), 9, np.uint8)  # the mask may stand in an image; nothing else is written
        first = image.ctypes.data + area.y * source[0] + area.x
        count = shim.shim_mask(decoder.memory, buffers, ctypes.byref(fit), ctypes.byref(found[number]),
                               ctypes.c_void_p(first), ctypes.c_size_t(source[0]))  # fmt: skip
        inside = image[area.y : area.y + area.height, area.x : area.x + area.width]
        assert (image != 9).sum() == inside.size and count == (inside == 1).sum()
        image[image == 9] = 0
        assert (image != mask).sum() <= 1
        values = np.array(decoder._values(buffers, fit, found[number]))
        runs = np.repeat(np.arange(len(values)) % 2, values.astype(int))
        np.testing.assert_array_equal(runs.reshape(source).T, image)


def test_a_model_of_another_source_file_has_masks(shim, tmp_path):
    """As in a program of several source files: each of them has its own copy of the task's functions."""
    other = opened(shutil.copy(shim._name, tmp_path / "other.so"))
    *kept, decoder, buffers, fit, found, expected = decoder_and_detections(shim, 0, (141, 97), 20)
    assert kept and len(expected)
    image = np.zeros((97, 141), np.uint8)
    arguments = (decoder.memory, buffers, ctypes.byref(fit), ctypes.byref(found[0]),
                 image.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(141))  # fmt: skip
    assert shim.shim_mask(*arguments) == other.shim_mask(*arguments) > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_at_the_prototypes_size_is_the_sign_of_the_sums(shim, seed):
    case, _, decoder, buffers, fit, found, expected = decoder_and_detections(shim, seed, (141, 97), 20)
    prototypes = case.floats()[-1][0].astype(np.float64)
    stride = case.spec.shared_maps[0].stride
    predicted = tasks.get("segment").predict(case.spec, case.floats())
    box_fit = fit_of((141, 97), case.spec.imgsz)
    for number in range(len(expected)):
        area, pixels = Area(), np.full(prototypes[0].size, 9, np.uint8)
        count = shim.shim_small_mask(decoder.memory, buffers, ctypes.byref(fit), ctypes.byref(found[number]),
                                     ctypes.byref(area), ctypes.c_void_p(pixels.ctypes.data))  # fmt: skip
        sums = np.tensordot(predicted.columns[found[number].prediction].astype(np.float64), prototypes, axes=1)
        box = expected.boxes[number].astype(np.float64) * box_fit.scale + (box_fit.left, box_fit.top) * 2
        x1, y1, x2, y2 = np.ceil((box / stride).astype(np.float32)).astype(int)
        of_box = (x1, y1, max(x2 - x1, 0), max(y2 - y1, 0))
        assert np.abs(np.subtract((area.x, area.y, area.width, area.height), of_box)).sum() <= 1
        small = pixels[: area.width * area.height].reshape(area.height, area.width)
        ours = sums[area.y : area.y + area.height, area.x : area.x + area.width]
        assert count == small.sum() and (pixels[small.size :] == 9).all()
        assert not ((small > 0) != (ours > 0))[abs(ours) > 1e-9].any()


def test_invalid_models_are_refused(shim):
    case = segment_case(0)
    first, levels = len(case.spec.family.maps(1)), len(case.spec.family.strides)

    def status(change):
        model = model_of(shim, case)
        change(model)
        return Decoder(shim, model).status

    def set_output(number, name, value):
        return lambda model: setattr(model.outputs[first + number], name, value)

    assert status(lambda model: None) == 0
    prototypes = case.tensors[-1].shape
    for change in (
        *(set_output(0, *wrong) for wrong in (("channels", 3), ("channels", 0), ("height", 1000), ("scale", 0))),
        *(set_output(levels, *wrong) for wrong in (("channels", 3), ("width", prototypes[3] + 1), ("width", 0))),
        *(set_output(levels, *wrong) for wrong in (("height", prototypes[2] * 2), ("zero_point", 300), ("c1", 99))),
        *(lambda model, by=by: setattr(model, "output_count", first + by) for by in (0, 1, levels, levels + 2)),
        lambda model: setattr(model, "task", None),
        lambda model: setattr(model, "task", shim.shim_task(1)),
        lambda model: setattr(model, "head", 0),
    ):
        assert status(change) == -1


def test_wrong_arguments_are_refused(shim):
    case, natives, decoder, buffers, fit, found, _ = decoder_and_detections(shim, 0, (100, 80), 1)
    detection = found[0]
    area = shim.shim_mask_area(ctypes.byref(fit), ctypes.byref(detection))
    pixels = ctypes.create_string_buffer(150 * 80)  # for the widest rows below

    def call(decoder_at=decoder.memory, buffers=buffers, fit=fit, prediction=detection.prediction, pixels=pixels, by=0):
        other = Found(*(getattr(detection, name) for name, _ in Found._fields_))
        other.prediction = prediction
        return shim.shim_mask(decoder_at, buffers, ctypes.byref(fit), ctypes.byref(other), pixels,
                              ctypes.c_size_t(area.width + by))  # fmt: skip

    assert natives and call() >= 0 and call(by=50) == call()
    last = case.spec.family.points(case.spec.imgsz) - 1
    assert call(prediction=last) >= 0
    for wrong in (
        {"decoder_at": None}, {"buffers": None}, {"pixels": None}, {"prediction": -1}, {"prediction": last + 1},
        {"fit": Fit()}, {"by": -1},
    ):  # fmt: skip
        assert call(**wrong) == -3
    plain = random_case(KINDS.index((Dfl, SPLIT)))
    assert call(decoder_at=Decoder(shim, model_of(shim, plain)).memory) == -1


@pytest.mark.parametrize("seed", range(4))
def test_contract_and_program_of_a_bundle_support_the_task(tmp_path, seed):
    """model.json is read again, and main.c prints what Python writes."""
    case = segment_case(seed)
    again = built_bundle(tmp_path, case)
    assert again.output_spec() == case.spec and again.task == "segment"
    assert again.roles()[len(case.spec.family.maps(1)) :][-1] == "prototypes"
    fit = fit_of((301, 200), case.spec.imgsz)
    golden.write_outputs(tmp_path, case.tensors, case.floats(), fit)
    expected = tasks.get("segment").instances(case.spec, case.floats(), fit, 0.1, 0.5)
    detected = program.run(tmp_path / "decode", tmp_path, 0.1, 0.5, spec=case.spec)
    demand_same(expected, detected, "segment")
    done = subprocess.run([tmp_path / "decode", tmp_path, "0.1", "0.5"], check=True, capture_output=True, text=True)
    lines = program.write_detections(expected, again.classes, case.spec).splitlines()
    assert np.mean([ours == theirs for ours, theirs in zip(done.stdout.splitlines(), lines, strict=True)]) > 0.99


SIZE = (60, 50)


def one_mask(mask: np.ndarray, box=(2.5, 3.5, 42.5, 43.5)) -> Instances:
    rows = as_rows([encoded(mask.T, (0, 0), SIZE)])
    return Instances(np.array([box]), np.ones(1), np.zeros(1, int), {MASK: rows})


def test_comparison_accepts_only_rounding_differences():
    mask = np.zeros(SIZE[::-1], bool)
    mask[4:44, 3:43] = True  # 1600 pixels
    expected = one_mask(mask)

    def with_wrong(count, box=(2.5, 3.5, 42.5, 43.5)):
        other = mask.copy()
        other[4 : 4 + count, 3] = False
        return one_mask(other, box)

    assert demand_same(expected, expected, "segment").extras == 0
    assert demand_same(expected, with_wrong(1), "segment").extras == 0
    assert demand_same(expected, with_wrong(2), "segment").extras == pytest.approx(1 / 1600)
    with pytest.raises(UserError, match=r"detection 1 of 1.*0\.00125 of a mask's pixels apart"):
        demand_same(expected, with_wrong(3), "segment")
    # x1 is a whole number to rounding, so that a column may be in the box or not.
    box = (3.0004, 3.5, 42.5, 43.5)
    assert demand_same(one_mask(mask, box), with_wrong(40, box), "segment").extras == 0
    empty = one_mask(np.zeros_like(mask))
    assert demand_same(empty, empty, "segment").extras == 0
    for pair in ((empty, expected), (expected, empty)):
        with pytest.raises(UserError, match=r"0\.999\d* of a mask's pixels apart"):
            demand_same(*pair, "segment")


@pytest.mark.parametrize("numbers", ["", " 5 2.5 3\n", " 5 0 3\n", " 5 -2 3\n", " x\n", "0 0.5 1 2 3 4 man\n"])
def test_invalid_run_lengths_give_one_message(numbers):
    with pytest.raises(UserError, match="not a list of detections"):
        program.read_detections(f"0 0.5 1 2 3 4 man\n{numbers}", segment_case(0).spec)


def test_masks_of_two_sizes_give_one_message():
    lines = "0 0.5 1 2 3 4 man\n 5 2 3\n"
    assert len(program.read_detections(lines * 2, segment_case(0).spec)) == 2
    with pytest.raises(UserError, match="not a list of detections: the masks of one image have different sizes"):
        program.read_detections(lines + "0 0.5 1 2 3 4 man\n 5 2 4\n", segment_case(0).spec)


def test_masks_of_a_box_without_a_pixel():
    fit = fit_of((40, 30), segment_case(0).spec.imgsz)
    boxes = np.array([[3.2, 4, 3.8, 9], [3, 4, 3, 9], [39.5, 0, 40, 30]], np.float32)
    masks = masks_of(boxes, np.ones((3, 2), np.float32), np.ones((2, 8, 8), np.float32), 4, fit)
    assert decoded(masks, (40, 30)).sum() == 0
