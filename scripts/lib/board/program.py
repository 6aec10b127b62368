"""The program that runs a bundle's model on the board: cross-compiles it, and interprets its exit code and errors."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from lib.board.transport import CommandResult, last_line
from lib.bundle import BOARD_PROGRAM, headers
from lib.bundle.contract import Contract
from lib.step.errors import UserError
from lib.step.files import require

# Exit codes, as in detect.c.
MODEL_REFUSED = 3
KILLED = (128 + 9, 9)
_RUNTIME_ERROR = re.compile(r"^E RKNN: (?:\[[\d:.]+\] )?(.*)", re.M)


class Refused(UserError):
    """The board's runtime refuses the model; the message is the runtime's own."""


def build(bundle: Path, contract: Contract, cc: str, sdk: str, shared: bool, folder: Path) -> Path:
    """Compile detect.c of a bundle in the empty `folder`; return the program's path.

    `sdk` is the folder of Rockchip's runtime (librknn_api); `shared` links the runtime dynamically. Raises UserError
    when there is no compiler or no runtime, or, with the compiler's first error, when the program does not compile.
    """
    demand_tools(cc, "make")
    if not sdk:
        raise UserError(
            "board.sdk is empty: set it to the folder with Rockchip's runtime for the board, "
            "rknpu2/runtime/Linux/librknn_api of rknn-toolkit2"
        )
    for name in (*BOARD_PROGRAM, *headers(contract.output_spec()), "model.h"):
        shutil.copyfile(require(bundle / name, "a bundle's file"), folder / name)
    command = ["make", "-C", str(folder), f"CC={cc}", f"SDK={Path(sdk).expanduser().resolve()}"]
    done = subprocess.run(
        [*command, *(["SHARED=1"] if shared else [])], capture_output=True, encoding="utf-8", errors="replace"
    )
    demand_compiled(done, cc)
    return folder / "detect"


def demand_tools(cc: str, *others: str) -> None:
    """Raise UserError when the compiler of the command `cc` or one of the `others` is not installed on this machine."""
    for name in (*others, shlex.split(cc)[0] if cc.strip() else "cc"):
        if not shutil.which(name):
            raise UserError(
                f"there is no program '{name}' on this machine; install it, or name the board's compiler in board.cc"
            )


def demand_compiled(done: subprocess.CompletedProcess, cc: str) -> None:
    """Raise UserError with the first error of a compiler that did not succeed."""
    if done.returncode:
        complaint = next(
            (line for line in done.stderr.splitlines() if re.search(r"error|cannot find|\*\*\*", line)),
            last_line(done.stderr),
        )
        raise UserError(f"the board's program does not compile with '{cc}': {complaint.strip()}")


def runtime_words(words: str) -> str:
    """The runtime's own error lines; empty when there are none."""
    return "; ".join(dict.fromkeys(line.strip() for line in _RUNTIME_ERROR.findall(words)))


def demand_success(result: CommandResult, platform: str) -> None:
    """Check the program's exit code; `result.words` is its standard error.

    Raises Refused for a model that the runtime refuses, and UserError, in one sentence, for any other failure.
    """
    if result.code == 0:
        return
    ours = re.search(r"^detect: (.*)", result.words, re.M)
    reason = ours[1].strip() if ours else last_line(result.words)
    runtime = runtime_words(result.words)
    if other := re.search(r"required\W[^;]*?\b(rv\d+\w*)", result.words, re.I):
        raise UserError(
            f"the chip calls itself {other[1].lower()}, but the model was built for {platform}: {runtime or reason}; "
            "set platform to that chip and build again"
        )
    if result.code == MODEL_REFUSED:
        raise Refused(runtime or reason)
    if result.code in KILLED:
        raise UserError(
            "the program was killed on the board (signal 9), probably because memory ran out; its detections are "
            "kept: stop other programs there and run this again"
        )
    if re.search(r"librknnmrt.*(cannot open|not found|No such)|can't load library.*librknnmrt", result.words):
        raise UserError(
            "the board has no librknnmrt.so where the program looks; name one of that version in board.runtime"
        )
    if result.code == 126 and "ermission denied" in result.words:
        raise UserError(
            "the board cannot run programs from there (perhaps a file system mounted noexec); name another "
            "folder in board.folder"
        )
    if result.code in (126, 127):
        raise UserError(
            f"the board cannot start the program: {reason}; board.cc must be the compiler of its SDK, for its C library"
        )
    raise UserError(f"on the board: {reason}" + (f" ({runtime})" if runtime else ""))
