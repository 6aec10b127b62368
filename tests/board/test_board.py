"""run_on_board.py on a simulated board: mAP equals the simulator's, errors are one message, a run can be resumed."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from sham_board import COMPILER, DEBIAN, Answers, make_sdk, missing, sshd

import run_on_board
from lib.accuracy.detection_set import DetectionSet, read_detections
from lib.board import transport
from lib.board.lines import read_lines, to_line
from lib.board.progress import Progress
from lib.board.summary import agreement_with_simulator
from lib.bundle import program
from lib.bundle.same_detections import demand_same
from lib.data.calibration_list import calibration_images
from lib.data.images import read_image
from lib.data.imgsz import parse_imgsz
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.detector.instances import Instances
from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.npu.int8 import Quantization, int8_model
from lib.results.board_results import ImageDifference
from lib.step.errors import UserError, run_step

HEADS = ("single", "split")
IMGSZ = "128x96"
IMAGES = 16
LOADER = "/usr/arm-linux-gnueabihf"
NAMES = (ROOT / "config" / "parts.names").read_text().split()


@pytest.fixture(scope="module")
def sham(request, tmp_path_factory, python_env):
    """A part of the bundled example with bundles, and a simulated board that has the simulator's outputs."""
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)} (apt-get install {DEBIAN})")
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    root = tmp_path_factory.mktemp("sham")
    project = shutil.copytree(request.getfixturevalue("bundled_project"), root / "project", symlinks=True)
    (root / "board").mkdir()
    sdk = make_sdk(root / "sdk")
    with sshd(tmp_path_factory.mktemp("sshd")) as ssh_config:
        path = project / "config" / "demo.yaml"
        config = yaml.safe_load(path.read_text())
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
        for head in HEADS:
            board.learn(head, root / "answers")
        yield board


class ShamBoard:
    """A project with bundles, and functions to run them on the simulated board."""

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
        """Give the stub the simulator's outputs for every image and for the golden image."""
        bundle = self.bundle(head)
        answers = self.answers[head] = Answers(folder, bundle / "model.rknn")
        onnx = self.results / "onnx" / "parts4" / IMGSZ / f"{head}.onnx"
        calibration = calibration_images(self.results / "calibration" / IMGSZ / "8" / "images.txt")
        asked = Quantization(onnx, "rv1106", "normal", InputForm(), output_spec_of(load(onnx)))
        with int8_model(asked, calibration) as built:
            simulator = built.session.simulate()
            for path in sorted((self.results / "dataset" / "images").glob("*.*")):
                if not path.name.startswith("."):
                    fitted, _ = letterbox(read_image(path), parse_imgsz(IMGSZ))
                    answers.add(fitted, simulator(fitted))
        # What --repeat asks for: a grey image.
        shutil.copy(next(path for path in answers.folder.iterdir() if path.name != "tensors"), answers.folder / "any")

    def run(self, head: str, **changed) -> int:
        """Run run_on_board.py for one bundle in this process, with changed settings; return its exit code."""
        settings = self.config | {name: str(value) for name, value in changed.items()}
        command = ["--run", self.results, "--bundle", self.bundle(head), "--names", *NAMES, "--resamples", "100",
                   *(f"--{name}={value}" for name, value in settings.items())]  # fmt: skip
        return run_step(lambda: run_on_board.main(list(map(str, command))))

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

    with open(sham.results / "table.csv") as table:
        rows = {row["head"]: row for row in csv.DictReader(table)}
    assert rows["split"]["map50_95_board"] == rows["split"]["map50_95_int8"] != "0.0"
    assert float(rows["split"]["ms_board"]) >= 1.0 and rows["split"]["board"] == "ran"
    assert rows["split"]["verdict_was"] == "right" and rows["single"]["verdict_was"] == "wrong"
    assert rows["single"]["map50_95_board"] == "" and rows["single"]["board"].startswith("unsupport cpu Transpose op")
    told = sham.board_json("single")
    assert told["result"] == "refused" and told["words"].startswith("unsupport cpu Transpose op")

    told = sham.board_json("split")
    metrics = json.loads((sham.results / "metrics" / "parts4" / IMGSZ / "split" / "normal-8.json").read_text())
    assert told["metrics"]["operating"] == metrics["operating"]
    plain = {"per_class": 0, "operating": 0}
    assert told["metrics"] | plain == pytest.approx(metrics | plain, abs=1e-9)
    assert told["agreement"]["share"] == 1 and told["agreement"]["detections"] > 10
    assert told["diverging"] is None and len(told["outputs"]) == 6
    assert told["runtime"] == "2.3.2 (a stub)" and told["repeated_ms"]["count"] == 3
    assert re.fullmatch(r"parts4 128x96 split,sham,420,[\d.]+,rknn_run,[\d.]+,[\d.]+,\d+,,", told["measured"])
    place = Path("parts4") / IMGSZ / "split"
    ours = read_detections(sham.results / "detections" / place / "normal-8.npz")
    theirs = read_detections(sham.results / "board" / place / "normal-8" / "detections.npz")
    assert len(ours.images) == IMAGES
    for one, other in zip(ours.instances, theirs.instances):
        demand_same(one, other)
    page = (sham.results / "report.html").read_text()
    assert "unsupport cpu Transpose op" in page and "On the board" in page

    # The table and the report are newer than what the board told, and yet the board is not asked again.
    again = sham.snakemake("board", "--dry-run")
    assert again.returncode == 0 and not re.search(r"^(board|bundle) ", again.stdout + again.stderr, re.M)


@pytest.fixture
def told(sham, monkeypatch, capsys):
    """A function: the error message of a run of `split`."""
    monkeypatch.chdir(sham.project)
    monkeypatch.setenv("ARCHIVE_LIBS", "")

    def run(stub: dict, settings: dict) -> str:
        ssh = re.search(r"-F (\S+)", sham.config["options"])[1]
        sham.answers["split"].tell(**stub)
        try:
            code = sham.run("split", **{name: str(each).replace("{ssh}", ssh) for name, each in settings.items()})
        finally:
            sham.answers["split"].tell()
        said = capsys.readouterr().err
        assert code == 2, said
        (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in said
        return error

    return run


@pytest.mark.toolkit
@pytest.mark.parametrize(
    ("stub", "settings", "said"),
    [
        ({"scale": 1.02}, {}, "the scale of output 0 is"),
        ({"version": "1.6.0 (old)"}, {}, "the runtime is version 1.6.0, but the model was built with toolkit 2.3.2"),
        ({"refuse": "get rv1106, required rv1103"}, {}, "chip calls itself rv1103, but the model was built for rv1106"),
        ({"sleep_us": "60000000"}, {"timeout": 3}, "did not answer within 3 s"),
        ({}, {"options": "-F {ssh} -o UserKnownHostsFile=/dev/null"}, "host key that this machine does not know"),
        ({}, {"options": "-F {ssh} -p 1"}, "the board cannot be reached at sham"),
        ({}, {"options": "-F {ssh} -o PubkeyAuthentication=no"}, "needs a password"),
        ({}, {"launcher": "no-such-program"}, "the board cannot start the program"),
        ({}, {"cc": "no-such-compiler"}, "there is no program 'no-such-compiler' on this machine"),
        ({}, {"sdk": ""}, "board.sdk is empty"),
        ({}, {"sdk": "/nowhere"}, "has no include/rknn_api.h"),
        ({}, {"folder": "/proc/nowhere"}, "cannot be made on the board"),
        ({}, {"host": ""}, "board.host is empty"),
    ],
)
def test_an_error_is_one_message(sham, told, stub, settings, said):
    assert said in told(stub, settings)
    assert "timeout" in settings or sham.left_there() == []


@pytest.mark.toolkit
@pytest.mark.parametrize(
    ("host", "answer"),
    [("silent", "nothing"), ("nologin", "'This account is currently not available.'"), ("garbage", "'")],
)
def test_a_login_without_a_shell_is_one_message(told, host, answer):
    assert f"error: {host} accepts the login, but runs no command: it answers {answer}" in told({}, {"host": host})


@pytest.mark.toolkit
def test_a_board_with_a_login_greeting_works(sham, monkeypatch):
    monkeypatch.chdir(sham.project)
    monkeypatch.setenv("ARCHIVE_LIBS", "")
    assert sham.run("split", host="greeting", repeat=0) == 0
    assert sham.board_json("split")["agreement"]["share"] == 1 and sham.left_there() == []


@pytest.mark.toolkit
def test_a_missing_runtime_is_reported(sham, told, tmp_path):
    """The program is linked to the library, which the board lacks: the file that is copied has another name."""
    runtime = tmp_path / "not-the-name.so"
    runtime.write_bytes(b"")
    said = told({}, {"runtime": runtime, "cc": COMPILER, "launcher": f"rm -f librknnmrt.so; qemu-arm -L {LOADER}"})
    assert "the board has no librknnmrt.so where the program looks" in said


@pytest.mark.toolkit
def test_the_runtime_of_the_config_is_copied_to_the_board(sham, monkeypatch):
    monkeypatch.chdir(sham.project)
    launcher = f"{sham.config['launcher']} -L {LOADER}"
    runtime = Path(sham.config["sdk"], "armhf-uclibc", "librknnmrt.so")
    assert sham.run("split", runtime=runtime, cc=COMPILER, launcher=launcher, repeat=0) == 0
    assert sham.board_json("split")["repeated_ms"] is None


@pytest.mark.toolkit
def test_a_full_board_is_reported(sham, told, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    size = (sham.bundle("split") / "model.rknn").stat().st_size
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system (root)")
    try:
        assert "MB free on the board" in (said := told({}, {"folder": place})) and "board.folder" in said
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.toolkit
def test_an_interrupted_run_is_resumed(sham, told, monkeypatch, capsys):
    """The first run is killed at image 10 of the only batch, the second loses the connection, the third completes."""
    assert "was killed on the board (signal 9)" in told({"kill_at": "10"}, {})
    assert sham.left_there() == []
    found = sham.results / "board.unfinished" / "parts4" / IMGSZ / "split" / "normal-8" / "found.jsonl"
    assert len(found.read_text().splitlines()) == 1 + 9
    # As someone pulls the cable: the server's process for this connection dies while the program runs.
    assert "broke" in told({}, {"launcher": f"kill -9 $PPID; sleep 5; {sham.config['launcher']}"})
    assert len(found.read_text().splitlines()) == 1 + 9
    with open(found, "a") as file:
        file.write('{"image": "cut')
    assert sham.run("split") == 0
    assert f"9 of {IMAGES} images were already done" in capsys.readouterr().out
    assert sham.board_json("split")["agreement"]["share"] == 1
    assert not found.parent.exists() and sham.left_there() == []


@pytest.fixture(scope="module")
def detect(sham, tmp_path_factory):
    """A function that runs the bundle's program, compiled for this machine with sanitizers; returns the process."""
    folder = tmp_path_factory.mktemp("detect")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    source = ROOT / "tests" / "bundle" / "c"
    bundle = sham.bundle("split")
    sources = [bundle / "detect.c", bundle / "detector.c", source / "rknnmrt.c"]
    command = ["cc", *flags, f"-I{source}", *sources, "-o", folder / "detect"]
    subprocess.run(command, check=True)
    environment = sham.environment | {"RKNN_STUB": str(sham.answers["split"].folder.parent)}

    def run(*words, stdin: bytes = b"", **options) -> subprocess.CompletedProcess:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.run([folder / "detect", *words], cwd=bundle, env=environment, input=stdin, **options)

    return run


@pytest.mark.toolkit
def test_program_finds_what_the_bundle_expects(sham, detect, tmp_path):
    bundle = sham.bundle("split")
    width, height = (bundle / "golden" / "image.txt").read_text().split()
    golden = ["--raw", tmp_path, "--image", f"{width}x{height}", "model.rknn", "golden/input.rgb"]
    done = detect(*golden)
    assert done.returncode == 0, done.stderr
    # The runtime prints to standard output, too: that goes elsewhere.
    assert b"I RKNN" not in done.stdout and b"I RKNN" in done.stderr
    printed = read_lines(done.stdout)
    assert printed.images == 1 and printed.results[0].image == "golden/input.rgb"
    expected = program.read_detections((bundle / "golden" / "detections.txt").read_text())
    assert len(expected.scores) > 3
    demand_same(expected, printed.results[0].detections)
    for number in range(6):
        assert (tmp_path / f"0_output_{number}.bin").read_bytes() == (
            bundle / "golden" / f"output_{number}.bin"
        ).read_bytes()
    stream = f'{width} {height} a "b"\\c\n'.encode() + (bundle / "golden" / "input.rgb").read_bytes()
    (one, two) = read_lines(detect("model.rknn", stdin=stream * 2).stdout).results
    assert one.image == 'a "b"\\c'
    demand_same(expected, two.detections)
    assert len(read_lines(detect("--repeat", "4", "model.rknn").stdout).run_us) == 4


@pytest.mark.toolkit
@pytest.mark.parametrize(
    ("words", "stdin", "code", "said"),
    [
        ([], b"", 2, "MODEL.rknn is missing"),
        (["--iou", "-1", "model.rknn"], b"", 2, "invalid option '--iou -1'"),
        (["--image", "12x0", "model.rknn"], b"", 2, "invalid option '--image 12x0'"),
        (["--what"], b"", 2, "invalid option '--what '"),
        (["nothing.rknn"], b"", 2, "nothing.rknn cannot be read"),
        (["main.c"], b"", 3, "the runtime refuses main.c: rknn_init returned error -1"),
        (["model.rknn", "main.c"], b"", 8, "main.c does not have the 36864 bytes of a letterboxed image"),
        (["model.rknn", "nothing.rgb"], b"", 8, "nothing.rgb cannot be read"),
        (["model.rknn"], b"128 0 a.jpg\n", 8, "image 0 of the stream does not begin with a line"),
        (["model.rknn"], b"128 96 a.jpg\nabc", 8, "the stream ends inside image 0, a.jpg"),
        (["--raw", "/nowhere", "model.rknn", "golden/input.rgb"], b"", 7, "/nowhere/0_output_0.bin cannot be written"),
    ],
)
def test_program_reports_errors(detect, words, stdin, code, said):
    done = detect(*words, stdin=stdin)
    assert done.returncode == code, done.stderr
    assert said in done.stderr.decode().splitlines()[-1]


@pytest.mark.toolkit
def test_program_reports_a_full_disk(detect):
    with open("/dev/full", "wb") as full:
        done = detect("model.rknn", "golden/input.rgb", stdout=full)
    assert done.returncode == 7 and b"the results cannot be written: No space left on device" in done.stderr


FAKE_ADB = """#!/bin/sh
# adb as an old daemon makes it: standard error among the output, line ends of a terminal, no exit code of a command.
if [ "$1" = -s ]; then [ "$2" = sham ] || { echo "adb: device '$2' not found" >&2; exit 1; }; shift 2; fi
case $1 in
    shell) sh -c "$2" 2>&1 | sed 's/$/\r/';;
    exec-out) sh -c "$2";;
    push) cp "$2" "$3";;
esac
"""


@pytest.mark.toolkit
def test_adb_works_as_ssh(sham, told, monkeypatch, tmp_path):
    (tmp_path / "adb").write_text(FAKE_ADB)
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    adb = {"transport": "adb", "options": ""}
    assert "adb finds no board: adb: device 'other' not found" in told({}, {**adb, "host": "other"})
    assert "the scale of output 0 is" in told({"scale": 1.02}, adb)
    assert "was killed on the board" in told({"kill_at": "3"}, adb)
    shutil.rmtree(sham.results / "board", ignore_errors=True)
    assert sham.run("split", **adb) == 0
    assert sham.board_json("split")["agreement"]["share"] == 1
    assert sham.left_there() == []


def line(image="a.jpg", **changed) -> bytes:
    value = {"image": image, "run_us": 26000, "decode_us": 800, "detections": [[1, 0.5, 1, 2, 3, 4.25]]} | changed
    return json.dumps(value).encode() + b"\n"


HEAD = b'{"runtime": "2.3.2 (x)", "driver": "0.9.2", "init_us": 35000}\n'


def test_lines_are_the_same_after_reading_and_writing():
    printed = read_lines(HEAD + line('q".jpg') + line("b.jpg", detections=[]) + b'{"images": 2}\n')
    assert printed.runtime.driver == "0.9.2" and printed.images == 2 and not printed.garbage
    first, second = printed.results
    assert (first.image, first.run_us, second.detections.boxes.shape) == ('q".jpg', 26000, (0, 4))
    assert first.detections.boxes.tolist() == [[1, 2, 3, 4.25]] and first.detections.classes.tolist() == [1]
    (again,) = read_lines(to_line(first).encode()).results
    demand_same(first.detections, again.detections)
    assert again.detections.scores.dtype == np.float32
    assert read_lines(HEAD + b'{"run_us": [3, 1, 2]}\n').run_us == [3, 1, 2]


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\x00noise\n", b'{"image": "cut", "run_us": 26\n', line(detections=[[1, 2]]), b"[]\n", b"7\n",
     line(run_us="soon"), line(detections=[[0, float("nan"), 0, 0, 0, 0]])],
)  # fmt: skip
def test_garbage_ends_the_results_and_is_shown(garbage):
    printed = read_lines(HEAD + line() + garbage + line("later.jpg") + b'{"images": 3}\n')
    assert [each.image for each in printed.results] == ["a.jpg"] and printed.images is None
    assert printed.garbage


def test_progress_is_used_only_for_its_key(tmp_path):
    (result,) = read_lines(line()).results
    Progress(tmp_path / "one", "key").add([result])
    assert list(Progress(tmp_path / "one", "key").results) == ["a.jpg"]
    assert Progress(tmp_path / "one", "other").results == {}
    assert Progress(tmp_path / "one", "key").results == {}


def found_in(*boxes, scores) -> DetectionSet:
    one = Instances(np.array(boxes, float).reshape(-1, 4), np.array(scores), np.zeros(len(scores), int))
    return DetectionSet(["a.jpg"], [(100, 100)], [one])


def test_agreement_counts_the_detections_of_both():
    ours = found_in((0, 0, 10, 10), (50, 50, 60, 60), scores=[0.9, 0.3])
    theirs = found_in((0, 0, 10, 9), (20, 20, 30, 30), scores=[0.8, 0.4])
    agreement = agreement_with_simulator(ours, theirs)
    assert (agreement.detections, agreement.share) == (3, pytest.approx(1 / 3))
    assert (agreement.iou, agreement.score) == (0.9, 0.1)
    assert agreement.worst == (ImageDifference("a.jpg", missed=2, iou=0.9, score=0.1),)
    nothing = found_in(scores=[])
    assert agreement_with_simulator(nothing, nothing).share == 1
    with pytest.raises(UserError, match="different images"):
        agreement_with_simulator(ours, ours._replace(images=["b.jpg"]))


def test_a_missing_client_is_reported(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("ssh", "adb"):
        with pytest.raises(UserError, match=f"there is no program '{name}' on this machine; install it"):
            transport.transport(name, "board", [], 1)
