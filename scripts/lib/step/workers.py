"""Worker processes of a step."""

import ctypes
import os
import signal

WORKER_KILLED = "a worker process was killed, probably because memory ran out; use fewer --processes"
_PR_SET_PDEATHSIG = 1  # Linux's sys/prctl.h


def end_with(parent: int) -> None:
    """Let the system kill this process when `parent`, which started it, ends: whatever ends it, it leaves no orphans.

    To be called at a worker's start, by one that the parent's main thread started.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)
