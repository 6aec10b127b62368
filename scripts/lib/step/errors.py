"""How a step ends: one clear sentence and a non-zero exit code for a user's mistake, never a traceback."""

import errno
import os
import sys
import tempfile
import traceback

from lib.step import console

# A full disk, a quota, a limit on the size of files.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """A user's mistake: the message says what is wrong, where, and what to do."""


class Incomplete(UserError):
    """A model is of a known kind, and takes one thing more from the user, which the message asks for."""


class ToolkitError(UserError):
    """rknn-toolkit2 refused or broke; its output is in the step's log."""


def run_step(main) -> int:
    """Run a step's `main()` and turn its end into an exit code.

    Returns 0 (or what `main` returns), 2 for a `UserError` or what the system refuses (a full disk, a file that may not
    be read), 130 for Ctrl-C, 1 for a bug of ours. With `--log` the traceback of the last kind goes to the log, and
    the terminal gets one sentence that names it.
    """
    console.prepare()
    code = _code(main)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The disk of the log is full: Python would try once more at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or 2
    return code


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
        what = f"{error.filename}: " if error.filename else ""
        hint = f"; free some (temporary files go to {tempfile.gettempdir()}, or where TMPDIR says)"
        console.say(
            f"error: {what}{error.strerror or error}{hint if error.errno in FULL else ''}",
            stream=sys.stderr,
        )
        return 2
    except Exception as error:
        traceback.print_exc()
        if console.log_path():
            console.say(
                f"error: {type(error).__name__}: {error} (a bug in this tool; report it with {console.log_path()})",
                stream=sys.stderr,
            )
        return 1
