"""obb.h gives the same rotated boxes as Python, for any model, layout and scale, without access out of bounds."""

import ctypes
from dataclasses import replace

import c_library
import numpy as np
import pytest
from c_library import (
    Decoder,
    Found,
    both,
    built_bundle,
    compiled,
    model_of,
    set_count,
    set_output,
    status_of_changed,
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
from lib.tasks.obb import rectangles
from lib.tasks.obb.maps import ANGLE, TURN

FORMS = ((Dfl, TURN), (Distances, ANGLE), (Distances, TURN))
CASES = 150


class Rotated(ctypes.Structure):
    _fields_ = [(name, ctypes.c_float) for name in ("cx", "cy", "width", "height", "angle")]


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """decode.h, the families' and the tasks' headers as a library."""
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def unstretched(monkeypatch):
    """Only images that are not stretched, because the task refuses stretched ones."""
    monkeypatch.setattr(c_library, "PLACES", ("centre", "top_left"))


def obb_case(seed: int) -> Case:
    """A random model with rotated boxes; its points are the cells' centres, as in all such models."""
    (family, role), number = FORMS[seed % len(FORMS)], seed // len(FORMS)
    case, rng = random_case(KINDS.index((family, SPLIT)) + number * len(KINDS)), np.random.default_rng([seed, 2])
    case = case._replace(spec=replace(case.spec, family=replace(case.spec.family, corner=None)))
    scales = (1e-3, 1 / 255) if role == TURN else (1e-3, 0.05 if number % 5 else 1.1)
    return with_task(case, "obb", {OutputMap(role, stride, 1): scales for stride in case.spec.family.strides}, rng)


def test_any_model_gives_the_same_rotated_boxes(shim, monkeypatch, unstretched):
    counts, same = [], []
    for seed in range(CASES):
        expected, detected = both(shim, seed, monkeypatch, obb_case)
        demand_same(expected, detected, "obb")
        same.append(np.array_equal(expected.extras["rotated"], detected.extras["rotated"]))
        counts.append(len(detected))
    # Its own cosine and sine may round another way than numpy's, in double; that shows in float once in a while.
    assert np.mean(same) > 0.9
    assert np.count_nonzero(counts) > 0.7 * CASES and max(counts) >= 300


def test_cosine_and_sine_are_those_of_the_library(shim):
    cosine, sine = ctypes.c_double(), ctypes.c_double()
    angles = np.concatenate([np.linspace(-4, 4, 20001), np.linspace(-1000, 1000, 20001), np.arange(-8, 9) * np.pi / 4])
    worst = 0
    for angle in angles:
        shim.shim_cos_sin(ctypes.c_double(angle), ctypes.byref(cosine), ctypes.byref(sine))
        worst = max(worst, abs(cosine.value - np.cos(angle)), abs(sine.value - np.sin(angle)))
    assert worst < 3e-16


def test_overlaps_equal_pythons(shim):
    rng = np.random.default_rng(0)
    some = rng.uniform((0, 0, 0, 0, -4), (50, 50, 60, 20, 4), (2000, 5)).astype(np.float32)
    others = (some + rng.normal(0, 1, some.shape) * (5, 5, 5, 5, 0.5)).clip((0, 0, 0, 0, -9)).astype(np.float32)
    others[:200] = some[:200]
    expected = rectangles.likeness(some, others)
    pairs = [(ctypes.byref(Rotated(*a)), ctypes.byref(Rotated(*b))) for a, b in zip(some, others)]
    likeness = np.array([shim.shim_likeness(*pair) for pair in pairs])
    np.testing.assert_allclose(likeness, expected, atol=1e-12)
    assert (expected > 0.5).sum() > 300 and (expected == 0).sum() > 50
    for limit in (0.0, 0.1, 0.828):
        apart = np.array([shim.shim_are_apart(*pair, ctypes.c_double(limit)) for pair in pairs], bool)
        assert (likeness[apart] <= limit).all() and (limit == 0 or apart.sum() > 10)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(source.cell % width + 0.5)", "(source.cell % width)"),
        ("dx * rectangle.cos - dy", "dx * rectangle.cos + dy"),
        ("real - 0.25f", "real"),
        ("box[1] - py;", "box[1];"),
        ("number = rv1106_box_outputs(model) + source->level", "number = rv1106_box_outputs(model)"),
        ("(rectangle.cy - fit->top)", "(rectangle.cy - fit->left)"),
        ("rectangle.height /= fit->scale", "rectangle.width /= 1"),
        ("class_id == better[i].class_id && ", ""),
        ("> limit) return 1", "> 1) return 1"),
        ("* limit > sides", "* limit < sides"),
        ("2 * xy * right * down", "xy * right * down"),
        ("decoder->model->end2end ||", "0 ||"),
        ("h * placed.sin", "-h"),
    ],
)
def test_comparison_sees_wrong_rotated_boxes(tmp_path, monkeypatch, unstretched, right, wrong):
    assert (HERE / "obb.h").read_text().count(right) == 1
    wrong_shim = wrong_library(tmp_path, right, wrong, ("obb.h",))
    with pytest.raises(UserError, match=r"detections, but|px of a corner apart"):
        for seed in range(CASES):
            demand_same(*both(wrong_shim, seed, monkeypatch, obb_case), "obb")


def test_invalid_models_are_refused(shim):
    def status(change, seed=0):
        return status_of_changed(shim, obb_case(seed), change)

    for seed in range(3):
        assert status(lambda model, first: None, seed) == 0
        for change in (
            *(set_output(*wrong) for wrong in (("channels", 2), ("channels", 0), ("height", 1000), ("scale", 0))),
            *(set_output(*wrong) for wrong in (("scale", 1.2), ("zero_point", 200), ("c1", 99))),
            *(set_count(wrong) for wrong in (0, 1, 1000)),
            lambda model, first: setattr(model, "task", None),
            lambda model, first: setattr(model, "task", shim.shim_task(1)),
            lambda model, first: setattr(model, "head", 0),
        ):
            assert status(change, seed) == -1


def test_a_stretched_image_is_refused_as_in_python(shim):
    case = obb_case(0)
    model = model_of(shim, case)
    model.place = c_library.PLACES.index("stretch")
    width, height = case.spec.imgsz
    decoder = Decoder(shim, model)
    assert decoder.status == 0
    bad_argument = -3
    assert decoder.run(case.natives(), (width, height + 7), 0.1, 0.5) == bad_argument
    same_shape = decoder.run(case.natives(), (2 * width, 2 * height), 0.1, 0.5, spec=case.spec)
    assert isinstance(same_shape, Instances)


def test_wrong_arguments_are_refused(shim):
    case = obb_case(0)
    decoder, natives = Decoder(shim, model_of(shim, case)), case.natives()
    buffers = (ctypes.c_void_p * len(natives))(*(native.ctypes.data for native in natives))
    fit, detection, rotated = shim.shim_fit(ctypes.byref(decoder.model), 100, 80), Found(), (Rotated * 1)()

    def call(decoder_at=decoder.memory, buffers=buffers, fit=fit, prediction=0, rotated=rotated):
        detection.prediction = prediction
        return shim.shim_rotated_box(decoder_at, buffers, ctypes.byref(fit), ctypes.byref(detection), rotated)

    last = case.spec.family.points(case.spec.imgsz) - 1
    assert call() == 0 and call(prediction=last) == 0
    stretched = shim.shim_fit(ctypes.byref(decoder.model), 100, 80)
    stretched.scale_y = stretched.scale * 1.01
    bad_model, bad_argument = -1, -3
    for wrong in (
        {"decoder_at": None}, {"buffers": None}, {"rotated": None}, {"prediction": -1}, {"prediction": last + 1},
        {"fit": shim.shim_fit(ctypes.byref(decoder.model), 0, 5)}, {"fit": stretched},
    ):  # fmt: skip
        assert call(**wrong) == bad_argument
    plain = random_case(KINDS.index((Dfl, SPLIT)))
    assert call(decoder_at=Decoder(shim, model_of(shim, plain)).memory) == bad_model


@pytest.mark.parametrize("seed", range(6))
def test_contract_and_program_of_a_bundle_support_the_task(tmp_path, seed):
    """model.json is read again, and main.c finds the same as Python."""
    case = obb_case(seed)
    again = built_bundle(tmp_path, case)
    assert again.output_spec() == case.spec and again.task == "obb"
    assert set(again.roles()[len(case.spec.family.maps(1)) :]) == {FORMS[seed % len(FORMS)][1]}
    fit = fit_of((301, 200), case.spec.imgsz)
    golden.write_outputs(tmp_path, case.tensors, case.floats(), fit)
    expected = tasks.get("obb").instances(case.spec, case.floats(), fit, 0.1, 0.5)
    assert len(expected)
    demand_same(expected, program.run(tmp_path / "decode", tmp_path, 0.1, 0.5, spec=case.spec), "obb")
    written = program.write_detections(expected, again.classes, case.spec)
    demand_same(expected, program.read_detections(written, case.spec), "obb")
