"""The one-shot converter: an ONNX and a folder of images in, a .rknn beside it; damaged files are one sentence."""

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, image

from draw_scenes import draw_dataset
from lib.bundle import program
from lib.bundle.check import problems
from lib.bundle.contract import Accuracy, Contract
from lib.convert.lines import classes_line
from lib.convert.truth import far_off
from lib.npu.rknn_file import read_rknn
from lib.results.sweep import Variant

DRIVER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from lib.step.errors import run_step
import onnx_to_rknn

for path in sys.argv[2:]:
    child = os.fork()
    if not child:
        out = os.open(path + ".said", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.exit(run_step(lambda: onnx_to_rknn.main([path, '--head', 'split'])))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), path, sep="\\t", flush=True)
"""


def damaged_files(folder: Path, exported, export) -> list[Path]:
    """Fifty files that are no detector: cut, flipped, empty, of another kind, other networks."""
    path, model = exported
    sound, rng = path.read_bytes(), random.Random(0)
    # A flipped bit of a weight is another sound model; nodes and their names are what can be seen to be broken.
    weights = sum(len(each.raw_data) for each in model.graph.initializer)
    nodes = sound.index(next(each.raw_data for each in model.graph.initializer if len(each.raw_data) > 999))
    assert nodes < len(sound) - weights * 0.9
    files = {
        "empty": b"",
        "text": b"this is no model\n" * 100,
        "image": cv2.imencode(".png", image(0))[1].tobytes(),
        "zeros": bytes(10_000),
        "noise": rng.randbytes(100_000),
    }
    files["yolov8n-cls"] = export("yolov8n-cls")[0].read_bytes()
    for name in ("yolov8n-seg", "yolov8n-pose", "yolov8n-obb", "yolo26n-seg"):
        whole = export(name)[0].read_bytes()
        files[name] = whole[: len(whole) * 2 // 3]
    for number in range(20):
        files[f"cut{number}"] = sound[: rng.randrange(len(sound))]
    for number in range(20):
        data = bytearray(sound)
        for _ in range(200):
            data[rng.randrange(nodes)] ^= 1 << rng.randrange(8)
        files[f"flipped{number}"] = bytes(data)
    for name, data in files.items():
        (folder / f"{name}.onnx").write_bytes(data)
    return sorted(folder.glob("*.onnx"))


def test_fifty_damaged_or_alien_files_are_one_sentence_each(exported, export, tmp_path, python_env):
    files = damaged_files(tmp_path, exported, export)
    assert len(files) == 50
    done = subprocess.run([sys.executable, "-c", DRIVER, ROOT / "scripts", *map(str, files)],
                          capture_output=True, text=True, env=python_env, timeout=600)  # fmt: skip
    codes = dict(reversed(line.split("\t")) for line in done.stdout.splitlines())
    assert set(codes) == set(map(str, files)), done.stderr
    for path in files:
        said = Path(f"{path}.said").read_text().splitlines()
        errors = [line for line in said if not line.startswith(("warning: no --dataset", "expects "))]
        assert codes[str(path)] == "2", (path.name, errors)
        assert len(errors) == 1 and errors[0].startswith("error: ") and len(errors[0]) < 600, (path.name, errors)
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".said"}


@pytest.fixture
def images_with_labels(tmp_path):
    folder = tmp_path / "labelled"
    folder.mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), image(number))
        (folder / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    return folder


def test_wrong_arguments_are_one_sentence(step, exported, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.rknn").mkdir()
    for arguments, sentence in (
        (["--dataset", tmp_path / "none"], "does not exist"),
        (["--dataset", tmp_path / "empty"], "contains no image"),
        (["--size", "320"], "fixed at 96x64"),
        (["--size", "100"], "multiples of 32"),
        (["--labels", tmp_path], "--labels needs"),
        (["--dataset", tmp_path, "--bundle"], "--bundle needs --labels"),
        (["--dataset", tmp_path, "--kpt_shape", "17", "3"], "--kpt_shape needs the labels"),
        (["--oks-sigmas", "0.1"], "--oks-sigmas needs the labels"),
        (["--letterbox", "stretch", "--fill", "0"], "but with letterbox: stretch there is none; leave it out"),
        (["--anchors", "yolov5"], "--anchors would have no effect, because the model's boxes do not come from anchors"),
        (["--anchors", "yolov5", "--head", "as_is"], "outputs are not decoded (the head as_is is asked for); leave it"),
        (["data.yaml"], f"python scripts/start.py {exported[0]} data.yaml"),
        (["--dataset", "data.yaml"], f"python scripts/start.py {exported[0]} data.yaml"),
        (["-o", exported[0]], "would replace what MODEL.onnx reads"),
        (["-o", tmp_path / "a.rknn"], "is a folder; name a file"),
        (["-o", tmp_path / "notes.md"], "must end in .rknn"),
        (["--log", exported[0]], "would replace what MODEL.onnx reads"),
    ):
        done = step("onnx_to_rknn", exported[0], *arguments)
        assert done.returncode == 2, arguments
        assert sentence in done.stderr and "Traceback" not in done.stderr and "usage:" not in done.stderr
    assert not exported[0].with_suffix(".rknn").exists()
    for arguments in (["best.pt"], ["data.yaml"], ["best.pt", "data.yaml"]):
        done = step("onnx_to_rknn", *arguments)
        assert done.returncode == 2 and done.stderr.endswith("python scripts/start.py best.pt data.yaml\n")
    done = step("onnx_to_rknn", "--labels", tmp_path, "--bundle", exported[0])
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith(f"name the model before it: {exported[0]} --bundle\n")


def test_options_for_keypoints_are_refused_for_another_task(step, exported, images_with_labels):
    labelled = ["--dataset", images_with_labels, "--labels", images_with_labels]
    for option, given in (("--kpt_shape", ["17", "3"]), ("--oks-sigmas", ["0.1"])):
        done = step("onnx_to_rknn", exported[0], *labelled, option, *given)
        assert done.returncode == 2
        said = f"error: {option} is for the task pose, but {exported[0]} is for the task detect; leave it out"
        assert done.stderr.splitlines()[-1] == said


def test_labels_are_checked_before_the_build(step, exported, images_with_labels):
    labelled = ["--dataset", images_with_labels, "--labels", images_with_labels, "--max-images", 1]
    (images_with_labels / "lost.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    for path in images_with_labels.glob("[01].txt"):
        path.write_text("9 0.5 0.5 0.2 0.2\n")
    done = step("onnx_to_rknn", exported[0], *labelled)
    assert done.returncode == 2 and "WARNING: 1 label files belong to no image: lost.txt" in done.stderr
    assert "line 1 ('9 0.5 0.5 0.2 0.2'): class 9 is not in 0..3" in done.stderr
    (images_with_labels / "classes.txt").write_text("a\nb\n")
    done = step("onnx_to_rknn", exported[0], *labelled)
    assert done.returncode == 2 and "the model has 4 classes, but " in done.stderr.splitlines()[-1]


@pytest.mark.toolkit
def test_noise_in_the_place_of_images_is_said(step, export, tmp_path, monkeypatch):
    model = shutil.copy(export(opset=12)[0], tmp_path / "model.onnx")
    done = step("onnx_to_rknn", model, "--head", "single", "--max-images", "2")
    assert done.returncode == 0, done.stderr
    assert "warning: no --dataset" in done.stderr
    assert "single_output" in done.stderr and "verdict" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.rknn"]
    [output] = read_rknn(tmp_path / "model.rknn").outputs
    assert output.shape == (1, 8, 126, 1)
    assert f"scale {output.scale:.6g} zero point {output.zero_point}" in done.stderr


def test_numbers_in_the_place_of_class_names_are_not_listed():
    assert classes_line(["0", "1"]) == "classes    2, without names in the model"
    assert classes_line(["0", "bolt"]) == "classes    2: 0, bolt"


def test_a_model_that_loses_much_is_warned_of():
    assert far_off(None) == far_off(0.95) == []
    [line] = far_off(0.3)
    assert line.startswith("warning    this model loses much in INT8")


def test_a_rknn_is_described_by_another_command(step, tmp_path):
    (tmp_path / "made.rknn").write_bytes(b"RKNN")
    done = step("onnx_to_rknn", tmp_path / "made.rknn")
    assert done.returncode == 2 and "is a .rknn already; to see what it holds: python scripts/inspect_rknn.py" in (
        done.stderr
    )


@pytest.mark.toolkit
def test_the_bundled_example_keeps_its_accuracy(step, tmp_path):
    weights = ROOT / "example" / "parts4.pt"
    checksum = re.search(r"sha256: (\w{64})", (ROOT / "config" / "demo.yaml").read_text())[1]
    exported = ["--weights", weights, "--sha256", checksum, "--imgsz", "160x128", "--opset", "17"]
    done = step("export_onnx", *exported, "--output", tmp_path / "model.onnx")
    assert done.returncode == 0, done.stderr
    draw_dataset(tmp_path / "drawn", 40, 3, processes=2)
    # Images of every kind that is taken, in any case.
    images = sorted((tmp_path / "drawn" / "images").iterdir())
    images[0].rename(images[0].with_suffix(".JPEG"))
    cv2.imwrite(str(images[1].with_suffix(".Png")), cv2.imread(str(images[1])))
    images[1].unlink()
    done = step("onnx_to_rknn", tmp_path / "model.onnx", "--dataset", tmp_path / "drawn" / "images",
                "--labels", tmp_path / "drawn" / "labels", "--max-images", "8",
                "--output", tmp_path / "made" / "board.rknn", "--bundle", "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    fp32, int8 = map(float, re.search(r"mAP50-95 +FP32 ([\d.]+), INT8 ([\d.]+)", done.stderr).groups())
    mean_fp32, mean_int8 = map(float, re.search(r"mAP50 +FP32 ([\d.]+), INT8 ([\d.]+)", done.stderr).groups())
    assert "on 32 images that it was not calibrated with" in done.stderr
    assert fp32 > 0.15 and int8 > 0.85 * fp32
    # It was trained on drawn scenes whose colours mean something.
    assert re.search(r"channels +RGB is right: FP32 mAP50-95 [\d.]+, in BGR", done.stderr)
    assert "classes    4: bolt, nut, washer, gear" in done.stderr and "scores     at most" in done.stderr
    bundle = tmp_path / "made" / "board_bundle"
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["board.rknn", bundle.name]
    assert problems(bundle, program.compiler()) == []
    contract = Contract.of_bundle(bundle)
    assert contract.variant == Variant("model", "160x128", "split", "normal", 8)
    measured = {"map50_95_fp32": fp32, "map50_fp32": mean_fp32, "map50_95_int8": int8, "map50_int8": mean_int8}
    assert contract.accuracy == Accuracy(32, "heldout", **measured)
    assert contract.proof.map50_95 == int8 and f"confidence {contract.thresholds.confidence:g} (" in done.stderr
    assert (bundle / "model.rknn").read_bytes() == (tmp_path / "made" / "board.rknn").read_bytes()
    built = read_rknn(tmp_path / "made" / "board.rknn")
    assert [each.name for each in built.outputs] == [f"{kind}_{s}" for s in (8, 16, 32) for kind in ("box", "scores")]
    assert np.prod(built.input.shape) == 3 * 160 * 128
