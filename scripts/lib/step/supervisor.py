"""Runs a step whose native code may die of a signal in a second process, and reports which signal ended it."""

import contextlib
import mmap
import os
import signal
import sys
import tempfile
from pathlib import Path

from lib.step import console
from lib.step.errors import run_step
from lib.step.scratch import scratch_folder
from lib.step.workers import end_with

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)
LAST_LINES = 5
_NOTE_BYTES = 16384
_note: mmap.mmap | None = None


def doing(what: str, after_crash: str = "") -> None:
    """Note what this process does from now on, such as "building model.onnx", in case a signal ends it.

    after_crash: what to say where a fault of the code that does it ends the process.
    """
    if _note is not None:
        lines = what, after_crash, str(console.printed_to() or "")
        text = "\n".join(lines).encode(errors="surrogateescape")[: _NOTE_BYTES - 1]
        _note[: len(text) + 1] = text + b"\0"


def supervise(main) -> int:
    """`run_step(main)` in a second process. Returns its exit code.

    When a signal that was not sent to this process ends the second one, this one says so in one sentence, with the last
    lines that were printed, and returns 2. A signal to this process is passed on, and ends both in the same way.
    """
    global _note
    console.open_closed()
    _note = mmap.mmap(-1, _NOTE_BYTES)
    parent = os.getpid()
    with scratch_folder():
        allowed = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, allowed)
            end_with(parent)
            # Not sys.exit: only the parent may delete the scratch folder.
            os._exit(_run(main))
        status = _wait(child)
        signal.pthread_sigmask(signal.SIG_SETMASK, allowed)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
        ended_by = signal.Signals(os.WTERMSIG(status))
        if ended_by not in FORWARDED:
            console.prepare()
            console.say(f"error: {_obituary(ended_by)}", stream=sys.stderr)
            return 2
    signal.signal(ended_by, signal.SIG_DFL)
    os.kill(parent, ended_by)
    return 128 + ended_by


def _run(main) -> int:
    try:
        return run_step(main)
    except SystemExit as end:  # of argparse, which says why
        sys.stdout.flush()
        sys.stderr.flush()
        return end.code


def _wait(child: int) -> int:
    """Pass signals on to `child` until it has ended, and return its status."""
    while True:
        received = signal.sigwaitinfo({*FORWARDED, signal.SIGCHLD})
        if received.si_signo != signal.SIGCHLD:
            # A terminal signals all of its processes; only a signal that was sent to this one alone is passed on.
            if received.si_code <= 0:
                os.kill(child, received.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status


def _obituary(ended_by: signal.Signals) -> str:
    noted = _note[: _note.find(b"\0")].decode(errors="surrogateescape").split("\n")
    what, after_crash, printed_to = (*noted, "", "")[:3]
    memory = ", probably because memory ran out" if ended_by == signal.SIGKILL else ""
    sentence = f"{ended_by.name} ({signal.strsignal(ended_by)}) ended the step{memory}"
    if what:
        sentence += f" while {what}"
    if after_crash and ended_by in CRASHES:
        sentence += f"; {after_crash}"
        # A file of the scratch folder is deleted with it.
        lost = not printed_to or Path(printed_to).is_relative_to(tempfile.gettempdir())
        sentence += "; --log FILE keeps all that was printed" if lost else f"; all that was printed is in {printed_to}"
    lines = _last_lines(Path(printed_to)) if printed_to else []
    return sentence + (f"; the last lines printed: {' | '.join(lines)}" if lines else "")


def _last_lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-LAST_LINES:]
    return []
