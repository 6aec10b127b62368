"""A build's log is read whole however output is buffered and wherever it goes, for models of every family."""

import contextlib
import os
import pty
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT, image

from lib.graph.darknet.convert import convert
from lib.graph.darknet.layers import Convolutional
from lib.graph.darknet.network import read_network
from lib.graph.onnx_file import save
from lib.graph.surgery.pipeline import adapt
from lib.npu.build_log import INPUT, OUTPUT
from lib.npu.toolkit import SWITCHES, SWITCHES_BEGIN
from lib.step.files import read_json

pytestmark = pytest.mark.toolkit

CFG = """\
[net]
width=96
height=64
channels=3
[convolutional]
filters=8
size=3
stride=16
pad=1
activation=leaky
[convolutional]
filters=27
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=4
num=3
"""


@pytest.fixture(scope="module")
def model(split_onnx, export, tmp_path_factory):
    """A function: the small detector of a family, head 'split'."""
    folder = tmp_path_factory.mktemp("families")

    def darknet():
        cfg, weights = folder / "random.cfg", folder / "random.weights"
        cfg.write_text(CFG)
        kernels = [layer.kernel for layer in read_network(cfg, None).layers if isinstance(layer, Convolutional)]
        numbers = np.random.default_rng(0).normal(0, 0.5, sum(kernel[0] + np.prod(kernel) for kernel in kernels))
        weights.write_bytes(struct.pack("<3iQ", 0, 2, 5, 0) + numbers.astype("<f4").tobytes())
        return convert(cfg, weights, None, None, opset=19)

    def make(family: str):
        path = folder / f"{family}.onnx"
        if family == "dfl":
            return split_onnx
        if not path.exists():
            exported = darknet() if family == "anchors" else export("yolo26n", end2end=True)[1]
            save(adapt(exported, "split", [image(0, 96, 64)], seed=0)[0], path)
        return path

    return make


def run_at(place: str, command: list[str], environment: dict, folder) -> int:
    """Run a command with its standard output, and but for a pipe its standard error, at a place; its exit code."""
    if place == "a file":
        with open(folder / "output.txt", "w") as file:
            return subprocess.run(command, env=environment, stdout=file, stderr=file).returncode
    if place == "a pipe":
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE).returncode
    if place == "nowhere":
        closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
        return subprocess.run(closed, env=environment).returncode
    ours, theirs = pty.openpty()
    drain = threading.Thread(target=_drain, args=(ours,))
    drain.start()
    try:
        return subprocess.run(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs).returncode
    finally:
        os.close(theirs)
        drain.join()
        os.close(ours)


def _drain(terminal: int) -> None:
    # At its end Linux answers EIO.
    with contextlib.suppress(OSError):
        while os.read(terminal, 4096):
            pass


# Each value of each column at least once.
CASES = [
    ("dfl", {}, "nowhere", "-o0"),
    ("dfl", {"PYTHONUNBUFFERED": "1"}, "a terminal", ""),
    ("distances", {}, "a file", "-o64K"),
    ("anchors", {"PYTHONUNBUFFERED": "1"}, "a pipe", "-oL"),
    ("anchors", {}, "a terminal", "-o64K"),
    ("anchors", {}, "a pipe", ""),
]


@pytest.mark.parametrize("family, variables, place, buffering", CASES)
def test_build_is_read_whole(
    model, listed, heldout, quantized, python_env, tmp_path, family, variables, place, buffering
):
    command = [sys.executable, ROOT / "scripts" / "quantize.py", "--onnx", model(family), "--calibration", listed,
               "--platform", "rv1106", "--algorithm", "normal", "--dataset", heldout, "--names", *"abcd",
               "--output", tmp_path / "model.rknn", "--build", tmp_path / "build.json",
               "--detections", tmp_path / "detections.npz", "--log", tmp_path / "build.log"]  # fmt: skip
    words = [*(["stdbuf", buffering] if buffering else []), *map(str, command)]
    code = run_at(place, words, python_env | variables, tmp_path)
    assert code == 0, (tmp_path / "build.log").read_text(encoding="utf-8")[-2000:]
    build = read_json(tmp_path / "build.json")
    assert (build["operators"][0]["type"], build["operators"][-1]["type"]) == (INPUT, OUTPUT)
    if family == "dfl":
        expected = read_json(quantized / "build.json")
        assert {**build, "rknn_bytes": 0} == {**expected, "rknn_bytes": 0}


def test_toolkits_own_switches_change_nothing(split_onnx, quantize, quantized, tmp_path, monkeypatch, python_env):
    """RKNN_LOG_LEVEL=0 leaves the log empty, DEBUG_COVER_TARGET builds for another chip, DUMP_Q writes files."""
    switches = dict.fromkeys(SWITCHES, "1") | {f"{beginning}ANYTHING": "1" for beginning in SWITCHES_BEGIN}
    switches |= {"RKNN_LOG_LEVEL": "0", "DEBUG_COVER_TARGET": "rk3588"}
    for name, value in switches.items():
        monkeypatch.setitem(python_env, name, value)
    done = quantize(split_onnx, tmp_path)
    assert done.returncode == 0, done.stderr
    found, expected = (read_json(folder / "build.json") for folder in (tmp_path, quantized))
    assert {**found, "rknn_bytes": 0} == {**expected, "rknn_bytes": 0}
