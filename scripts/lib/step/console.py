"""Where a step's output goes: its own lines to the terminal, everything else (the toolkit's output) to the log.

The toolkit prints from C++ too, so the file descriptors themselves are redirected; worker processes inherit them.
Python and C each keep a buffer of their own in front of a descriptor. In a log both are flushed after each whole line;
otherwise the end of one buffer would cut a line of the other in two.
"""

import codecs
import contextlib
import ctypes
import errno
import io
import os
import select
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

_IOLBF = 1  # glibc's stdio.h
# Set by Snakemake's rules: the terminal then shows only warnings, since many steps write to it at once.
QUIET = "RV1106_QUIET"
_WARNINGS = ("WARNING: ", "warning: ")
_log: Path | None = None
_captured: Path | None = None
_terminal = sys.stderr


def prepare() -> None:
    """Make the standard streams usable: a closed one (`>&-`) writes to /dev/null, and none fails on a character."""
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # an in-memory stream, where a test calls the step as a function
        if codecs.lookup(stream.encoding).name == "ascii":
            # As Python's UTF-8 mode does, which is switched off here.
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
        else:
            stream.reconfigure(errors="backslashreplace")


def open_closed() -> None:
    """Open /dev/null for each standard stream that is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _lead_nowhere(number, name)


def _lead_nowhere(number: int, name: str) -> None:
    """Open /dev/null as file descriptor `number`; otherwise the next file that is opened would get that number."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number)
    if null != number:
        os.close(null)
    os.set_inheritable(number, True)
    setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


def log_to(path: str | None) -> None:
    """Send file descriptors 1 and 2 to the file `path` (emptied first) for the rest of the process.

    `say` and progress bars still reach the terminal. With `path` None nothing changes.
    """
    global _log, _terminal
    if path is None:
        return
    _log = Path(path)
    _log.parent.mkdir(parents=True, exist_ok=True)
    _terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
    _redirect_to(_log)


@contextlib.contextmanager
def captured():
    """Yield a function that returns what the process has printed since, C++ included.

    The output still goes to the log. Where there is no log, it reaches the terminal when this context ends.
    """
    global _captured
    if _log is not None:
        # The caller may have changed its working folder.
        yield partial(_printed, _log.absolute(), _log.stat().st_size)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "printed")
        before = [os.dup(1), os.dup(2)]
        _redirect_to(path)
        _captured = path
        try:
            yield partial(_printed, path, 0)
        finally:
            _captured = None
            _flush()
            for descriptor, saved in enumerate(before, start=1):
                os.dup2(saved, descriptor)
                os.close(saved)
            print(path.read_text(encoding="utf-8", errors="replace"), end="", file=sys.stderr, flush=True)


def _redirect_to(path: Path) -> None:
    """Send file descriptors 1 and 2 to the file `path`, emptied first."""
    _flush()
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    _buffer_c_by_lines("stdout", "stderr")


def _printed(path: Path, start: int) -> str:
    """What has been printed to the file `path` from byte `start` on. Raises OSError when the disk is full."""
    _flush()
    if shutil.disk_usage(path.parent).free == 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    with open(path, "rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def _flush() -> None:
    """Flush the buffers of Python's and C's streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def _buffer_c_by_lines(*streams: str) -> None:
    """Let C's (and so C++'s) `streams` write each line when it is whole, whatever they were set to before."""
    libc = ctypes.CDLL(None)
    for stream in streams:
        file = ctypes.c_void_p.in_dll(libc, stream)
        libc.fflush(file)
        if libc.setvbuf(file, None, _IOLBF, 0):
            raise OSError(f"C's {stream} cannot be buffered by lines")


def nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has exited."""
    try:
        watched = select.poll()
        watched.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))
    except (OSError, ValueError):
        return False


def log_path() -> Path | None:
    """The file that `log_to` chose, or None."""
    return _log


def printed_to() -> Path | None:
    """The file that the process prints to now, or None where that is the terminal."""
    return _log or _captured


def say(message: str, stream=None) -> None:
    """Print one of the step's own lines to the terminal and, if there is one, to the log.

    Under QUIET only warnings reach the terminal, the rest only the log; whoever set it shows how the step ended.
    """
    # A full disk under the log must not hide the message about it; a closed terminal must not stop the work.
    logged = False
    with contextlib.suppress(OSError):
        print(message, file=stream or sys.stdout, flush=True)
        logged = True
    if _log is not None and not (logged and os.environ.get(QUIET) and not message.startswith(_WARNINGS)):
        with contextlib.suppress(OSError):
            print(message, file=_terminal, flush=True)


def terminal():
    """The stream for progress bars: the terminal, even while the log takes everything else; under QUIET none."""
    if os.environ.get(QUIET):
        return Path(os.devnull).open("w", encoding="utf-8")
    return _terminal if _log is not None else sys.stderr
