"""Worker processes of a step."""

import ctypes
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from lib.step.errors import UserError

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


def _death_of(workers: list[BaseProcess]) -> str:
    """One sentence about what ended one of `workers`, the processes of a pool that have all ended."""
    signals = sorted({-worker.exitcode for worker in workers if (worker.exitcode or 0) < 0}.difference(_INNOCENT))
    if not signals:
        return WORKER_KILLED
    return f"a worker process died of {signal.Signals(signals[0]).name} ({signal.strsignal(signals[0])})"


@contextmanager
def worker_pool(processes: int, method: str, join, *args) -> Iterator[ProcessPoolExecutor]:
    """An executor with so many workers, all started, that are gone when the context ends.

    method: `fork` or `spawn`. `join(*args)` is called in each worker when it starts. Raises UserError when a worker
    dies. The caller's main thread must open the context.
    """
    started: list[BaseProcess] = []
    workers = ProcessPoolExecutor(
        processes, _recording_context(method, started), initializer=_join, initargs=(os.getpid(), join, args)
    )
    try:
        try:
            for _ in range(processes):
                workers.submit(os.getpid)  # starts one worker, or with `fork` all
            yield workers
        except BrokenProcessPool:
            # The executor ends the workers that it knows, but one that was just starting when another died it does not.
            # That one must end while the executor still has the semaphores that it is about to open.
            for worker in started:
                worker.terminate()
            raise
        finally:
            workers.shutdown(cancel_futures=True)
    except BrokenProcessPool:
        for worker in started:
            worker.join()
        raise UserError(_death_of(started)) from None


def _recording_context(method: str, started: list[BaseProcess]) -> BaseContext:
    """A new context of multiprocessing that adds each process that is made with it to `started`."""
    context = type(get_context(method))()
    make = context.Process

    def process(**kwargs) -> BaseProcess:
        started.append(make(**kwargs))
        return started[-1]

    context.Process = process
    return context


def _join(parent: int, join, args: tuple) -> None:
    end_with(parent)
    join(*args)
