"""Worker processes of a step."""

import ctypes
import os
import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

WORKER_KILLED = "a worker process was killed, probably because memory ran out; use fewer --processes"
# What ends a worker that did nothing wrong: memory ran out, or another worker's end closed the pool.
_INNOCENT = (signal.SIGKILL, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # Linux's sys/prctl.h


def end_with(parent: int) -> None:
    """Let the system kill this process when `parent`, which started it, ends, so that no orphan is left.

    To be called when a worker starts; the parent's main thread must have started it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def start_silent_tracker() -> None:
    """Start the process in which Python clears away the semaphores that a signal leaves, without its warning.

    Only the tracker gets the setting: the workers, and what else this process starts, have the user's environment.
    """
    given = os.environ.get("PYTHONWARNINGS")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    try:
        resource_tracker.ensure_running()
    finally:
        if given is None:
            del os.environ["PYTHONWARNINGS"]


def death_of(workers: list[BaseProcess]) -> str:
    """One sentence about what ended one of `workers`, the processes of a pool that have all ended."""
    signals = sorted({-worker.exitcode for worker in workers if (worker.exitcode or 0) < 0}.difference(_INNOCENT))
    if not signals:
        return WORKER_KILLED
    return f"a worker process died of {signal.Signals(signals[0]).name} ({signal.strsignal(signals[0])})"
