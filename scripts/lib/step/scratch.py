"""A folder for temporary files that is deleted when the process ends, whatever ends it."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path


@contextlib.contextmanager
def scratch_folder():
    """Yield a new folder, which all temporary files go to while the context is open.

    A second process waits for the end of this one and of those that this one starts, and then deletes the folder: a
    signal handler would have to wait for the toolkit's C++ code, and SIGKILL cannot be handled.
    """
    before = tempfile.tempdir
    folder = tempfile.mkdtemp()
    ended, alive = os.pipe()
    # The second process blocks them: a signal to this process, or to all of a terminal or job, must not end it too.
    allowed = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    keeper = os.fork()
    if keeper == 0:
        os.close(alive)
        _keep(ended, folder)
    os.setpgid(keeper, keeper)
    signal.pthread_sigmask(signal.SIG_SETMASK, allowed)
    os.close(ended)
    tempfile.tempdir = folder
    try:
        yield Path(folder)
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
        os.close(alive)
        os.waitpid(keeper, 0)


def _keep(ended: int, folder: str) -> None:
    """Delete `folder` once no process holds the other end of the pipe `ended` any more; does not return."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.read(ended, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
