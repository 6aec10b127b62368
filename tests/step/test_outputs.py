"""A step writes onto nothing of the user's: it says so, in one sentence, before it works."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import collect
import make_bundle
import run_on_board
from lib.step import console
from lib.step.arguments import StepParser
from lib.step.errors import UserError


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """A folder with a file of the user's, and no redirection of this process's output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "log_to", lambda path: None)
    (tmp_path / "in.onnx").write_text("model")


def parse(*arguments, is_own=None, parts=()):
    parser = StepParser("A step.")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--sources", nargs="+")
    parser.add_output("-o", "--output", type=Path, is_own=is_own, parts=parts)
    parser.add_output("--proof")
    return parser.parse_args(arguments)


def refusal(*arguments, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        parse(*arguments, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def is_made(folder: Path) -> bool:
    return (folder / ".made").exists()


@pytest.mark.parametrize("name", ["in.onnx", "./in.onnx", "new/../in.onnx", "link/in.onnx"])
@pytest.mark.parametrize("option", ["--output", "--proof", "--log"])
def test_an_input_is_not_written_onto(option, name):
    Path("new").mkdir()
    Path("link").symlink_to(Path())
    for given in ("--model", "--sources"):
        assert given in refusal(given, "in.onnx", option, name) and option in refusal(given, "in.onnx", option, name)


def test_what_an_input_leads_to_is_not_written_onto_and_a_link_to_it_may_go():
    Path("link.onnx").symlink_to("in.onnx")
    assert "--model" in refusal("--model", "link.onnx", "--output", "in.onnx")
    parse("--model", "in.onnx", "--output", "link.onnx")
    # A log is opened, not renamed.
    assert "--model" in refusal("--model", "in.onnx", "--log", "link.onnx")
    os.link("in.onnx", "hard.onnx")
    assert "--model" in refusal("--model", "in.onnx", "--log", "hard.onnx")


def test_outputs_and_the_log_have_places_of_their_own():
    assert "--output s.onnx and --proof s.onnx" in refusal("--output", "s.onnx", "--proof", "./s.onnx")
    assert "--log" in refusal("--output", "s.onnx", "--log", "s.onnx")
    assert "--log" in refusal("--output", "folder", "--log", "folder/log", is_own=is_made)
    parse("--output", "folder", "--log", "folder/log", is_own=is_made, parts=("images",))


def test_a_folder_is_replaced_only_where_it_is_absent_empty_or_the_steps_own():
    parse("--output", "folder", is_own=is_made)
    Path("folder").mkdir()
    parse("--output", "folder", is_own=is_made)
    Path("folder", ".snakemake_timestamp").touch()
    parse("--output", "folder", is_own=is_made)
    Path("folder", "thesis.txt").touch()
    assert "folder holds files that this step did not make" in refusal("--output", "folder", is_own=is_made)
    Path("folder", ".made").touch()
    parse("--output", "folder", is_own=is_made)
    assert "--sources" in refusal("--sources", "x", "folder/thesis.txt", "--output", "folder", is_own=is_made)
    assert "is a file" in refusal("--output", "in.onnx", is_own=is_made)


def test_of_a_folder_with_parts_these_alone_are_replaced():
    images = Path("data", "images")
    images.mkdir(parents=True)
    Path("data", "split.csv").touch()
    parse("--output", "data", is_own=is_made, parts=("images",))
    assert "--sources" in refusal("--sources", "data", "--output", "data", is_own=is_made, parts=("images",))
    (images / "a.png").touch()
    assert "data/images holds files" in refusal("--output", "data", is_own=is_made, parts=("images",))


def test_a_file_is_replaced_unless_it_is_read_only_or_a_folder():
    Path("out").write_text("old")
    parse("--output", "out")
    Path("out").chmod(0o444)
    for option in ("--output", "--log"):
        assert "read-only" in refusal(option, "out")
    Path("folder").mkdir()
    assert "is a folder" in refusal("--output", "folder")
    assert "not a regular file" in refusal("--output", "/dev/null")
    parse("--log", "/dev/null")


def test_a_place_that_cannot_be_written_to_is_reported_before_the_work(monkeypatch):
    assert refusal("--output", "in.onnx/a/out").startswith("cannot write --output in.onnx/a/out: ")
    monkeypatch.setattr(os, "access", lambda folder, mode: False)  # root may write anywhere
    assert refusal("--output", "out").endswith("is read-only for you")


def test_what_is_no_path_is_no_input():
    parse("--sources", "https://example.org/in.onnx", "{" * 5000, "nosuch", "--output", "out")


# What each step makes is declared, so that the rule holds for it; the others write into names of their own below --run.
OUTPUTS = {
    "--output", "--csv", "--markdown", "--plot", "--proof", "--build", "--detections", "--metrics", "--resampled",
    "--verdict", "--errors",
}  # fmt: skip
READ = {("judge", "--build"), ("evaluate", "--detections"), ("draw_detections", "--detections")}
# Steps that write into names of their own below --run.
INTO_RUN = {"collect", "make_bundle", "run_on_board"}


@pytest.mark.parametrize("step", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_steps_declare_what_they_make(step):
    calls = [node for node in ast.walk(ast.parse(step.read_text())) if isinstance(node, ast.Call)]
    added = {
        (step.stem, word.value)
        for call in calls
        if getattr(call.func, "attr", "") == "add_argument"
        for word in call.args
        if isinstance(word, ast.Constant)
    }
    assert {(name, option) for name, option in added if option in OUTPUTS} <= READ
    assert step.stem not in INTO_RUN or (step.stem, "--run") not in added


def run(step, *arguments):
    command = [sys.executable, ROOT / "scripts" / f"{step}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "step, arguments",
    [
        ("letterbox_pool", ["--dataset", "data", "--split", "s.csv", "--imgsz", "64", "--output", "mine"]),
        ("download_weights", ["--weights", "in.onnx", "--sha256", "0" * 64, "--output", "mine"]),
        ("fetch_dataset", ["--archive", "mine", "--names", "a", "--output", "mine"]),
        ("fetch_dataset", ["--archive", "other", "--names", "a", "--output", "mine"]),
        ("list_sources", ["--output", "mine"]),
        ("draw_scenes", ["--count", "1", "--seed", "1", "--output", "mine"]),
    ],
)
def test_a_folder_of_the_users_survives_each_step_that_makes_one(step, arguments):
    for name in ("images/a.jpg", "labels/a.txt", "notes.txt"):
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    done = run(step, *arguments)
    assert done.returncode == 2 and done.stderr.startswith("error: --output mine") and done.stderr.count("\n") == 1
    assert sorted(str(path) for path in Path("mine").rglob("*.*")) == [
        "mine/images/a.jpg", "mine/labels/a.txt", "mine/notes.txt"
    ]  # fmt: skip


SWEEP = ["--model", "a", "--imgsz", "96", "--head", "split", "--algorithm", "normal", "--max-images", "4"]


@pytest.mark.parametrize(
    "step, arguments, place",
    [
        (make_bundle, [*SWEEP, "--names", "a"], "run/bundle/notes.txt"),
        (make_bundle, [*SWEEP, "--names", "a"], "run/bundle/a/96/split/normal-4/notes.txt"),
        (run_on_board, ["--names", "a"], "run/board/a/96/split/normal-4/notes.txt"),
        (run_on_board, ["--names", "a"], "run/board.unfinished/notes.txt"),
        (collect, SWEEP, "run/table.md/notes.txt"),
        (collect, SWEEP, "run/plots/pareto.png/notes.txt"),
    ],
)
def test_what_is_the_users_in_a_runs_folder_survives(step, arguments, place):
    path = Path(place)
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(UserError, match="--run run/"):
        step.main(["--run", "run", *arguments])
    assert [path for path in Path("run").rglob("*") if path.is_file()] == [path]


def test_steps_know_what_they_left_in_a_runs_folder():
    for name in ("a/96/split/normal-4/model.json", "a/96/split/normal-4/golden/input.rgb", "a/96/split/normal-4.zip"):
        Path("bundle", name).parent.mkdir(parents=True, exist_ok=True)
        Path("bundle", name).touch()
    Path("bundle/a/96/split/normal-4/SHA256SUMS").write_text("00  model.json\n00  golden/input.rgb\n")
    Path("bundle", ".snakemake_timestamp").touch()
    assert make_bundle.holds_bundles(Path("bundle")) and not run_on_board.holds_results(Path("bundle"))
    for name in ("b.zip", "a/96/split/normal-4/notes.txt"):
        Path("bundle", name).touch()
        assert not make_bundle.holds_bundles(Path("bundle"))
        Path("bundle", name).unlink()
    for name in ("board.json", "detections.npz"):
        Path("board/a/96/split/normal-4").mkdir(parents=True, exist_ok=True)
        Path("board/a/96/split/normal-4", name).touch()
    assert run_on_board.holds_results(Path("board")) and not make_bundle.holds_bundles(Path("board"))


def test_a_rerun_replaces_its_own_folders():
    checksum = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"  # of "model"
    Path("n.cfg").touch()
    for arguments in (["--sha256", checksum], ["--cfg", "n.cfg"], ["--cfg", "n.cfg", "--sha256", checksum]):
        for _ in range(2):
            done = run(
                "download_weights", "--weights", "in.onnx", *arguments, "--output", f"n{len(arguments)}{arguments[0]}"
            )
            assert done.returncode == 0, done.stderr
    for _ in range(2):
        assert run("list_sources", "--output", "sources").returncode == 0
        assert run("draw_scenes", "--count", "2", "--seed", "1", "--output", "drawn").returncode == 0
        fetched = run("fetch_dataset", "--archive", "drawn", "--names", *"abcdefghijkl", "--output", "data")
        assert fetched.returncode == 0, fetched.stderr
        split = ["--dataset", "data", "--calibration", "1", "--seed", "0", "--output", "data/split.csv"]
        assert run("split_dataset", *split).returncode == 0
        letterbox = ["--dataset", "data", "--split", "data/split.csv", "--imgsz", "64", "--output", "pool"]
        assert run("letterbox_pool", *letterbox).returncode == 0
