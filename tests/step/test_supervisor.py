"""A step that a signal ends says which one, while doing what, and what was printed last; it leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from lib.step.interrupts import SCRIPTS, interrupts_end, interrupts_raise

# A step whose "toolkit" prints and then runs the line that a test puts in place of FAULT.
STEP = """
import ctypes, os, sys, time
sys.path.insert(0, sys.argv[1])
from lib.step import console
from lib.step.errors import UserError
from lib.step.supervisor import doing, supervise
def main():
    console.log_to(sys.argv[2] if len(sys.argv) > 2 else None)
    with console.captured():
        doing("building model.onnx", "the toolkit crashed; try another")
        print("layer 7: squeezed bytes overflow", flush=True)
        FAULT
sys.exit(supervise(main))
"""


def start(fault: str, tmp_path, *args) -> subprocess.Popen:
    command = [sys.executable, "-c", STEP.replace("FAULT", fault), ROOT / "scripts", *args]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=as_in_a_terminal
    )


def as_in_a_terminal() -> None:
    """What runs the tests may ignore these signals: nohup, a shell's background job."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(("fault", "name"), [("ctypes.string_at(0)", "SIGSEGV"), ("os.abort()", "SIGABRT")])
@pytest.mark.parametrize("log", [False, True], ids=["terminal", "log"])
def test_a_native_fault_is_one_sentence_and_leaves_nothing(tmp_path, fault, name, log):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    step = start(fault, scratch, *([tmp_path / "log"] if log else []))
    _, printed = step.communicate(timeout=60)
    assert step.returncode == 2
    [sentence] = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert sentence.startswith(f"error: {name} (") and "while building model.onnx" in sentence
    kept = f"all that was printed is in {tmp_path / 'log'}" if log else "--log FILE keeps all that was printed"
    assert f"; the toolkit crashed; try another; {kept}; the last lines printed: " in sentence
    assert sentence.endswith("layer 7: squeezed bytes overflow")
    assert not list(scratch.iterdir())


def test_killed_for_memory_is_told_as_that(tmp_path):
    step = start("os.kill(os.getpid(), 9)", tmp_path)
    _, printed = step.communicate(timeout=60)
    assert step.returncode == 2 and "SIGKILL (Killed) ended the step, probably because memory ran out" in printed
    assert "the toolkit crashed" not in printed


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [("pass", 0, ""), ("raise UserError('no such model')", 2, "error: no such model\n"), ("sys.exit(7)", 7, "")],
)
def test_an_end_without_a_signal_is_the_step_s_own(tmp_path, fault, code, sentence):
    step = start(fault, tmp_path)
    _, printed = step.communicate(timeout=60)
    assert step.returncode == code and printed.endswith(sentence)
    assert "ended the step" not in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_step_ends_it_as_ever_without_orphans(tmp_path, number):
    mark = tmp_path / "mark"
    step = start(f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(100)", tmp_path)
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    step.send_signal(number)
    _, printed = step.communicate(timeout=60)
    assert step.returncode == -number and "error" not in printed
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert list(tmp_path.iterdir()) == [mark]


def test_the_second_process_ends_with_the_first(tmp_path):
    mark = tmp_path / "mark"
    step = start(f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(100)", tmp_path)
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    step.kill()
    step.communicate(timeout=60)
    for _ in range(100):
        try:
            os.kill(int(mark.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("it lives on")


def test_ctrl_c_is_one_word(tmp_path):
    mark = tmp_path / "mark"
    step = start(f"open({str(mark)!r}, 'w').write('here'); time.sleep(100)", tmp_path)
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    step.send_signal(signal.SIGINT)
    _, printed = step.communicate(timeout=60)
    assert step.returncode == 130 and printed.endswith("interrupted\n") and "Traceback" not in printed


@pytest.mark.parametrize(("folder", "ends"), [(SCRIPTS, True), (SCRIPTS.parent / "benchmarks", False)])
def test_ctrl_c_ends_a_step_at_once_until_it_begins(monkeypatch, folder, ends):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(folder / "any.py"), raising=False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupts_end()
        assert (signal.getsignal(signal.SIGINT) == signal.SIG_DFL) == ends
        interrupts_raise()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
        interrupts_end()
        interrupts_raise()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
