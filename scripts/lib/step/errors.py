"""How a step ends: one clear sentence and a non-zero exit code for a user's mistake, never a traceback."""

import errno
import os
import re
import resource
import signal
import sys
import tempfile
import traceback

from lib.step import console
from lib.step.interrupts import interrupts_raise

# A full disk, a quota, a limit on the size of files.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# How Python, protobuf and the loader of shared objects report that they got no memory.
NO_MEMORY = re.compile(r"alloc|memory|Failed to serialize|map segment", re.IGNORECASE)

# What a shell reports of a command that SIGPIPE ended: `| head -1` has read enough, which is nobody's mistake.
READER_GONE = 128 + signal.SIGPIPE


class UserError(Exception):
    """A user's mistake: the message says what is wrong, where, and what to do."""


class Incomplete(UserError):
    """The model's kind is known, but the user must give one thing more, which the message asks for."""


class ToolkitError(UserError):
    """rknn-toolkit2 refused the model or failed; its output is in the step's log."""


def run_step(main) -> int:
    """Run a step's `main()` and turn its end into an exit code.

    Returns 0 (or what `main` returns), 2 for a `UserError` or what the system refuses (a full disk, a file without read
    permission, no memory), 130 for Ctrl-C, 141 where nobody reads standard output any more, 1 for a bug in this tool.
    With `--log` the traceback of a bug goes to the log, and the terminal gets one sentence that names the log.
    """
    console.prepare()
    interrupts_raise()
    code = _code(main)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _lead_nowhere(stream)
        except OSError:
            # The log's disk is full: Python would try again when it exits, and print an error.
            _lead_nowhere(stream)
            code = code or 2
    return code


def _lead_nowhere(stream) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _code(main) -> int:
    try:
        return main() or 0
    except UserError as error:
        hint = f" (log: {console.log_path()})" if isinstance(error, ToolkitError) and console.log_path() else ""
        console.say(f"error: {error}{hint}", stream=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.say("interrupted", stream=sys.stderr)
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and console.nobody_reads():
            return READER_GONE
        what = f"{error.filename}: " if error.filename else ""
        hint = f"; free some (temporary files go to {tempfile.gettempdir()}, or where TMPDIR says)"
        console.say(
            f"error: {what}{error.strerror or error}{hint if error.errno in FULL else ''}",
            stream=sys.stderr,
        )
        return 2
    except Exception as error:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        allowed = "" if limit == resource.RLIM_INFINITY else f"; ulimit -v allows {limit >> 20} MB of memory"
        if isinstance(error, MemoryError) or (allowed and NO_MEMORY.search(str(error))):
            console.say(f"error: memory ran out ({type(error).__name__}: {error}){allowed}", stream=sys.stderr)
            return 2
        traceback.print_exc()
        if console.log_path():
            console.say(
                f"error: {type(error).__name__}: {error} (a bug in this tool; report it with {console.log_path()}"
                f"{allowed})",
                stream=sys.stderr,
            )
        return 1
