"""pose.h gives the same keypoints as Python, for any model, layout and scale, without access out of bounds."""

import ctypes
import subprocess
from dataclasses import replace

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
from random_models import KINDS, Case, random_case, random_output, with_task
from test_segment_decoder import segment_case

from lib import tasks
from lib.bundle import HERE, golden, program
from lib.bundle.contract import Proof
from lib.bundle.readme import readme
from lib.bundle.same_detections import demand_same
from lib.data.letterbox import fit_of
from lib.detector.families import OutputMap
from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.head import SPLIT
from lib.detector.instances import Instances
from lib.step.errors import UserError

FAMILIES = (Dfl, Distances)  # of the models that have keypoints
CASES = 150


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """decode.h, the families' and the tasks' headers as a library."""
    return compiled(tmp_path_factory.mktemp("shim"))


def pose_case(seed: int) -> Case:
    """A random model with 1 to 30 keypoints, with and without fine maps and visibility."""
    family, number = FAMILIES[seed % len(FAMILIES)], seed // len(FAMILIES)
    case, rng = random_case(KINDS.index((family, SPLIT)) + number * len(KINDS)), np.random.default_rng([seed, 2])
    count, strides = int(rng.choice([17, 17, 1, 2, 5, 8, 30])), case.spec.family.strides
    extras = {OutputMap("keypoints", stride, 2 * count): (1e-3, 0.2) for stride in strides}
    if rng.random() < 0.7:
        extras |= {OutputMap("visibility", stride, count): (1e-3, 1 / 255) for stride in strides}
    case, rng = with_task(case, "pose", extras, rng), np.random.default_rng([seed, 3])
    return with_fine(case, rng) if rng.random() < 0.7 else case


def with_fine(case: Case, rng) -> Case:
    """The case with fine maps behind those of keypoints, all in one layout."""
    maps, levels = case.spec.extras, len(case.spec.family.strides)
    fine = tuple(OutputMap("keypoints_fine", output.stride, output.channels) for output in maps[:levels])
    c2, shapes = int(rng.choice([16, 16, 8, 1, 0])), [output.shape(case.spec.imgsz) for output in fine]
    made = [random_output(rng, output.name, shape, (1e-3, 1e-2), c2) for output, shape in zip(fine, shapes)]
    at = len(case.tensors) - len(maps) + levels
    return Case(
        replace(case.spec, extras=(*maps[:levels], *fine, *maps[levels:])),
        [*case.tensors[:at], *(tensor for tensor, _ in made), *case.tensors[at:]],
        [*case.stored[:at], *(values.astype(np.int8) for _, values in made), *case.stored[at:]],
    )


def test_any_model_gives_the_same_keypoints(shim, monkeypatch):
    counts = []
    for seed in range(CASES):
        expected, detected = both(shim, seed, monkeypatch, pose_case)
        demand_same(expected, detected, "pose")
        # No rounding either: the decoders round where numpy does.
        np.testing.assert_array_equal(expected.extras["keypoints"], detected.extras["keypoints"])
        counts.append(len(detected))
    assert np.count_nonzero(counts) > 0.7 * CASES and max(counts) >= 300


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(cell + 0.5))", "cell)"),
        ("2 * number + 1)", "2 * number)"),
        ("model->levels[source->level].stride, width", "8, width"),
        ("rv1106_scale_y(fit), fit->height", "fit->scale, fit->height"),
        ("first = task + source->level", "first = task"),
        ("last < model->output_count", "0"),
        ("source->cell % width, stride", "source->cell / width, stride"),
        ("places.fine = fine ?", "places.fine = 0 ?"),
        ("4 * (double)fine -", "3 * (double)fine -"),
        ("apart <= 0.5 ?", "1 ?"),
        ("fine < 0.984375f", "fine < 0.9f"),
    ],
)
def test_comparison_sees_wrong_keypoints(tmp_path, monkeypatch, right, wrong):
    assert (HERE / "pose.h").read_text().count(right) == 1
    wrong_shim = wrong_library(tmp_path, right, wrong)
    with pytest.raises(UserError, match=r"px of a keypoint apart"):
        for seed in range(CASES):
            demand_same(*both(wrong_shim, seed, monkeypatch, pose_case), "pose")


def test_invalid_models_are_refused(shim):
    def status(change, seed=0):
        return status_of_changed(shim, pose_case(seed), change)

    seeds = [seed for seed in range(20) if len(pose_case(seed).spec.extras) == 9][:2]
    for seed in seeds:
        assert status(lambda model, first: None, seed) == 0
        for change in (
            *(set_output(*wrong) for wrong in (("channels", 3), ("channels", 0), ("channels", -2), ("height", 1000))),
            *(set_output(*wrong) for wrong in (("scale", 0), ("zero_point", 200), ("c1", 99))),
            *(set_count(wrong) for wrong in (0, 1, 1000)),
            lambda model, first: setattr(model, "task", None),
            lambda model, first: setattr(model, "head", 0),
        ):
            assert status(change, seed) == -1
    boxes = model_of(shim, random_case(KINDS.index((Dfl, SPLIT))))
    boxes.task = shim.shim_task(1)
    assert Decoder(shim, boxes).status == -1, "a model without keypoints"


def test_wrong_arguments_are_refused(shim):
    case = pose_case(0)
    decoder, natives = Decoder(shim, model_of(shim, case)), case.natives()
    buffers = (ctypes.c_void_p * len(natives))(*(native.ctypes.data for native in natives))
    fit, detection = shim.shim_fit(ctypes.byref(decoder.model), 100, 80), Found()
    count = len(case.tensors)
    keypoints = (ctypes.c_float * (3 * 60))()

    def call(decoder_at=decoder.memory, buffers=buffers, fit=fit, prediction=0, keypoints=keypoints, room=60):
        detection.prediction = prediction
        return shim.shim_keypoints(decoder_at, buffers, ctypes.byref(fit), ctypes.byref(detection), keypoints, room)

    points = case.spec.extras[0].channels // 2
    assert call() == points and count > 6
    assert call(room=0) == points, "no room is no error: K is told"
    bad_argument = -3
    last = case.spec.family.points(case.spec.imgsz) - 1
    assert call(prediction=last) == points
    for wrong in (
        {"decoder_at": None}, {"buffers": None}, {"keypoints": None}, {"prediction": -1}, {"prediction": last + 1},
        {"fit": shim.shim_fit(ctypes.byref(decoder.model), 0, 5)},
    ):  # fmt: skip
        assert call(**wrong) == bad_argument
    plain = random_case(KINDS.index((Dfl, SPLIT)))
    assert call(decoder_at=Decoder(shim, model_of(shim, plain)).memory) == -1
    masks = model_of(shim, next(case for case in map(segment_case, range(9)) if case.spec.extras[0].channels > 1))
    assert call(decoder_at=Decoder(shim, masks).memory) == -1, "a model for another task"


@pytest.mark.parametrize("seed", range(6))
def test_contract_and_program_of_a_bundle_support_the_task(tmp_path, seed):
    """model.json is read again, and main.c prints exactly what Python writes."""
    case = pose_case(seed)
    again = built_bundle(tmp_path, case)
    assert again.output_spec() == case.spec and again.task == "pose"
    assert set(again.roles()[len(case.spec.family.maps(1)) :]) <= {
        "keypoints",
        "keypoints_fine",
        "visibility",
    }
    fit = fit_of((301, 200), case.spec.imgsz)
    golden.write_outputs(tmp_path, case.tensors, case.floats(), fit)
    expected = tasks.get("pose").instances(case.spec, case.floats(), fit, 0.1, 0.5)
    done = subprocess.run([tmp_path / "decode", tmp_path, "0.1", "0.5"], check=True, capture_output=True, text=True)
    assert done.stdout == program.write_detections(expected, again.classes, case.spec)
    demand_same(expected, program.run(tmp_path / "decode", tmp_path, 0.1, 0.5, spec=case.spec), "pose")


def test_an_image_without_detections_has_no_lines():
    case = pose_case(0)
    nothing = tasks.get("pose").instances(case.spec, case.floats(), fit_of((301, 200), case.spec.imgsz), 1e9, 0.5)
    assert program.write_detections(nothing, ["a"], case.spec) == ""
    assert program.read_detections("", case.spec).extras["keypoints"].shape[0] == 0
    assert demand_same(nothing, program.read_detections("", case.spec), "pose").detections == 0


def test_the_bundles_readme_says_how_to_get_keypoints():
    def text_of(case: Case) -> str:
        contract = case.contract("mine")
        proof = Proof(1, 2, 1e-5, 1e-7, 0.5, 3e-5 if contract.task else None)
        return readme(replace(contract, proof=proof))

    case = next(case for case in map(pose_case, range(99)) if case.spec.extras[0].channels == 34)
    text = text_of(case)
    assert "rv1106_keypoints(&decoder, buffers, &fit, &detections[i], keypoints, 17);" in text
    assert "scores by 1e-07, the values of the task by 3e-05 px of a keypoint." in text
    assert "the headers for this model's family and task |" in text and "`pose.h`" in text
    plain = text_of(random_case(KINDS.index((Dfl, SPLIT))))
    assert "scores by 1e-07." in plain and "the headers for this model's family |" in plain and "pose" not in plain


def test_comparison_sees_one_wrong_number():
    keypoints = np.random.default_rng(0).uniform(0, 100, (2, 17, 3))
    boxes, scores, classes = np.zeros((2, 4)), np.ones(2), np.zeros(2, int)
    expected = Instances(boxes, scores, classes, {"keypoints": keypoints})
    for place, wrong in (((0, 16, 0), 2e-3), ((1, 0, 1), -2e-3), ((1, 3, 2), 2e-4), ((1, 3, 2), np.nan)):
        other = keypoints.copy()
        other[place] += wrong
        with pytest.raises(UserError, match=rf"detection {place[0] + 1} of 2.*apart"):
            demand_same(expected, Instances(boxes, scores, classes, {"keypoints": other}), "pose")
    assert demand_same(expected, expected, "pose").extras == 0


@pytest.mark.parametrize(
    "text",
    [
        "0 0.5 1 2 3 4 man\n",  # nothing of the task
        "0 0.5 1 2 3 4 man\n 1 2\n",  # too few numbers
        "0 0.5 1 2 3 4 man\n" + " 1" * 51 + "\n0 0.5 1 2 3 4 man\n",
        "0 0.5 1 2 3 4 man\n" + " 1" * 50 + " x\n",
    ],
)
def test_invalid_lines_give_one_message(text):
    spec = next(case.spec for case in map(pose_case, range(99)) if case.spec.extras[0].channels == 34)
    with pytest.raises(UserError, match="not a list of detections"):
        program.read_detections(text, spec)
