"""classify.h finds the same best classes as Python, for any number of classes, layout and scale."""

import ctypes
import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from c_library import PLACES, SANITIZERS, Decoder, built_bundle, compiled, model_of, wrong_library
from random_models import Case, random_output
from stub_board import StubModel, build, run_readme_example

from lib import tasks
from lib.bundle import golden, program
from lib.bundle.contract import Accuracy, Contract, Proof
from lib.bundle.describe import Forms, Measured, describe
from lib.bundle.layout import as_map
from lib.bundle.readme import readme
from lib.bundle.same_detections import demand_same
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import fit_of
from lib.detector.families.classes import Classes
from lib.detector.head import AS_IS, CLASSIFY
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnFile, RknnTensor
from lib.npu.verdict import Verdict
from lib.results.sweep import Variant
from lib.step.errors import UserError

CASES = 300
CROP = InputForm(letterbox="crop")


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """decode.h, the families' and the tasks' headers as a library."""
    return compiled(tmp_path_factory.mktemp("shim"))


class Class(ctypes.Structure):
    _fields_ = [("class_id", ctypes.c_int), ("value", ctypes.c_float), ("probability", ctypes.c_float)]


class ClassifierCase(Case):
    """A classifier of which contracts can be made."""

    def contract(self, model: str, names: list[str] | None = None) -> Contract:
        size, names = self.spec.imgsz, names or [f"class {number}" for number in range(self.spec.classes)]
        pixels = RknnTensor("images", (1, 3, *size[::-1]), (1, 1, *size[::-1], 3), "int8", 1 / 255, -128)
        rknn = RknnFile(pixels, tuple(self.tensors), (0,) * 3, (255,) * 3, "2.3.2", "rv1106")
        accuracy = Accuracy(4, "heldout", top1_fp32=0.75, top5_fp32=1.0, top1_int8=0.5, top5_int8=1.0)
        variant, verdict = (
            Variant(model, str(size), AS_IS, "normal", 8),
            Verdict("runs", "a test", "none", "inferred", ""),
        )
        return describe(rknn, variant, Forms(self.spec, CROP), names, Measured(accuracy), verdict)


def classifier_case(seed: int) -> Case:
    """A classifier of any size, number of classes, scale and layout; many of its values are equal."""
    rng = np.random.default_rng(seed)
    imgsz, classes = ImageSize(*map(int, rng.integers(1, 300, 2))), int(rng.choice([1, 2, 5, 16, 17, 1000]))
    spec = OutputSpec(imgsz, AS_IS, Classes((max(imgsz),)), classes, CLASSIFY, end2end=True)
    tensor, stored = random_output(rng, "logits", (1, classes, 1, 1), (1e-4, 2), int(rng.choice([16, 8, 1, 0])))
    if rng.random() < 0.5:
        stored = stored // 32 * 32
    return ClassifierCase(spec, [tensor], [stored.astype(np.int8)])


def of_both(shim, seed: int):
    """Python's and C's best classes of a random classifier, image and threshold."""
    case, rng = classifier_case(seed), np.random.default_rng([seed, 1])
    confidence, most = float(rng.choice([0.0, 0.001, 0.25])), int(rng.choice([1, 5, 300]))
    source, place = tuple(map(int, rng.integers(1, 2000, 2))), PLACES[seed % len(PLACES)]
    fit = fit_of(source, case.spec.imgsz, InputForm(letterbox=place))
    expected = tasks.get(CLASSIFY).instances(case.spec, case.floats(), fit, confidence, None, most)
    model = model_of(shim, case)
    model.place = PLACES.index(place)
    return expected, Decoder(shim, model).run(case.natives(), source, confidence, 0, 1000, most, spec=case.spec)


def test_any_classifier_gives_the_same_classes(shim):
    counts = []
    for seed in range(CASES):
        expected, detected = of_both(shim, seed)
        demand_same(expected, detected, CLASSIFY)
        counts.append(len(detected))
    assert max(counts) == 300 and np.count_nonzero(counts) > 0.7 * CASES


def test_the_best_classes_are_in_the_order_of_their_bytes(shim):
    for seed in range(CASES):
        case = classifier_case(seed)
        decoder, most = Decoder(shim, model_of(shim, case)), 1 + seed % 7
        assert decoder.status == 0
        [native] = case.natives()
        buffers, sizes, best = (
            (ctypes.c_void_p * 1)(native.ctypes.data),
            (ctypes.c_size_t * 1)(native.nbytes),
            (Class * 9)(),
        )
        count = shim.shim_classify(decoder.memory, buffers, sizes, best, most)
        stored, [floats] = case.stored[0].ravel().astype(int), case.floats()
        expected = np.argsort(-stored, kind="stable")[:most]
        assert [found.class_id for found in best[:count]] == expected.tolist()
        assert [found.value for found in best[:count]] == floats.ravel()[expected].tolist()
        powers = np.exp(floats.ravel().astype(np.float64) - floats.max())
        shares = [found.probability for found in best[:count]]
        np.testing.assert_allclose(shares, (powers / powers.sum())[expected], rtol=1e-4, atol=1e-30)
        assert shim.shim_classify(decoder.memory, buffers, (ctypes.c_size_t * 1)(native.nbytes + 1), best, most) == -2
        assert shim.shim_classify(decoder.memory, buffers, sizes, best, 0) == -3
        assert shim.shim_classify(decoder.memory, (ctypes.c_void_p * 1)(), sizes, best, 1) == -3


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("counts[i] * powers[i]", "powers[i]"),
        ("(i - most) * (double)output->scale", "(i - most)"),
        ("(float)byte, prediction, i)", "-(float)byte, prediction, i)"),
        ("(float)model->width,", "(float)model->height,"),
        ("detection->class_id, 0)), 6", "0, 0)), 6"),
    ],
)
def test_comparison_sees_wrong_classes(tmp_path, right, wrong):
    changed = wrong_library(tmp_path, right, wrong, ("classify.h",))
    with pytest.raises(UserError):
        for seed in range(40):
            expected, detected = of_both(changed, seed)
            demand_same(expected, detected, CLASSIFY)


def test_invalid_classifiers_are_refused(shim):
    case = classifier_case(4)

    def status(**changes):
        model = model_of(shim, case)
        for name, value in changes.items():
            owner = next(part for part in (model.outputs[0], model.levels[0], model) if hasattr(part, name))
            setattr(owner, name, value)
        return Decoder(shim, model).status

    assert status() == 0
    for changes in (
        {"head": 1}, {"head": 0}, {"task": None}, {"family": None}, {"end2end": 0}, {"classes": 0},
        {"classes": case.spec.classes + 1}, {"level_count": 0}, {"output_count": 2}, {"per_cell": 2},
        {"stride": max(case.spec.imgsz) - 1}, {"scale": 0}, {"zero_point": 128}, {"c1": 0}, {"task": shim.shim_task(1)},
        {"family": shim.shim_family(0)},
    ):  # fmt: skip
        assert status(**changes) == -1, changes


@pytest.mark.parametrize("seed", range(6))
def test_the_program_prints_the_same(tmp_path, seed):
    """Unchanged headers with the bundle's flags and strict warnings; the contract is read back."""
    case = classifier_case(seed)
    contract = built_bundle(tmp_path, case)
    fit = fit_of((640, 480), case.spec.imgsz, CROP)
    golden.write_outputs(tmp_path, case.tensors, case.floats(), fit)
    task, spec = tasks.get(CLASSIFY), contract.output_spec()
    assert spec == case.spec and contract.thresholds.most_detections == 5
    expected = task.instances(spec, golden.read_outputs(tmp_path, contract.tensors()), fit)
    assert len(expected) == min(5, spec.classes)
    detected = program.run(tmp_path / "decode", tmp_path, spec=spec)
    assert demand_same(expected, detected, CLASSIFY).detections == len(expected)
    written = program.write_detections(expected, contract.classes, spec)
    demand_same(program.read_detections(written, spec), detected, CLASSIFY)


def test_a_vector_is_a_map_and_other_outputs_are_refused():
    case = classifier_case(2)
    classes = case.spec.classes
    vector = RknnTensor("logits", (1, classes), (1, classes, 1), "int8", 0.1, 3)
    assert (
        as_map(vector)[1:3] == ((1, classes, 1, 1), (1, classes, 1, 1, 1))
        and as_map(case.tensors[0]) == case.tensors[0]
    )
    assert ClassifierCase(case.spec, [vector], []).contract("m").tensors() == [as_map(vector)]
    for tensors, said in (
        (
            [vector._replace(dtype="float16", scale=None, zero_point=None)],
            "is float16; .*; leave the Softmax at the end",
        ),
        ([vector, vector._replace(name="features")], rf"one output with a value for each of the {classes} classes"),
        ([vector._replace(shape=(1, 7), native_shape=(1, 7, 1))], r"but the model has \[1, 7, 1, 1\]"),
    ):
        with pytest.raises(UserError, match=said):
            ClassifierCase(case.spec, tensors, []).contract("m")


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """A classifier with the stub runtime."""
    folder, imgsz = tmp_path_factory.mktemp("stub"), ImageSize(40, 30)
    spec = OutputSpec(imgsz, AS_IS, Classes((40,)), 4, CLASSIFY, end2end=True)
    tensor = RknnTensor("logits", (1, 4, 1, 1), (1, 4, 1, 1, 1), "int8", 0.125, -8)
    case = ClassifierCase(spec, [tensor], [np.array([-8, 40, 0, 40], np.int8).reshape(1, 4, 1, 1)])
    model = StubModel(folder / "model", folder / "answers", case, "parts")
    model.answer(None, case)
    return model


@pytest.mark.parametrize("layout", ["a vector", "NC1HWC2"])
def test_the_board_program_prints_classes(stub, tmp_path, layout):
    """The runtime may call the output a vector or a map; nobody has told us which."""
    lines = {} if layout == "a vector" else {"output": "1 1 1 16 -8 0.125 1"}
    try:
        stub.tell(outputs=0 if lines else None, **lines)
        if lines:
            (stub.answers / "any").write_bytes(bytes([248, 40, 0, 40, *[127] * 12]))
        build(tmp_path / "detect", "cc", stub.folder / "detect.c", stub.folder / "detector.c",
              flags=("-Wpedantic", *SANITIZERS))  # fmt: skip
        (tmp_path / "input.rgb").write_bytes(bytes(40 * 30 * 3))
        done = subprocess.run([tmp_path / "detect", "--image", "80x60", "model.rknn", tmp_path / "input.rgb"],
                              cwd=stub.folder, capture_output=True, text=True,
                              env={"RKNN_STUB": str(stub.answers.parent)})  # fmt: skip
    finally:
        stub.tell()
        stub.answer(None, stub.case)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()[1].partition('"detections": ')[2].removesuffix("}")
    rows = json.loads(found)
    assert [row[0] for row in rows] == [1, 3, 2, 0] and rows[0][2:] == [0, 0, 80, 60, [6]]
    assert rows[0][1] == rows[1][1] == pytest.approx(0.4977, abs=1e-4)


def test_the_camera_program_prints_the_classes_of_each_frame(stub, tmp_path):
    """Several classes of one frame are not objects to be tracked; only the best one is drawn."""
    build(tmp_path / "camera", "cc", stub.folder / "camera.c", stub.folder / "detector.c", "-lm", flags=SANITIZERS)
    frames = np.full((2, 60, 80, 3), 90, np.uint8)
    options = ["--size", "80x60", "--format", "rgb", "--confidence", "0.1", "--annotated", tmp_path / "drawn"]
    done = subprocess.run([tmp_path / "camera", *options, "model.rknn", "-"], cwd=stub.folder, input=frames.tobytes(),
                          capture_output=True, env={"RKNN_STUB": str(stub.answers.parent)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    *lines, last = map(json.loads, done.stdout.decode().splitlines())
    assert [[row[:2] for row in line["objects"]] for line in lines] == [[[1, 1], [2, 3]]] * 2
    assert last == {"frames": 2, "skipped": 0}
    drawn = np.fromfile(tmp_path / "drawn", np.uint8).reshape(frames.shape)
    assert (drawn[0] != 90).any() and (drawn[0, 20:] == 90).all() and (drawn[0] == drawn[1]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": 1.5}, "the scale of output 0 is"),
        (
            {"outputs": 0, "output": "3 1 1 1 -8 0.125 1"},
            "output 0 has 3 values in 67 bytes, but model.h has 4 classes",
        ),
        ({"outputs": 0, "output": "1 2 1 16 -8 0.125 1"}, "the height of output 0 is 2 on the board, but 1 in model.h"),
    ],
)
def test_another_output_is_an_error(stub, tmp_path, change, said):
    try:
        stub.tell(**change)
        build(tmp_path / "detect", "cc", stub.folder / "detect.c", stub.folder / "detector.c")
        done = subprocess.run([tmp_path / "detect", "model.rknn"], cwd=stub.folder, capture_output=True, text=True,
                              env={"RKNN_STUB": str(stub.answers.parent)})  # fmt: skip
    finally:
        stub.tell()
    assert done.returncode == 5 and said in done.stderr


def test_code_in_the_readme_compiles_and_runs(stub, tmp_path):
    text = readme(replace(stub.contract, proof=Proof(4, 16, 0.0, 1e-7, top1=0.5, extras=0.0)))
    assert "| INT8, simulator | 0.5000 | 1.0000 |" in text and "Top-1 of `classify.h`: 0.5000." in text
    assert "its middle fills the input" in text and "mAP" not in text
    assert "| 0 | `logits` | [1, 4, 1, 1] | NCHW [1, 4, 1, 1, 1] | 0 | 4 | 0.125 | -8 | 0 to 3: value of" in text
    lines = run_readme_example(text, stub, tmp_path)
    assert lines[-4:] == ["class 1 0.50", "class 3 0.50", "class 2 0.00", "class 0 0.00"]
