"""Runs one bundle on the board: copies it there, runs it on images, fetches the results, deletes the copies."""

import hashlib
import math
import shlex
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from lib import tasks
from lib.board import program
from lib.board.lines import ImageResult, ProgramOutput, Runtime, demand_whole, read_lines, write_stream
from lib.board.progress import Progress
from lib.board.transport import Adb, CommandResult, Ssh, Unreachable, transport
from lib.bundle.check import CHECKSUMS
from lib.bundle.contract import Contract
from lib.bundle.golden import read_fit
from lib.bundle.layout import from_native
from lib.data.images import read_image
from lib.detector.nms import IOU, MOST
from lib.results.board_results import OutputDifference
from lib.step import console
from lib.step.errors import UserError
from lib.step.files import require, sha256
from lib.step.words import words

BATCH = 16  # images that are copied to the board at once, if they fit; a broken connection loses up to that many
LINE = 40_000  # largest line of an image's boxes, in bytes: 300 detections of about 100 characters
FOLDER = "rv1106-board"
# The vendor's system has its runtime in /oem/usr/lib, which is not in the library path of a shell without login.
LIBRARY_PATH = ".:/oem/usr/lib:$LD_LIBRARY_PATH"


class Settings(NamedTuple):
    """The settings for the board; `board` in config/schema.yaml describes each field."""

    transport: str
    host: str
    options: str
    folder: str
    cc: str
    sdk: str
    runtime: str
    launcher: str
    repeat: int
    timeout: int


class BoardRun(NamedTuple):
    """The board's results for one bundle."""

    runtime: Runtime
    sizes: list[tuple[int, int]]  # width and height of each image
    results: list[ImageResult]
    repeated_us: list[int]
    outputs: list[OutputDifference]
    task: str


def run_bundle(settings: Settings, bundle: Path, contract: Contract, images: list[Path], unfinished: Path) -> BoardRun:
    """Run a bundle, whose contract is `contract`, on `images`.

    `unfinished` is a folder for intermediate results; a later run with the same bundle and images resumes from it.
    Raises program.Refused when the runtime refuses the model, and UserError, in one sentence, for any other failure. In
    any case, the files on the board are deleted if it can be reached.
    """
    spec = contract.output_spec()
    progress = Progress(unfinished, _key(bundle, images), spec)
    board = transport(settings.transport, settings.host, words(settings.options, "board.options"), settings.timeout)
    with tempfile.TemporaryDirectory() as scratch:
        session = _Session(settings, board, bundle, contract, Path(scratch))
        try:
            session.start()
            outputs = session.golden()
            sizes = session.detect(images, progress)
            repeated = session.repeat()
        finally:
            session.end()
    results = [progress.results[path.name] for path in images]
    return BoardRun(session.runtime, [sizes[path.name] for path in images], results, repeated, outputs, spec.task)


def _key(bundle: Path, images: list[Path]) -> str:
    """A checksum of everything that the results of a run depend on."""
    parts = [require(bundle / CHECKSUMS, "a bundle's checksums").read_text(encoding="utf-8")]
    parts += [f"{path.name} {sha256(path)}" for path in images]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _size(image: Path) -> tuple[int, int]:
    height, width = read_image(image).shape[:2]
    return width, height


def _in_order(results: list[ImageResult], batch: list[Path]) -> list[ImageResult]:
    """The results if they are for the first images of the batch; none otherwise."""
    expected = [path.name for path in batch[: len(results)]]
    return results if [result.image for result in results] == expected else []


def make_folder(board: Ssh | Adb, folder: str, inner: str = "") -> None:
    """Make an empty folder on the board, with the folder `inner` in it. Raises UserError when it cannot be made."""
    quoted = shlex.quote(folder)
    done = board.run(f"rm -rf {quoted}; mkdir -p {quoted}/{inner}; exit $?")
    if done.code:
        raise UserError(f"{folder} cannot be made on the board: {done.words.strip()}; set board.folder to another one")


class _Session:
    """The board while one bundle is on it."""

    def __init__(self, settings: Settings, board: Ssh | Adb, bundle: Path, contract: Contract, scratch: Path):
        self.settings, self.board, self.bundle, self.contract, self.scratch = settings, board, bundle, contract, scratch
        self.folder = f"{settings.folder.rstrip('/')}/{FOLDER}"
        self.input_bytes = math.prod(contract.input.shape)
        self.output_bytes = sum(output.bytes for output in contract.outputs)
        self.spec = contract.output_spec()
        part = tasks.get(self.spec.task).bundle
        self.line = LINE + (part.line_bytes(self.spec) * MOST if part else 0)
        self.runtime = None
        self.started = False

    def start(self) -> None:
        """Compile the program and copy it to the board with the model, and with the runtime if one is named."""
        settings = self.settings
        build = self.scratch / "build"
        build.mkdir()
        binary = program.build(self.bundle, self.contract, settings.cc, settings.sdk, bool(settings.runtime), build)
        files = {"detect": binary, "model.rknn": self.bundle / "model.rknn"}
        if settings.runtime:
            files["librknnmrt.so"] = require(Path(settings.runtime).expanduser(), "runtime (board.runtime)")
        make_folder(self.board, self.folder, "raw")
        self.started = True
        needed = sum(path.stat().st_size for path in files.values()) + self.input_bytes + self.output_bytes + self.line
        if (free := self._free()) < needed:
            raise UserError(
                f"{settings.folder} has {free / 1e6:.1f} MB free on the board, but {needed / 1e6:.1f} MB are needed; "
                "free some space, or name another folder in board.folder"
            )
        for name, path in files.items():
            self.board.push(path, f"{self.folder}/{name}")
        self._shell("chmod +x detect")

    def end(self) -> None:
        """Delete the files on the board. If it cannot be reached, the next run deletes them."""
        if self.started:
            try:
                self.board.run(f"rm -rf {shlex.quote(self.folder)}")
            except Unreachable as error:
                console.say(f"{self.folder} is left on the board: {error}")

    def golden(self) -> list[OutputDifference]:
        """Run the model on the golden image and compare the raw outputs with the simulator's."""
        fit = read_fit(self.bundle / "golden", self.contract.input)
        self.board.push(self.bundle / "golden" / "input.rgb", f"{self.folder}/input.rgb")
        width, height = fit.source
        output, result = self._detect(f"--raw raw --image {width}x{height} model.rknn input.rgb")
        self.runtime = output.runtime or self.runtime
        self._demand(output, result)
        differences = []
        for number, tensor in enumerate(self.contract.tensors()):
            simulated = np.fromfile(self.bundle / "golden" / f"output_{number}.bin", np.int8)
            real = np.frombuffer(self.board.pull(f"{self.folder}/raw/0_output_{number}.bin"), np.int8)
            if real.size != simulated.size:
                raise UserError(
                    f"output {number} has {real.size} bytes, but {simulated.size} are expected; run this again"
                )
            stored = [from_native(raw.reshape(tensor.native_shape), tensor.shape[1]) for raw in (simulated, real)]
            apart = np.abs(stored[0].astype(int) - stored[1].astype(int))
            differences.append(OutputDifference(tensor.name, float((apart > 0).mean()), int(apart.max())))
        self._shell("rm -rf raw input.rgb")
        return differences

    def detect(self, images: list[Path], progress: Progress) -> dict[str, tuple[int, int]]:
        """Run the images that `progress` lacks and add their results to it; return each image's width and height."""
        missing = [path for path in images if path.name not in progress.results]
        if len(missing) < len(images):
            console.say(f"{len(images) - len(missing)} of {len(images)} images were already done")
        sizes = {path.name: _size(path) for path in images if path.name in progress.results}
        # Use half of the space, because other programs write there too.
        fitting = max(1, min(BATCH, self._free() // 2 // (self.input_bytes + self.line)))
        with tqdm(total=len(missing), desc="on the board", file=console.terminal(), disable=None) as bar:
            for start in range(0, len(missing), fitting):
                batch = missing[start : start + fitting]
                sizes |= write_stream(batch, self.contract.input, self.scratch / "batch")
                self.board.push(self.scratch / "batch", f"{self.folder}/batch")
                confidence = tasks.get(self.spec.task).confidence
                output, result = self._detect(f"--confidence {confidence:g} --iou {IOU} model.rknn < batch")
                progress.add(in_order := _in_order(output.results, batch))
                self._demand(output, result)
                if output.images != len(batch) or len(in_order) != len(batch):
                    raise UserError(
                        f"the program reported {len(in_order)} of {len(batch)} images, then exited; run this again, "
                        "it resumes"
                    )
                bar.update(len(batch))
        return sizes

    def repeat(self) -> list[int]:
        """Measure consecutive calls of rknn_run on a grey image; return their times in microseconds."""
        if not self.settings.repeat:
            return []
        output, result = self._detect(f"--repeat {self.settings.repeat} model.rknn")
        self._demand(output, result)
        return output.run_us

    def _detect(self, words: str) -> tuple[ProgramOutput, CommandResult]:
        """Run the program with the arguments `words`; return its parsed output, and exit code and standard error."""
        done = self.board.run(
            f"cd {shlex.quote(self.folder)} || exit 1; export LD_LIBRARY_PATH={LIBRARY_PATH}; "
            f"{self.settings.launcher} ./detect {words} > found 2> words; exit $?"
        )
        output = read_lines(self.board.pull(f"{self.folder}/found"), self.spec)
        return output, done._replace(words=self.board.pull(f"{self.folder}/words").decode(errors="replace"))

    def _demand(self, output: ProgramOutput, result: CommandResult) -> None:
        program.demand_success(result, self.contract.platform)
        demand_whole(output)

    def _shell(self, command: str) -> None:
        done = self.board.run(f"cd {shlex.quote(self.folder)} && {command}; exit $?")
        if done.code:
            raise UserError(f"'{command}' failed on the board: {done.words.strip()}")

    def _free(self) -> int:
        """Free bytes in the folder's file system."""
        done = self.board.run(f"df -Pk {shlex.quote(self.folder)}")
        try:
            return int(done.output.split(b"\n")[1].split()[3]) * 1024
        except (ValueError, IndexError):
            raise UserError(
                f"the board's free space cannot be read: {done.words.strip()}; does `df` work there?"
            ) from None
