"""A file of a run that something else cut, lost or changed is noticed and told by the step that reads it next."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import CUT, ROOT

from lib.results.taken_away import damaged

pytestmark = pytest.mark.toolkit

SWEEP = ["--model", "parts4", "--imgsz", "96", "--head", "split", "--algorithm", "normal", "--max-images", "4"]
NAMES = ["--names", "bolt", "nut", "washer", "gear"]
VARIANT = "parts4/96/split/normal-4"
LIST = "calibration/96/4/images.txt"


def detect(run, out):
    return ("detect", "--onnx", run / "onnx/parts4/96/split.onnx", "--dataset", run / "dataset", "--part", "all",
            *NAMES, *made(out))  # fmt: skip


def made(out):
    return "--detections", out / "detections.npz"


def letterbox(run, out):
    return ("letterbox_pool", "--dataset", run / "dataset", "--split", run / "dataset/split.csv", "--imgsz", "96",
            "--output", out / "pool")  # fmt: skip


def sample(run, out):
    return ("sample_calibration", "--pool", run / "calibration/96/letterboxed", "--max-images", "4", "--seed", "0",
            "--output", out / "images.txt")  # fmt: skip


def quantize(run, out):
    return ("quantize", "--onnx", run / "onnx/parts4/96/split.onnx", "--calibration", run / LIST,
            "--ranges", run / "calibration/96/ranges/parts4/split.npz", "--platform",
            "rv1106", "--algorithm", "normal", "--dataset", run / "dataset", *NAMES, "--output", out / "model.rknn",
            "--build", out / "build.json", *made(out), "--log", out / "log")  # fmt: skip


def evaluate(run, out):
    return ("evaluate", "--detections", run / f"detections/{VARIANT}.npz", "--baseline",
            run / "metrics/parts4/96/exported.npz", "--dataset", run / "dataset", *NAMES, "--resamples", "1000",
            "--seed", "0", "--metrics", out / "metrics.json", "--resampled", out / "metrics.npz")  # fmt: skip


def export(run, out):
    return ("export_onnx", "--weights", run / "weights/parts4", "--imgsz", "96", "--opset", "19", "--output",
            out / "exported.onnx")  # fmt: skip


def simplify(run, out):
    return ("simplify_onnx", "--onnx", run / "onnx/parts4/96/exported.onnx", "--images",
            run / "calibration/96/letterboxed", "--output", out / "simplified.onnx")  # fmt: skip


def surgery(run, out):
    return ("graph_surgery", "--onnx", run / "onnx/parts4/96/simplified.onnx", "--head", "split", "--images",
            run / "calibration/96/letterboxed", "--output", out / "split.onnx", "--proof", out / "p.json")  # fmt: skip


def judge(run, out):
    return ("judge", "--build", run / f"rknn/{VARIANT}/build.json", "--cma-mb", "66", "--clock-mhz", "420",
            "--measured", ROOT / "config/measured.csv", "--verdict", out / "verdict.json")  # fmt: skip


def collect(run, out):
    return "collect", "--run", run, *SWEEP


def report(run, out):
    sweep = CUT["sweep"] | {"algorithm": ["normal"]}
    evaluation = {"images": "heldout", "resamples": 1000}
    config = CUT | {"platform": "rv1106", "evaluation": evaluation, "sweep": sweep, "layers": sweep | {"model": []}}
    return "make_report", "--run", run, "--config", json.dumps(config), "--output", out / "report.html"


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def last_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def last_bytes(path):
    path.write_bytes(path.read_bytes()[:-3])


def one_bit(path):
    """Flip a bit in the middle: of an ONNX, in a weight, so that it is a valid model still."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


def removed(path):
    path.unlink()


def other(path):
    path.write_text("{}\n")


DAMAGE = [
    ("weights/parts4/parts4.pt", half, export),
    ("dataset/split.csv", half, letterbox),
    ("dataset/split.csv", half, detect),
    ("dataset/split.csv", last_line, detect),
    ("dataset/split.csv", emptied, quantize),
    ("dataset/images/*.jpg", half, detect),
    ("dataset/images/*.jpg", half, letterbox),
    ("dataset/images/*.jpg", removed, detect),
    ("dataset/labels/*.txt", last_line, evaluate),
    ("dataset/labels/*.txt", removed, evaluate),
    ("onnx/parts4/96/exported.onnx", half, simplify),
    ("onnx/parts4/96/exported.onnx", last_bytes, simplify),
    ("onnx/parts4/96/exported.onnx", one_bit, simplify),
    ("onnx/parts4/96/simplified.onnx", half, surgery),
    ("onnx/parts4/96/simplified.onnx", one_bit, surgery),
    ("onnx/parts4/96/split.onnx", one_bit, detect),
    ("onnx/parts4/96/split.onnx", one_bit, quantize),
    ("calibration/96/ranges/parts4/split.npz", half, quantize),
    ("onnx/parts4/96/split.onnx", half, detect),
    ("onnx/parts4/96/split.onnx", half, quantize),
    ("onnx/parts4/96/split.onnx", emptied, detect),
    ("calibration/96/letterboxed/*.png", half, quantize),
    ("calibration/96/letterboxed/*.png", removed, sample),
    (LIST, last_line, quantize),
    (LIST, half, quantize),
    (LIST, emptied, quantize),
    (f"rknn/{VARIANT}/build.json", half, judge),
    (f"rknn/{VARIANT}/build.json", other, judge),
    (f"rknn/{VARIANT}/build.json", half, collect),
    (f"rknn/{VARIANT}/verdict.json", other, collect),
    (f"rknn/{VARIANT}/model.rknn", half, report),
    (f"detections/{VARIANT}.npz", half, evaluate),
    (f"detections/{VARIANT}.npz", other, evaluate),
    ("metrics/parts4/96/exported.npz", half, evaluate),
    ("metrics/parts4/96/exported.json", half, collect),
    (f"metrics/{VARIANT}.json", other, collect),
    (f"metrics/{VARIANT}.json", emptied, collect),
    (f"metrics/{VARIANT}.npz", half, report),
    ("table.csv", last_line, report),
    ("table.csv", last_bytes, report),
    ("table.csv", emptied, report),
    ("plots/pareto.png", half, report),
    ("errors.json", removed, report),
    ("errors.json", half, report),
    ("errors.json", other, report),
]


@pytest.fixture(scope="module")
def copy(cut_run, tmp_path_factory):
    return shutil.copytree(cut_run, tmp_path_factory.mktemp("damaged") / "cut")


@pytest.mark.parametrize(
    ("name", "damage", "reader"), DAMAGE, ids=[f"{name}-{how.__name__}-{by.__name__}" for name, how, by in DAMAGE]
)
def test_damage_is_told_by_the_step_that_reads_it(copy, tmp_path, step, name, damage, reader):
    # Of several files, one with something in it.
    path = max(sorted(copy.glob(name)), key=lambda each: each.stat().st_size)
    before = path.read_bytes()
    damage(path)
    try:
        done = step(*reader(copy, tmp_path))
    finally:
        path.write_bytes(before)
    assert done.returncode == 2, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "Traceback" not in done.stderr
    assert path.name in told[0] or path.parent.name in told[0]
    assert not [each for each in tmp_path.rglob("*") if each.is_file() and each.name != "log"]


def test_the_undamaged_run_passes_all_of_these_steps(copy, tmp_path, step):
    for reader in (letterbox, sample, evaluate, judge, collect, report):
        done = step(*reader(copy, tmp_path))
        assert done.returncode == 0, (reader.__name__, done.stderr)


TAKEN_AWAY = [
    ("table.csv", half),
    ("table.md", half),
    ("table.md", last_line),
    ("summary.json", half),
    ("report.html", half),
    ("plots/pareto.png", half),
    ("plots/detections.png", last_bytes),
    (f"rknn/{VARIANT}/model.rknn", half),
]


@pytest.mark.parametrize(("name", "damage"), TAKEN_AWAY, ids=[f"{name}-{how.__name__}" for name, how in TAKEN_AWAY])
def test_damage_to_what_no_step_reads_again_is_noticed(copy, name, damage):
    path = copy / name
    before = path.read_bytes()
    assert damaged(copy) == []
    damage(path)
    try:
        (sentence,) = damaged(copy)
    finally:
        path.write_bytes(before)
    assert sentence.startswith(f"{path} is damaged: ") and sentence.endswith("; delete it and run again")


def test_the_next_run_ends_with_it(cut_run, elsewhere, python_env):
    path = cut_run / "report.html"
    before, times = path.read_bytes(), path.stat()
    half(path)
    try:
        command = ["snakemake", "-n", "-s", str(elsewhere / "Snakefile"), "--configfile", "cut.yaml"]
        done = subprocess.run(command, cwd=cut_run.parent.parent, env=python_env, capture_output=True, text=True)
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert done.returncode == 1
    said = "results/cut/report.html is damaged: it is truncated; delete it and run again"
    assert said in (done.stdout + done.stderr).splitlines() and "Traceback" not in done.stderr


ABORTS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import rknn.api, quantize
def build(self, **_):
    os.write(1, b"terminate called: squeezed bytes overflow\\n")
    os.abort()
rknn.api.RKNN.hybrid_quantization_step2 = build
sys.argv = sys.argv[1:]
sys.exit(quantize.supervise(quantize.main))
"""


def test_a_toolkit_that_aborts_is_one_sentence_with_its_last_lines(copy, tmp_path):
    command = [sys.executable, "-c", ABORTS, ROOT / "scripts", *map(str, quantize(copy, tmp_path)[1:])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr.startswith("error: SIGABRT (Aborted) ended the step while building ")
        and "split.onnx" in done.stderr
    )
    assert "; rknn-toolkit2 itself crashed; try another head" in done.stderr
    assert f"; all that was printed is in {tmp_path / 'log'}; the last lines printed: " in done.stderr
    assert done.stderr.rstrip().endswith("terminate called: squeezed bytes overflow")
    assert not [path.name for path in tmp_path.rglob("*") if path.name != "log"]


def test_a_model_does_not_stay_beside_the_detections_of_an_older_one(copy, tmp_path):
    """Where the simulator fails after the build."""
    fails = ABORTS.replace("hybrid_quantization_step2", "init_runtime").replace("os.abort()", "return -1")
    outputs = [tmp_path / "out" / name for name in ("model.rknn", "build.json", "detections.npz")]
    outputs[0].parent.mkdir()
    for output in outputs:
        output.write_text("older")
    words = list(map(str, quantize(copy, tmp_path)[1:]))
    for option, output in zip(("--output", "--build", "--detections"), outputs):
        words[words.index(option) + 1] = str(output)
    done = subprocess.run([sys.executable, "-c", fails, ROOT / "scripts", *words], capture_output=True, text=True)
    assert done.returncode == 2 and "the simulator does not start" in done.stderr
    assert [path for path in sorted(outputs[0].parent.iterdir()) if path.read_text() == "older"] == sorted(outputs)
