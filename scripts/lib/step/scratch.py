"""A folder for temporary files that goes with the process, whatever ends it."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path


@contextlib.contextmanager
def scratch_folder():
    """Give a new folder, which all temporary files go to meanwhile.

    A second process waits for the end of this one and of those that it starts, and then deletes the folder: a handler
    of signals would wait for the toolkit's C++, and SIGKILL has none.
    """
    before = tempfile.tempdir
    folder = tempfile.mkdtemp()
    ended, alive = os.pipe()
    # The second process never gets them: no signal that ends this one, or all of a terminal's or a job's, ends it too.
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
    """Delete `folder` when nobody holds the other end of the pipe `ended` any more; does not return."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.read(ended, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
