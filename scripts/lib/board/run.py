"""One bundle on the board: sent there, run over images, results fetched, board cleaned up."""

import hashlib
import shlex
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from lib.board import program
from lib.board.lines import Found, Printed, demand_whole, read_lines, write_stream
from lib.board.progress import Progress
from lib.board.transport import Adb, Ended, Ssh, Unreachable, transport
from lib.bundle.check import CHECKSUMS
from lib.bundle.contract import outputs_of
from lib.bundle.golden import read_fit
from lib.bundle.layout import from_native
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.detector.nms import CONFIDENCE, IOU
from lib.step import console
from lib.step.errors import UserError
from lib.step.files import require, sha256

BATCH = 16  # images that are put there at once, where there is space: what a cut connection loses
LINE = 40_000  # bytes that an image's results may take: 300 detections of some 100 characters
FOLDER = "rv1106-board"


class Settings(NamedTuple):
    """How to reach and use the board; the config's `board` says what each is."""

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


class Differences(NamedTuple):
    """One output for the golden image, the board's bytes beside the simulator's, without the padding."""

    name: str
    share: float  # of bytes that differ, 0..1
    largest: int  # in steps of the output's scale


class Ran(NamedTuple):
    """What the board told of one bundle."""

    runtime: dict  # runtime, driver, init_us
    sizes: list[tuple[int, int]]  # width and height of each image
    found: list[Found]
    repeated_us: list[int]
    outputs: list[Differences]


def run_bundle(settings: Settings, bundle: Path, agreed: dict, images: list[Path], unfinished: Path) -> Ran:
    """Run a bundle with the contract `agreed` over `images`.

    `unfinished` is a folder for what is found on the way; a later run with the same bundle and images goes on there.
    Raises program.Refused when the board does not take the model, and UserError, in one sentence, for whatever else
    goes wrong; what is on the board is cleared away if it can be reached.
    """
    progress = Progress(unfinished, _key(bundle, images))
    board = transport(settings.transport, settings.host, shlex.split(settings.options), settings.timeout)
    with tempfile.TemporaryDirectory() as scratch:
        session = _Session(settings, board, bundle, agreed, Path(scratch))
        try:
            session.start()
            outputs = session.golden()
            sizes = session.detect(images, progress)
            repeated = session.repeat()
        finally:
            session.end()
    found = [progress.found[path.name] for path in images]
    return Ran(session.runtime, [sizes[path.name] for path in images], found, repeated, outputs)


def _key(bundle: Path, images: list[Path]) -> str:
    """What a run's results depend on."""
    parts = [require(bundle / CHECKSUMS, "a bundle's checksums").read_text()]
    parts += [f"{path.name} {sha256(path)}" for path in images]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _size(image: Path) -> tuple[int, int]:
    height, width = read_image(image).shape[:2]
    return width, height


def _in_order(found: list[Found], batch: list[Path]) -> list[Found]:
    """The results when they are of the first images of the batch; none when they are of others."""
    return found if [each.image for each in found] == [path.name for path in batch][: len(found)] else []


class _Session:
    """The board while one bundle is on it."""

    def __init__(self, settings: Settings, board: Ssh | Adb, bundle: Path, agreed: dict, scratch: Path):
        self.settings, self.board, self.bundle, self.agreed, self.scratch = settings, board, bundle, agreed, scratch
        self.folder = f"{settings.folder.rstrip('/')}/{FOLDER}"
        self.imgsz = ImageSize(agreed["input"]["width"], agreed["input"]["height"])
        self.input_bytes = int(np.prod(agreed["input"]["shape"]))
        self.output_bytes = sum(each["bytes"] for each in agreed["outputs"])
        self.runtime = {}
        self.started = False

    def start(self) -> None:
        """Compile the program and put it there with the model, and with the runtime if one is named."""
        settings = self.settings
        build = self.scratch / "build"
        build.mkdir()
        binary = program.build(self.bundle, settings.cc, settings.sdk, bool(settings.runtime), build)
        files = {"detect": binary, "model.rknn": self.bundle / "model.rknn"}
        if settings.runtime:
            files["librknnmrt.so"] = require(Path(settings.runtime).expanduser(), "runtime (board.runtime)")
        quoted = shlex.quote(self.folder)
        done = self.board.run(f"rm -rf {quoted}; mkdir -p {quoted}/raw; exit $?")
        if done.code:
            raise UserError(f"{self.folder} cannot be made on the board: {done.words.strip()}; see board.folder")
        self.started = True
        needed = sum(path.stat().st_size for path in files.values()) + self.input_bytes + self.output_bytes + LINE
        if (free := self._free()) < needed:
            raise UserError(
                f"{settings.folder} has {free / 1e6:.1f} MB free on the board, {needed / 1e6:.1f} MB are needed; make "
                "room, or name another folder in board.folder"
            )
        for name, path in files.items():
            self.board.push(path, f"{self.folder}/{name}")
        self._shell("chmod +x detect")

    def end(self) -> None:
        """Clear the board; when it is out of reach, what is there is cleared by the next run."""
        if self.started:
            try:
                self.board.run(f"rm -rf {shlex.quote(self.folder)}")
            except Unreachable as error:
                console.say(f"{self.folder} is left on the board: {error}")

    def golden(self) -> list[Differences]:
        """Run the bundle's golden image and compare the raw outputs with the simulator's."""
        fit = read_fit(self.bundle / "golden", self.imgsz)
        self.board.push(self.bundle / "golden" / "input.rgb", f"{self.folder}/input.rgb")
        width, height = fit.source
        printed, ended = self._detect(f"--raw raw --image {width}x{height} model.rknn input.rgb")
        self.runtime = printed.runtime or self.runtime
        self._demand(printed, ended)
        differences = []
        for number, tensor in enumerate(outputs_of(self.agreed)):
            simulated = np.fromfile(self.bundle / "golden" / f"output_{number}.bin", np.int8)
            told = np.frombuffer(self.board.pull(f"{self.folder}/raw/0_output_{number}.bin"), np.int8)
            if told.size != simulated.size:
                raise UserError(
                    f"output {number} came as {told.size} bytes, {simulated.size} are expected; run this again"
                )
            stored = [from_native(each.reshape(tensor.native_shape), tensor.shape[1]) for each in (simulated, told)]
            apart = np.abs(stored[0].astype(int) - stored[1].astype(int))
            differences.append(Differences(tensor.name, float((apart > 0).mean()), int(apart.max())))
        self._shell("rm -rf raw input.rgb")
        return differences

    def detect(self, images: list[Path], progress: Progress) -> dict[str, tuple[int, int]]:
        """Run over the images that `progress` lacks, and add what is found; returns the size of each image."""
        missing = [path for path in images if path.name not in progress.found]
        if len(missing) < len(images):
            console.say(f"{len(images) - len(missing)} of {len(images)} images were done before")
        sizes = {path.name: _size(path) for path in images if path.name in progress.found}
        # Half of the space: others write there too.
        fitting = max(1, min(BATCH, self._free() // 2 // (self.input_bytes + LINE)))
        with tqdm(total=len(missing), desc="on the board", file=console.terminal(), disable=None) as bar:
            for start in range(0, len(missing), fitting):
                batch = missing[start : start + fitting]
                sizes |= write_stream(batch, self.imgsz, self.scratch / "batch")
                self.board.push(self.scratch / "batch", f"{self.folder}/batch")
                printed, ended = self._detect(f"--confidence {CONFIDENCE} --iou {IOU} model.rknn < batch")
                progress.add(in_order := _in_order(printed.found, batch))
                self._demand(printed, ended)
                if printed.images != len(batch) or len(in_order) != len(batch):
                    raise UserError(
                        f"the program told of {len(in_order)} of {len(batch)} images and ended; run this again, "
                        "it goes on there"
                    )
                bar.update(len(batch))
        return sizes

    def repeat(self) -> list[int]:
        """Times of rknn_run in microseconds, one behind the other, on a grey image."""
        if not self.settings.repeat:
            return []
        printed, ended = self._detect(f"--repeat {self.settings.repeat} model.rknn")
        self._demand(printed, ended)
        return printed.run_us

    def _detect(self, words: str) -> tuple[Printed, Ended]:
        """Start the program with `words`; what it printed, and how it ended with its standard error."""
        # /oem/usr/lib is where the vendor's system has its runtime; a shell that nobody logs in to does not know it.
        done = self.board.run(
            f"cd {shlex.quote(self.folder)} || exit 1; export LD_LIBRARY_PATH=.:/oem/usr/lib:$LD_LIBRARY_PATH; "
            f"{self.settings.launcher} ./detect {words} > found 2> words; exit $?"
        )
        printed = read_lines(self.board.pull(f"{self.folder}/found"))
        return printed, done._replace(words=self.board.pull(f"{self.folder}/words").decode(errors="replace"))

    def _demand(self, printed: Printed, ended: Ended) -> None:
        program.demand_success(ended, self.agreed["platform"])
        demand_whole(printed)

    def _shell(self, command: str) -> None:
        done = self.board.run(f"cd {shlex.quote(self.folder)} && {command}; exit $?")
        if done.code:
            raise UserError(f"'{command}' failed on the board: {done.words.strip()}")

    def _free(self) -> int:
        """Bytes that are free in the folder's file system."""
        done = self.board.run(f"df -Pk {shlex.quote(self.folder)}")
        try:
            return int(done.output.split(b"\n")[1].split()[3]) * 1024
        except (ValueError, IndexError):
            raise UserError(f"the board does not tell its free space: {done.words.strip()}") from None
