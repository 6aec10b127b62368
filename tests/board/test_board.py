"""The board in the loop, on a sham board: mAP there is the simulator's, faults are one sentence, a cut run goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, copy_project
from sham_board import COMPILER, DEBIAN, Answers, make_sdk, missing, sshd

from lib.accuracy.detection_set import read_detections
from lib.bundle.agreement import compare
from lib.data.calibration import calibration_images
from lib.data.images import read_picture
from lib.data.imgsz import parse_imgsz
from lib.data.letterbox import letterbox
from lib.npu import toolkit

HEADS = ("single", "split")
IMGSZ = "128x96"
IMAGES = 16


@pytest.fixture(scope="module")
def sham(tmp_path_factory, python_env):
    """A small cut of the bundled example with its bundles made, and a sham board that knows the simulator's answers."""
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)} (apt-get install {DEBIAN})")
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    root = tmp_path_factory.mktemp("sham")
    project = copy_project(root / "project")
    (root / "board").mkdir()
    sdk = make_sdk(root / "sdk")
    with sshd(tmp_path_factory.mktemp("sshd")) as ssh_config:
        path = project / "config" / "demo.yaml"
        config = yaml.safe_load(path.read_text())
        config["draw"]["images"] = IMAGES + 8
        config["split"]["calibration"] = 8
        config["evaluation"]["resamples"] = 100
        config["sweep"].update(imgsz=[IMGSZ], max_images=[8])
        config["layers"]["model"] = []
        config["bundle"] = "all"
        config["board"] |= {
            "host": "sham",
            "options": f"-F {ssh_config}",
            "folder": str(root / "board"),
            "cc": f"{COMPILER} -static",
            "sdk": str(sdk),
            "launcher": f"env RKNN_STUB={root / 'answers'} qemu-arm",
            "repeat": 3,
            "timeout": 60,
        }
        path.write_text(yaml.safe_dump(config))
        # Debian's cross compiler comes without libstdc++; the stub is C.
        environment = python_env | {"ARCHIVE_LIBS": ""}
        board = ShamBoard(project, config["board"], environment)
        done = board.snakemake("bundle")
        assert done.returncode == 0, done.stdout + done.stderr
        for head in HEADS:
            board.learn(head, root / "answers")
        yield board


class ShamBoard:
    """A project whose bundles are made, and how to run them on the sham board."""

    def __init__(self, project: Path, config: dict, environment: dict):
        self.project, self.config, self.environment = project, config, environment
        self.results = project / "results" / "demo"
        self.answers = {}

    def snakemake(self, target: str, *options) -> subprocess.CompletedProcess:
        command = ["snakemake", target, *options, "-j2", "--configfile", "config/demo.yaml"]
        return subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True)

    def bundle(self, head: str) -> Path:
        return self.results / "bundle" / "parts4" / IMGSZ / head / "normal-8"

    def learn(self, head: str, folder: Path) -> None:
        """Have the stub know what the simulator says of every image, and of the golden one."""
        bundle = self.bundle(head)
        answers = self.answers[head] = Answers(folder, bundle / "model.rknn")
        onnx = self.results / "onnx" / "parts4" / IMGSZ / f"{head}.onnx"
        calibration = calibration_images(self.results / "calibration" / IMGSZ / "8" / "images.txt")
        with toolkit.quantized(onnx, calibration, "rv1106", "normal") as rknn:
            simulator = toolkit.simulate(rknn)
            for path in sorted((self.results / "dataset" / "images").glob("*.*")):
                if not path.name.startswith("."):
                    fitted, _ = letterbox(read_picture(path), parse_imgsz(IMGSZ))
                    answers.add(fitted, simulator(fitted))
        # What --repeat asks for: a grey image.
        shutil.copy(next(path for path in answers.folder.iterdir() if path.name != "tensors"), answers.folder / "any")

    def run(self, head: str, start=subprocess.run, **changed):
        """run_on_board.py for one bundle, with settings changed."""
        settings = self.config | {name: str(value) for name, value in changed.items()}
        command = [sys.executable, "scripts/run_on_board.py", "--run", self.results, "--bundle", self.bundle(head),
                   "--names", "config/parts.names", "--resamples", "100", "--log", "results/board.log",
                   *(f"--{name}={value}" for name, value in settings.items())]  # fmt: skip
        return start(list(map(str, command)), cwd=self.project, env=self.environment)

    def told(self, head: str, **changed) -> str:
        """The one sentence that a run ends with."""
        done = self.run(head, partial(subprocess.run, capture_output=True, text=True), **changed)
        assert done.returncode == 2, done.stderr
        lines = [line for line in done.stderr.splitlines() if "on the board:" not in line and "done before" not in line]
        assert len([line for line in lines if line.startswith("error: ")]) == 1, done.stderr
        assert "Traceback" not in done.stderr
        return lines[-1]

    def left_there(self) -> list:
        return list(Path(self.config["folder"]).iterdir())

    def board_json(self, head: str) -> dict:
        return json.loads((self.results / "board" / "parts4" / IMGSZ / head / "normal-8" / "board.json").read_text())


@pytest.mark.toolkit
def test_map_on_the_board_is_the_simulators(sham):
    sham.answers["single"].tell(refuse="unsupport cpu Transpose op, op name: Transpose:a")
    done = sham.snakemake("board")
    sham.answers["single"].tell()
    assert done.returncode == 0, done.stdout + done.stderr
    assert sham.left_there() == [] and not (sham.results / "board.unfinished").exists()

    table = (sham.results / "table.csv").read_text().splitlines()
    rows = {row["head"]: row for row in (dict(zip(table[0].split(","), line.split(","))) for line in table[1:])}
    assert rows["split"]["map50_95_board"] == rows["split"]["map50_95_int8"] != "0.0"
    assert float(rows["split"]["ms_board"]) >= 1.0 and rows["split"]["board"] == "ran"
    assert rows["split"]["verdict_was"] == "right" and rows["single"]["verdict_was"] == "wrong"
    assert rows["single"]["map50_95_board"] == ""
    told = sham.board_json("single")
    assert told["result"] == "refused" and told["words"].startswith("unsupport cpu Transpose op")

    told = sham.board_json("split")
    metrics = json.loads((sham.results / "metrics" / "parts4" / IMGSZ / "split" / "normal-8.json").read_text())
    assert {**told["metrics"], "per_class": 0} == pytest.approx({**metrics, "per_class": 0}, abs=1e-9)
    assert told["agreement"]["share"] == 1 and told["agreement"]["detections"] > 10
    assert told["diverging"] is None and len(told["outputs"]) == 6
    assert told["runtime"] == "2.3.2 (a stub)" and told["repeated_ms"]["count"] == 3
    place = Path("parts4") / IMGSZ / "split"
    ours = read_detections(sham.results / "detections" / place / "normal-8.npz")
    theirs = read_detections(sham.results / "board" / place / "normal-8" / "detections.npz")
    assert len(ours.images) == IMAGES
    for one, other in zip(ours.found, theirs.found):
        compare(one, other)
    page = (sham.results / "report.html").read_text()
    assert "unsupport cpu Transpose op" in page and "On the board" in page

    # The table and the report are newer than what the board told, and yet the board is not asked again.
    again = sham.snakemake("board", "--dry-run")
    assert again.returncode == 0 and not re.search(r"^(board|bundle) ", again.stdout + again.stderr, re.M)


@pytest.mark.toolkit
@pytest.mark.parametrize(
    ("stub", "settings", "said"),
    [
        ({"scale": 1.02}, {}, "the scale of output 0 is"),
        ({"version": "1.6.0 (old)"}, {}, "the runtime is version 1.6.0, the model was built with toolkit 2.3.2"),
        ({"refuse": "get rv1106, required rv1103"}, {}, "the chip calls itself rv1103, the model was built for rv1106"),
        ({"kill_at": "1"}, {}, "was killed on the board (signal 9)"),
        ({"sleep_us": "60000000"}, {"timeout": 3}, "did not answer within 3 s"),
        ({}, {"options": "-F {ssh} -o UserKnownHostsFile=/dev/null"}, "host key that this machine does not know"),
        ({}, {"options": "-F {ssh} -p 1"}, "the board is not reached at sham"),
        ({}, {"options": "-F {ssh} -o IdentityFile=/dev/null"}, "lets nobody in without a password"),
        ({}, {"launcher": "echo noise;"}, "board"),
        ({}, {"launcher": "no-such-program"}, "the board cannot start the program"),
        ({}, {"cc": "no-such-compiler"}, "there is no program 'no-such-compiler' here"),
        ({}, {"sdk": ""}, "board.sdk is empty"),
        ({}, {"sdk": "/nowhere"}, "has no include/rknn_api.h"),
        ({}, {"folder": "/proc/nowhere"}, "cannot be made on the board"),
        ({}, {"host": ""}, "board.host is empty"),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence(sham, stub, settings, said):
    ssh = re.search(r"-F (\S+)", sham.config["options"])[1]
    sham.answers["split"].tell(**stub)
    try:
        told = sham.told("split", **{name: str(value).replace("{ssh}", ssh) for name, value in settings.items()})
    finally:
        sham.answers["split"].tell()
    assert said in told
    assert not (sham.results / "board").exists() or sham.board_json("split")["result"] == "ran"
    if "timeout" not in settings and "folder" not in settings:
        assert sham.left_there() == []
