"""Workers end with their step, and a step ends when its workers do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from draw_scenes import draw_dataset
from lib.step.workers import start_silent_tracker

DRAW = [sys.executable, ROOT / "scripts" / "draw_scenes.py", "--count", "5000", "--seed", "1", "--processes", "2"]
TRACKER = "from multiprocessing.resource_tracker"  # of its command line; an option of Python may name it too
OVER_IMAGES = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from lib.accuracy.inference import over_images
over_images(lambda: None, lambda run, path: time.sleep(100), [Path("a"), Path("b")], 2, "sleep")
"""
# Ends the first worker while the second starts, before the executor knows the second.
ENDED_EARLY = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from multiprocessing.popen_spawn_posix import Popen
from lib.step.workers import worker_pool
launch, launched = Popen._launch, []
def launch_slowly(self, process):
    launch(self, process)
    launched.append(self.pid)
    if len(launched) == 2:
        os.kill(launched[0], int(sys.argv[2]))
        time.sleep(1)
Popen._launch = launch_slowly
if __name__ == "__main__":
    with worker_pool(3, "spawn", time.sleep, 0) as workers:
        workers.submit(os.getpid).result()
"""


def workers_of(pid: int, count: int = 2) -> list[int]:
    """The processes of a step's pool, once all are there: Python's tracker of resources is none."""
    for _ in range(600):
        assert not is_gone(pid), "the step has ended"
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pool = [int(child) for child in children if TRACKER not in Path(f"/proc/{child}/cmdline").read_text()]
        if len(pool) == count:
            return pool
        time.sleep(0.1)
    raise AssertionError("the workers do not start")


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its end yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def start(command, **options) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    ("ended_by", "sentence"),
    [
        (signal.SIGKILL, "a worker process was killed, probably because memory ran out"),
        (signal.SIGSEGV, "a worker process died of SIGSEGV (Segmentation fault)"),
    ],
)
def test_a_worker_that_dies_ends_the_drawing_in_a_sentence(ended_by, sentence, tmp_path):
    with start([*DRAW, "--output", tmp_path / "out"]) as step:
        try:
            os.kill(workers_of(step.pid)[0], ended_by)
            _, said = step.communicate(timeout=60)
        finally:
            step.kill()
    assert step.returncode == 2
    assert said.splitlines()[-1].startswith(f"error: {sentence}") and "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_while_another_starts_is_told_without_a_traceback_of_the_other(ended_by, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ENDED_EARLY)
    command = [sys.executable, script, ROOT / "scripts", str(int(ended_by))]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
    assert said.count("Traceback") == 1 and "FileNotFoundError" not in said
    sentence = "a worker process was killed" if ended_by == signal.SIGKILL else "a worker process died of SIGSEGV"
    assert said.splitlines()[-1].startswith(f"lib.step.errors.UserError: {sentence}")


@pytest.mark.parametrize("command", [DRAW, [sys.executable, "-c", OVER_IMAGES, ROOT / "scripts"]], ids=["draw", "over"])
def test_workers_end_when_their_step_is_killed(command, tmp_path):
    output = ["--output", tmp_path / "out"] if command is DRAW else []
    with start([*command, *output]) as step:
        try:
            workers = workers_of(step.pid)
            time.sleep(3)  # they are past their first line
        finally:
            step.kill()
        assert "resource_tracker" not in step.stderr.read()
    deadline = time.monotonic() + 20
    while not all(map(is_gone, workers)):
        assert time.monotonic() < deadline, "orphans"
        time.sleep(0.1)


def test_a_worker_that_dies_of_a_fault_is_not_told_as_lack_of_memory():
    fault = OVER_IMAGES.replace("time.sleep(100)", "__import__('ctypes').string_at(0)")
    step = subprocess.run([sys.executable, "-c", fault, ROOT / "scripts"], capture_output=True, text=True, timeout=60)
    assert "UserError: a worker process died of SIGSEGV (Segmentation fault)" in step.stderr


def test_a_drawing_leaves_the_environment_as_it_was(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    draw_dataset(tmp_path / "set", 1, 5, width=64, height=64)
    assert "PYTHONWARNINGS" not in os.environ
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    start_silent_tracker()
    assert os.environ["PYTHONWARNINGS"] == "error"
