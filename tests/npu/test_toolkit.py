"""The real rknn-toolkit2 on a small model: quantize, build, simulate; its failures become one sentence."""

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import onnx
import onnx.version_converter
import pytest
from conftest import ROOT, image

from lib import tasks
from lib.accuracy.detection_set import read_detections
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.detector.head import SINGLE, SPLIT
from lib.graph.onnx_file import load, save
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import output_spec_of
from lib.graph.surgery.pipeline import adapt
from lib.npu import toolkit, toolkit_versions
from lib.npu.build import Build
from lib.npu.build_log import read_build_log
from lib.npu.int8 import Quantization, int8_model
from lib.npu.rknn_file import dequantize, quantize, read_rknn
from lib.npu.version_lookup import version_lookup
from lib.step.errors import ToolkitError, UserError

pytestmark = pytest.mark.toolkit
SIZE = ImageSize(96, 64)


def built(onnx, pool):
    """The session of an ONNX, quantized on the pool."""
    return toolkit.quantized(onnx, sorted(pool.iterdir()), "rv1106", "normal")


def test_quantize_writes_its_files_and_nothing_else(quantized):
    assert {path.name for path in quantized.iterdir()} == {"model.rknn", "build.json", "build.log", "detections.npz"}


def test_detections_of_the_step_are_those_of_the_simulator(split_onnx, pool, heldout, quantized, quantize, tmp_path):
    found = read_detections(quantized / "detections.npz")
    assert found.images == ["a.png", "b.png", "c.png"] and found.sizes == [(90, 70)] * 3
    spec = output_spec_of(load(split_onnx))
    asked = Quantization(split_onnx, "rv1106", "normal", InputForm(), spec)
    with int8_model(asked, sorted(pool.iterdir())) as int8:
        run = int8.session.simulate()
        for name, each in zip(found.images, found.instances):
            fitted, fit = letterbox(read_image(heldout / "images" / name), SIZE)
            expected = tasks.get(tasks.DEFAULT).instances(spec, run(fitted), fit)
            assert len(expected.scores) > 0
            np.testing.assert_array_equal(each.boxes, expected.boxes)
            np.testing.assert_array_equal(each.scores, expected.scores)
            np.testing.assert_array_equal(each.classes, expected.classes)
    # The file does not depend on the number of processes.
    assert quantize(split_onnx, tmp_path, "--processes", 2).returncode == 0
    assert (tmp_path / "detections.npz").read_bytes() == (quantized / "detections.npz").read_bytes()


def test_facts_are_the_same_with_and_without_a_log(split_onnx, pool, quantized, tmp_path, capfd):
    written = Build.read(quantized / "build.json")
    # The file is what its reader writes, byte for byte.
    written.write(tmp_path / "build.json")
    assert (tmp_path / "build.json").read_bytes() == (quantized / "build.json").read_bytes()
    # Pytest has the terminal here, and no step's log is open.
    with built(split_onnx, pool) as session:
        assert session.export(tmp_path / "model.rknn") == replace(written, rknn_bytes=ANY)
        assert session.log.operators == written.operators
    printed = capfd.readouterr().err
    assert "Network Layer Information Table" in printed and read_build_log(printed) == session.log


@pytest.mark.parametrize(("architecture", "head"), [("yolov8n", SINGLE), ("yolo11n", SPLIT)])
def test_without_torch_the_simulator_gives_the_same_bits(export, pool, tmp_path, architecture, head):
    """In processes of their own: this one has torch, Ultralytics brought it."""
    save(adapt(export(architecture)[1], head, [image(0, 96, 64)], seed=0)[0], tmp_path / "model.onnx")
    last_lines = {}
    for kind, first in (("deferred", ""), ("blocked", WITHOUT_TORCH), ("real", "import torch")):
        arguments = [ROOT / "scripts", tmp_path / "model.onnx", tmp_path / f"{kind}.npz", *sorted(pool.iterdir())]
        done = subprocess.run([sys.executable, "-c", TORCH_DRIVER.format(first=first), *map(str, arguments)],
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        last_lines[kind] = done.stdout.splitlines()[-1]
    assert last_lines == {"deferred": "torch False", "blocked": "torch False", "real": "torch True"}
    deferred, blocked, real = (np.load(tmp_path / f"{kind}.npz") for kind in ("deferred", "blocked", "real"))
    assert deferred.files == real.files and len(real.files) == (1 if head == SINGLE else 6)
    for name in real.files:
        np.testing.assert_array_equal(deferred[name], real[name])
        np.testing.assert_array_equal(blocked[name], real[name])


def test_what_the_toolkit_asks_of_a_torch_that_is_not_there_is_one_sentence():
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n{WITHOUT_TORCH}\n{ASKS_FOR_MORE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == ("the toolkit needs torch.zeros, but this environment has no torch; run `make setup`\n"), (
        done.stderr
    )


def test_a_build_does_not_depend_on_how_many_threads_numpy_may_use(split_onnx, pool, tmp_path):
    """Snakemake sets OPENBLAS_NUM_THREADS to the threads of a rule, DVC and a shell leave it alone."""
    arguments = [ROOT / "scripts", split_onnx, tmp_path / "outputs.npz", *sorted(pool.iterdir())]
    first = "from threadpoolctl import threadpool_info"
    pools = "print(sorted({pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'}))"
    driver = TORCH_DRIVER.replace("    np.savez", f"    {pools.replace('{', '{{').replace('}', '}}')}\n    np.savez")
    threads = {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", driver.format(first=first), *map(str, arguments)],
                          capture_output=True, text=True, env=os.environ | threads)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-2:] == ["[1]", "torch False"]


def test_the_toolkit_looks_up_its_version_without_pkg_resources(split_onnx, pool, tmp_path):
    arguments = [ROOT / "scripts", split_onnx, tmp_path / "outputs.npz", *sorted(pool.iterdir())]
    driver = TORCH_DRIVER.replace("    np.savez", "    print('pkg_resources' in sys.modules)\n    np.savez")
    done = subprocess.run([sys.executable, "-c", driver.format(first=""), *map(str, arguments)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-2:] == ["False", "torch False"]
    assert "pkg_resources" not in done.stderr  # no warning that it is deprecated


def test_any_other_use_of_pkg_resources_is_the_real_one(monkeypatch):
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    with version_lookup():
        import pkg_resources as stand_in

        assert stand_in.get_distribution("numpy").version == np.__version__
        assert "pkg_resources" in sys.modules and not hasattr(stand_in, "__file__")
        assert stand_in.parse_version("2.10") > stand_in.parse_version("2.9")
        assert sys.modules["pkg_resources"].__file__
    with version_lookup():
        import pkg_resources as real

        assert real.__file__


# As in an environment that holds none.
WITHOUT_TORCH = """
class Blocker:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Blocker)
"""
ASKS_FOR_MORE = """
from lib.npu.deferred_torch import deferred_torch
from lib.step.errors import UserError
with deferred_torch():
    import torch
try:
    torch.zeros
except UserError as error:
    print(error)
"""

TORCH_DRIVER = """
import sys
{first}
scripts, onnx, output, *images = sys.argv[1:]
sys.path.insert(0, scripts)
from pathlib import Path
import cv2
import numpy as np
from lib.npu import toolkit
with toolkit.quantized(Path(onnx), [Path(each) for each in images], "rv1106", "normal") as session:
    np.savez(output, *session.simulate()(cv2.imread(images[0])))
print("torch", hasattr(sys.modules.get("torch"), "arange"))
"""


@pytest.mark.parametrize("algorithm", ["normal", "mmse", "kl_divergence"])
def test_every_algorithm_quantizes(split_onnx, pool, algorithm):
    """As the steps build a detector: with scores that reach 1, if the algorithm accepts other ranges."""
    asked = Quantization(split_onnx, "rv1106", algorithm, InputForm(), output_spec_of(load(split_onnx)))
    with int8_model(asked, sorted(pool.iterdir())[:2]) as of_algorithm:
        outputs = of_algorithm.session.simulate()(letterbox(image(0), SIZE)[0])
    assert len(outputs) == 6 and all(np.isfinite(each).all() for each in outputs)


def test_simulator_is_int8_of_the_same_network(split_onnx, pool, tmp_path):
    fp32 = open_session(split_onnx)
    with built(split_onnx, pool) as session:
        session.export(tmp_path / "model.rknn")
        run = session.simulate()
        for seed in range(3):
            fitted = letterbox(image(seed), SIZE)[0]
            expected, found = infer(fp32, to_tensor(fitted)), run(fitted)
            assert [each.shape for each in found] == [each.shape for each in expected]
            for exact, rounded in zip(expected, found):
                # Close, yet not equal: an FP32 run passed off as INT8 would be.
                assert np.abs(exact - rounded).max() > 0
                assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.98
                # One scale a tensor: at most 256 values.
                assert len(np.unique(rounded)) <= 256
            assert output_spec_of(load(split_onnx)).predictions(found).shape == (126, 8)
    assert (tmp_path / "model.rknn").read_bytes()[:4] == b"RKNN"


def test_toolkit_failure_is_one_sentence_that_names_the_log(quantize, exported, tmp_path):
    # Opset 20 is sound for onnxruntime, and the toolkit refuses it.
    model = onnx.version_converter.convert_version(exported[1], 20)
    save(model, tmp_path / "newer.onnx")
    done = quantize(tmp_path / "newer.onnx", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "rknn-toolkit2" in done.stderr and "build.log" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"newer.onnx", "build.log"}
    assert "rknn-toolkit2 version" in (tmp_path / "build.log").read_text()


def test_the_toolkits_reason_is_a_line_with_an_error_and_images_have_their_own_names(split_onnx, pool, tmp_path):
    text = "Traceback (most recent call last):\n  File x\nValueError: All outputs are constants\n   Please check\n"
    assert toolkit._reason(RuntimeError(text)) == "ValueError: All outputs are constants"
    assert [toolkit._reason(error) for error in (SystemExit(), OSError("a\n b \n"))] == ["SystemExit", "b"]
    broken = tmp_path / "broken image.png"
    broken.write_bytes(sorted(pool.iterdir())[0].read_bytes()[:-500])
    with (
        pytest.raises(ToolkitError, match=re.escape(f"The image of {broken} is invalid")),
        toolkit.quantized(split_onnx, [broken], "rv1106", "normal"),
    ):
        pass


def test_wrong_number_of_classes_is_told_before_the_build(quantize, split_onnx, tmp_path):
    done = quantize(split_onnx, tmp_path, names=["a", "b"])
    assert done.returncode == 2
    assert "split.onnx has 4 classes, but the data set has 2 names" in done.stderr
    assert "rknn-toolkit2 version" not in (tmp_path / "build.log").read_text()


@pytest.mark.parametrize("head", [SINGLE, SPLIT])
def test_rknn_file_tells_how_the_simulator_quantizes(exported, pool, tmp_path, head):
    model, _ = adapt(exported[1], head, [image(0, 96, 64)], seed=0)
    save(model, tmp_path / "model.onnx")
    with built(tmp_path / "model.onnx", pool) as session:
        session.export(tmp_path / "model.rknn")
        outputs = session.simulate()(letterbox(image(0), SIZE)[0])
    told = read_rknn(tmp_path / "model.rknn")
    assert (told.mean, told.std) == ((0,) * 3, (255,) * 3)
    assert (told.toolkit, told.platform) == (toolkit_versions.in_use(), "rv1106")
    assert told.input[:4] == ("images", (1, 3, 64, 96), (1, 1, 64, 96, 3), "int8")
    assert [each.name for each in told.outputs] == [each.name for each in model.graph.output]
    for tensor, output in zip(told.outputs, outputs, strict=True):
        batch, channels, height, width = output.shape
        assert tensor.shape == output.shape
        assert tensor.native_shape == (batch, -(-channels // 16), height, width, 16)
        assert tensor.dtype == "int8"
        stored = quantize(output, tensor)
        assert len(np.unique(stored)) > 1
        np.testing.assert_array_equal(dequantize(stored, tensor), output)
        for wrong in (tensor._replace(scale=tensor.scale * 1.001), tensor._replace(zero_point=tensor.zero_point + 100)):
            with pytest.raises(UserError, match=f"output '{tensor.name}' is not INT8 with"):
                quantize(output, wrong)


def test_damaged_rknn_is_one_sentence(quantized, tmp_path):
    data = (quantized / "model.rknn").read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"RKNN", b"PK" + data[2:], data[:70], data[: len(data) // 2], data[:-1], data[:2000] + data[3000:]]
    for number, each in enumerate(damaged):
        path = tmp_path / f"{number}.rknn"
        path.write_bytes(each)
        with pytest.raises(UserError, match=f"{number}.rknn is not a .rknn as toolkit"):
            read_rknn(path)
    # Bytes flipped anywhere in the graph: read, or refused, and never anything else.
    for _ in range(300):
        noisy = bytearray(data)
        for position in rng.integers(len(data) - 80_000, len(data), 8):
            noisy[position] = rng.integers(256)
        (tmp_path / "noisy.rknn").write_bytes(noisy)
        with contextlib.suppress(UserError):
            read_rknn(tmp_path / "noisy.rknn")
