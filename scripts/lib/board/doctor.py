"""Examines a board without a model, and gives advice: which toolkit to choose, what to stop, what to replace."""

import json
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib import bundle
from lib.board.program import demand_compiled, demand_tools
from lib.board.run import FOLDER, LIBRARY_PATH, Settings, make_folder
from lib.board.transport import Adb, Ssh, last_line, transport
from lib.npu.timing import CLOCKS
from lib.npu.toolkit import PLATFORMS
from lib.npu.toolkit_versions import DEFAULT, VERSIONS, version_for
from lib.step.errors import UserError
from lib.step.files import require
from lib.step.typed_json import JsonRecord
from lib.step.words import words

_HERE = Path(__file__).parent
_MARK = re.compile(rb"librknnmrt version: (\d[\x20-\x28\x2a-\x7e]*\)?)")
ARCHIVE = Path("armhf-uclibc", "librknnmrt.a")  # in the SDK; the bundle's Makefile says the same


@dataclass(frozen=True)
class BoardFacts(JsonRecord):
    """The line that about_board.h prints (see there for the fields); unknown values are None."""

    runtime: str | None
    libraries: tuple[tuple[str, str], ...]  # path and version
    driver: str | None
    npu_mhz: int | None
    chip: str | None
    board: str | None
    cma_total_kb: int | None
    cma_free_kb: int | None
    holders: tuple[tuple[str, int, int, int], ...]  # program, pid, holds the camera, holds the NPU

    @property
    def platform(self) -> str | None:
        """The config's `platform` for the chip; None for any other chip."""
        names = [name for name in PLATFORMS if (self.chip or "").startswith(name)]
        return max(names, key=len, default=None)


def examine(settings: Settings) -> BoardFacts:
    """Compile about_board.c for the board, run it there and delete it from the board.

    Raises UserError, in one sentence, for any failure.
    """
    board = transport(settings.transport, settings.host, words(settings.options, "board.options"), settings.timeout)
    with tempfile.TemporaryDirectory() as scratch:
        program = _compiled(settings.cc, Path(scratch))
        folder = f"{settings.folder.rstrip('/')}/{FOLDER}"
        make_folder(board, folder)
        try:
            board.push(program, f"{folder}/about")
            return _asked(board, folder, settings.launcher)
        finally:
            board.run(f"rm -rf {shlex.quote(folder)}")


def _compiled(cc: str, scratch: Path) -> Path:
    demand_tools(cc)
    shutil.copyfile(_HERE / "about_board.c", scratch / "about_board.c")
    command = [*words(cc, "board.cc"), "-std=c99", "-O2", f"-I{bundle.HERE}", "about_board.c", "-o", "about"]
    demand_compiled(subprocess.run(command, cwd=scratch, capture_output=True, encoding="utf-8", errors="replace"), cc)
    return scratch / "about"


def _asked(board: Ssh | Adb, folder: str, launcher: str) -> BoardFacts:
    done = board.run(
        f"cd {shlex.quote(folder)} && chmod +x about && export LD_LIBRARY_PATH={LIBRARY_PATH} && {launcher} ./about; "
        "exit $?"
    )
    if done.code:
        raise UserError(
            f"the board cannot start the program: {last_line(done.words)}; board.cc must be the compiler of the "
            "board's SDK, for its C library, and board.folder must not be mounted noexec"
        )
    # The shell may have printed something when it started.
    line = next((line for line in reversed(done.output.splitlines()) if line.startswith(b"{")), b"")
    try:
        return BoardFacts.from_json(json.loads(line), "the board's description of itself")
    except ValueError:
        raise UserError(
            f"the board's description of itself is not valid JSON: '{line[:60].decode(errors='replace')}'"
        ) from None


def runtime_version(path: Path) -> str | None:
    """The version of a runtime in a file (librknnmrt.so, librknnmrt.a); None if the file is not a runtime."""
    match = _MARK.search(require(path, "runtime").read_bytes())
    return match[1].decode("ascii").strip() if match else None


def own_runtime(settings: Settings) -> tuple[str, str] | None:
    """The runtime of the config, which programs use instead of the board's: (origin, version), or None.

    Raises UserError when a named file is not a runtime for these chips.
    """
    if settings.runtime:
        path, where = Path(settings.runtime).expanduser(), f"board.runtime, {settings.runtime},"
    elif settings.sdk and (Path(settings.sdk).expanduser() / ARCHIVE).is_file():
        path, where = Path(settings.sdk).expanduser() / ARCHIVE, "board.sdk, which goes into the program,"
    else:
        return None
    version = runtime_version(path)
    if version is None:
        raise UserError(
            f"{path} has no version, so it is not a runtime for these chips; use librknnmrt from Rockchip's SDK"
        )
    return where, version


def advice(facts: BoardFacts, own: tuple[str, str] | None = None) -> list[str]:
    """Describe the board and say what to do before it gets a model, in sentences. `own`: from `own_runtime`."""
    return [_summary(facts), *_chip(facts), *_runtime(facts, own), *_holders(facts), *_memory(facts), *_clock(facts)]


def _summary(facts: BoardFacts) -> str:
    free, total = (None if kb is None else f"{kb / 1024:.1f}" for kb in (facts.cma_free_kb, facts.cma_total_kb))
    parts = [
        f"chip {facts.chip or 'not known'}",
        f"NPU driver {facts.driver or 'not known'}",
        f"NPU at {facts.npu_mhz} MHz" if facts.npu_mhz else "NPU clock not known",
        f"CMA {free} MB free of {total} MB" if free and total else "CMA not known",
    ]
    return f"{facts.board or 'the board'}: {', '.join(parts)}."


def _chip(facts: BoardFacts) -> list[str]:
    if facts.platform:
        return [f"Choose: platform: {facts.platform}."]
    if facts.chip:
        return [f"The chip calls itself {facts.chip}, which is none of {', '.join(PLATFORMS)}; no model runs there."]
    return []


def _runtime(facts: BoardFacts, own: tuple[str, str] | None) -> list[str]:
    sentences = [f"{path} is runtime {version}." for path, version in facts.libraries]
    if facts.driver is None:
        sentences.append(
            "The NPU's driver does not answer: load it (insmod rknpu.ko, on LuckFox in /oem/usr/ko), as root, and run "
            "this again."
        )
    if own:
        where, version = own
    elif facts.libraries:
        # A program without a library path uses the first one.
        where, version = facts.libraries[0]
    else:
        return [
            *sentences,
            "There is no librknnmrt.so on the board: link the SDK's archive librknnmrt.a to your program, as a "
            "bundle's Makefile does, or put a librknnmrt.so there (board.runtime).",
        ]
    sentences.append(_choice(where, version))
    if not own and len({version for _, version in facts.libraries}) > 1:
        sentences.append(
            f"Replace: the runtimes differ; keep one of them, or programs may start with another than {where}."
        )
    return sentences


def _choice(where: str, version: str) -> str:
    """The advice which toolkit to choose for programs that use the runtime `version` from `where`."""
    number = version.split()[0]
    chosen = version_for(version)
    if chosen is None:
        return (
            f"Replace: {where} is runtime {number}, which reads models of toolkit {number} and older, and the oldest "
            f"here is {VERSIONS[0]}: link librknnmrt.a from {DEFAULT}'s SDK into your program, as a bundle's Makefile "
            "does, or put that SDK's librknnmrt.so there (board.runtime)."
        )
    if chosen == DEFAULT:
        return f"Choose: toolkit: {chosen}, the default; {where} is runtime {number}, which reads its models."
    return (
        f"Choose: toolkit: {chosen}; {where} is runtime {number}, which reads no newer models. To stay with {DEFAULT}, "
        "link the librknnmrt.a from its SDK into your program, as a bundle's Makefile does."
    )


def _holders(facts: BoardFacts) -> list[str]:
    sentences = []
    for name, pid, camera, npu in facts.holders:
        held = " and ".join(what for what, holds in (("the camera", camera), ("the NPU", npu)) if holds)
        how = "RkLunch-stop.sh (LuckFox)" if name == "rkipc" else f"kill {pid}"
        sentences.append(f"Stop: {name} (process {pid}) uses {held} and memory of the CMA: {how}.")
    return sentences


def _memory(facts: BoardFacts) -> list[str]:
    if facts.cma_free_kb is None:
        return ["The kernel has no CMA (no CmaFree in /proc/meminfo), from which the NPU's memory is taken."]
    left = " once the programs above are stopped" if facts.holders else ""
    free = facts.cma_free_kb // 1024
    # While a camera program runs, the free memory does not include its buffers.
    camera = " and verdict.camera_mb: 0" if any(holds_camera for _, _, holds_camera, _ in facts.holders) else ""
    return [f"Set verdict.cma_mb: {free}{camera}, what is free now{f' (more{left}: run this again)' if left else ''}."]


def _clock(facts: BoardFacts) -> list[str]:
    if not facts.npu_mhz or facts.npu_mhz == CLOCKS.get(facts.platform):
        return []
    return [f"Set verdict.clock_mhz: {facts.npu_mhz}; the estimated times then are this board's."]
