"""What the rules need beyond Snakemake: a config checked as a whole, one run in a folder, options of commands."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SNAKEMAKE_7

from lib.step.errors import UserError
from lib.step.workflow import beside, checked_config, laid_over, options, sole_run

SCHEMA = {
    "properties": {
        "run": {"type": "string"},
        "size": {"type": "integer"},
        "lists": {"additionalProperties": {"type": "array", "items": {"type": "integer"}}},
    }
}


@pytest.fixture
def config(tmp_path):
    """A function: `checked_config` of what is given, over a small file of defaults."""
    (tmp_path / "defaults.yaml").write_text("run: plain\nsize: 4\nlists: {a: [1, 2], b: [3]}\n")

    def check(given, *files, problems=lambda config, schema: []):
        return checked_config(given, files, tmp_path / "defaults.yaml", SCHEMA, problems)

    return check


def test_what_is_given_lies_over_the_defaults_with_numbers_as_numbers(config):
    given = {"size": "7", "lists": {"b": ["5", "6"]}}
    assert config(given) == {"run": "plain", "size": 7, "lists": {"a": [1, 2], "b": [5, 6]}}


def test_all_problems_are_told_at_once(config):
    def problems(config, schema):
        assert config["size"] == 7 and "size" in schema["properties"]
        return ["size is odd", "run is dull"]

    with pytest.raises(UserError) as told:
        config({"size": "7"}, problems=problems)
    assert str(told.value) == "the config is not usable:\n  size is odd\n  run is dull"


def test_a_key_that_stands_twice_is_told_once_per_line(config, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("size: 1\nrun: a\nsize: 2\n")
    with pytest.raises(UserError) as told:
        config({"size": 2}, path, path)
    assert str(told.value).startswith("the config is not usable:\n")
    assert f"{path}, line 3: size is there twice" in str(told.value)
    assert str(told.value).count("line 3") == 1


@pytest.mark.parametrize(
    ("config", "overlay", "merged"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": None}, {"a": None}),
        ({"a": {"b": {"c": 1}}}, {}, {"a": {"b": {"c": 1}}}),
    ],
)
def test_an_overlay_merges_blocks_and_replaces_all_else(config, overlay, merged):
    before = repr((config, overlay))
    assert laid_over(config, overlay) == merged
    assert repr((config, overlay)) == before


HOLD = (
    "import sys, time; from pathlib import Path; from lib.step.workflow import sole_run\n"
    "file = sole_run(Path(sys.argv[1]), print); Path(sys.argv[1], 'held').touch(); time.sleep(60)"
)


def test_a_second_run_in_a_folder_is_told_who_works_there_and_a_killed_one_leaves_no_lock(tmp_path):
    folder = tmp_path / "results"
    first = subprocess.Popen([sys.executable, "-c", HOLD, folder], cwd=ROOT / "scripts")
    try:
        while not (folder / "held").exists():
            assert first.poll() is None
            time.sleep(0.02)
        with pytest.raises(UserError) as told:
            sole_run(folder, pytest.fail)
    finally:
        first.kill()
        first.wait()
    expected = f"another run works in {folder}: process {first.pid} on {socket.gethostname()}; wait until it ends"
    assert str(told.value).startswith(expected)
    with sole_run(folder, pytest.fail):
        assert (folder / ".running").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_a_disk_that_keeps_no_locks_is_a_warning(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)
    warnings = []
    sole_run(tmp_path, warnings.append).close()
    assert (
        [text for text in warnings if text.startswith(f"{tmp_path}: its disk does not support locks (")]
        == warnings
        != []
    )


def test_values_that_the_sweep_lacks_are_named_whatever_their_type():
    asked = {"imgsz": ["416x256", 320, 96], "head": ["single"]}
    swept = {"imgsz": [320, 640, "416x256"], "head": ["single"]}
    assert beside(asked, swept) == {"imgsz": ["96"]}
    assert beside(asked | {"head": []}, swept) == {}  # no variant is asked for


def test_options_are_called_as_the_keys_of_a_block():
    block = {"weights": ["a.pt", "https://b.example/c.pt"], "sha256": "12", "cfg": None}
    assert options(block) == ["--weights", "a.pt", "https://b.example/c.pt", "--sha256", "12"]
    assert options({}) == []


def ran(snakefile: str, folder: Path, *options: str) -> list[str]:
    """The lines that a run of a Snakefile in the folder prints; `{scripts}` in it is the folder of the steps."""
    (folder / "Snakefile").write_text(snakefile.format(scripts=str(ROOT / "scripts")))
    command = [sys.executable, "-m", "snakemake", "--scheduler", "greedy", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LOOKED_AT = """
import sys
sys.path.insert(0, {scripts!r})
from snakemake import benchmark
from lib.step.workflow import look_at_memory_less_often

looks = []
look = benchmark.BenchmarkTimer.work
benchmark.BenchmarkTimer.work = lambda timer: (looks.append(timer), look(timer))

rule one:
    output: "one.txt"
    benchmark: "one.tsv"
    shell: "sleep 2.7; touch {{output}}"

onstart:
    look_at_memory_less_often()

onsuccess:
    print("looks:", len(looks))
"""


def test_snakemake_looks_at_the_memory_of_a_job_every_two_seconds(tmp_path):
    [line] = [line for line in ran(LOOKED_AT, tmp_path, "-j1") if line.startswith("looks: ")]
    assert int(line.removeprefix("looks: ")) <= 2  # after 0 and 2 seconds; it was six times
    assert (tmp_path / "one.tsv").read_text().startswith("s\t")


TIMED = """
import sys, threading
sys.path.insert(0, {scripts!r})
from lib.step.workflow import plan_without_timers

rule all:
    input: expand("{{n}}.txt", n=range(3))

rule one:
    output: "{{n}}.txt"
    shell: "touch {{output}}"

onstart:
    plan_without_timers(workflow)

onsuccess:
    print("timers:", sum(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
"""


LIMITED = pytest.param(
    ["--max-jobs-per-timespan", "50/1s"], False, marks=pytest.mark.skipif(SNAKEMAKE_7, reason="needs Snakemake 8")
)


@pytest.mark.parametrize(("given", "lifted"), [([], True), LIMITED])
def test_snakemake_plans_without_timers_unless_a_limit_is_set(tmp_path, given, lifted):
    [line] = [line for line in ran(TIMED, tmp_path, "-j2", *given) if line.startswith("timers: ")]
    assert (line == "timers: 0") == lifted


BEHIND = """
import sys
sys.path.insert(0, {scripts!r})
from snakemake.dag import DAG
from lib.step.workflow import judge_behind_ancient

judge_behind_ancient(DAG)

rule first:
    output: "first.txt"
    params: config["one"]
    shell: "echo {{params}} > {{output}}"

rule second:
    input: ancient("first.txt")
    output: "second.txt"
    params: config["two"]
    shell: "echo {{params}} > {{output}}"

rule third:
    input: "second.txt"
    output: "third.txt"
    shell: "touch {{output}}"
"""


def test_a_job_behind_a_file_that_is_made_again_runs_if_it_has_a_reason_of_its_own(tmp_path):
    def made(one: int, two: int) -> set[str]:
        """The files that a run makes."""
        files = [tmp_path / f"{name}.txt" for name in ("first", "second", "third")]
        before = [file.stat().st_mtime_ns if file.exists() else 0 for file in files]
        ran(BEHIND, tmp_path, "-j1", "third", "--config", f"one={one}", f"two={two}")
        return {file.stem for file, when in zip(files, before) if file.exists() and file.stat().st_mtime_ns != when}

    assert made(1, 1) == {"first", "second", "third"}
    assert made(2, 1) == {"first"}
    assert made(3, 2) == {"first", "second", "third"}
