"""Bundle programs with the stub runtime (c/rknnmrt.c), and models for given detections, made without the toolkit."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_library import SANITIZERS
from conftest import ROOT
from random_models import Case

from lib.bundle import BOARD_PROGRAM, CAMERA_PROGRAM, DECODER, HERE, headers
from lib.bundle.model_h import model_h
from lib.bundle.program import FLAGS
from lib.data.imgsz import ImageSize
from lib.detector.families.distances import Distances
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnTensor

SOURCES = ROOT / "tests" / "bundle" / "c"
ARM = "arm-linux-gnueabihf-gcc"
STRIDES = (8, 16, 32)


def drawn_case(imgsz: ImageSize, classes: int, table: np.ndarray | None = None) -> Case:
    """A model of the family distances whose outputs hold the detections of `table`.

    `table` [n, 6] is class, score, x1, y1, x2, y2 in input pixels. Each row is told at the cell of stride 8 below its
    middle, as INT8 can tell it: sides to 0.8 px, scores to 1/255.
    """
    spec = OutputSpec(imgsz, SPLIT, Distances(), classes)
    tensors, stored = [], []
    for output in spec.maps():
        shape = output.shape(imgsz)
        native = (1, -(-shape[1] // 16), *shape[2:], 16)
        scale = 0.1 if output.role == "box" else float(np.float32(1 / 255))
        tensors.append(RknnTensor(output.name, shape, native, "int8", float(np.float32(scale)), -128))
        stored.append(np.full(shape, -128, np.int8))
    for kind, score, *corners in table if table is not None else []:
        x1, y1, x2, y2 = np.array(corners) / STRIDES[0]
        column, row = int((x1 + x2) / 2), int((y1 + y2) / 2)
        sides = np.array([column + 0.5 - x1, row + 0.5 - y1, x2 - column - 0.5, y2 - row - 0.5])
        stored[0][0, :, row, column] = np.clip(np.rint(sides / 0.1) - 128, -128, 127)
        stored[1][0, int(kind), row, column] = np.clip(np.rint(score * 255) - 128, -128, 127)
    return Case(spec, tensors, stored)


def fnv(data: bytes) -> str:
    """The FNV-1a hash of bytes, 64 bits, in hex: the stub's names for models and inputs."""
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 & (1 << 64) - 1
    return f"{value:016x}"


class StubModel:
    """A folder with a model's files and programs, and the stub's data for it in `answers`."""

    def __init__(self, folder: Path, answers: Path, case: Case, name: str = "m", row: int = 16):
        self.folder, self.case, self.contract = folder, case, case.contract(name)
        folder.mkdir(parents=True)
        for file in (*headers(case.spec), DECODER, *BOARD_PROGRAM, *CAMERA_PROGRAM):
            shutil.copy(HERE / file, folder)
        (folder / "model.h").write_text(model_h(self.contract))
        model = (name.encode() * 5000)[:5000]  # nothing looks into it
        (folder / "model.rknn").write_bytes(model)
        self.answers = answers / fnv(model[-4096:])
        self.answers.mkdir(parents=True)
        width, height = case.spec.imgsz
        self.lines = {"version": "2.3.2 (a stub)", "driver": "0.9.2", "input": f"{height} {width} {width + row}"}
        self.tell()

    def tell(self, scale: float = 1.0, outputs: int | None = None, **lines: str) -> None:
        """Write the stub's data about the model, with lines added or changed, and its scales times a factor."""
        text = "".join(f"{name} {value}\n" for name, value in (self.lines | lines).items())
        for tensor in self.case.tensors[:outputs]:
            _, c1, height, width, c2 = tensor.native_shape
            text += f"output {c1} {height} {width} {c2} {tensor.zero_point} {tensor.scale * scale:.9g} {width}\n"
        (self.answers / "tensors").write_text(text)

    def answer(self, fitted: np.ndarray | None, case: Case) -> None:
        """Set the outputs of `case` as the answer to an input, or (None) to any unknown input."""
        name = "any" if fitted is None else fnv(fitted.tobytes())
        (self.answers / name).write_bytes(b"".join(native.tobytes() for native in case.natives()))


def run_readme_example(text: str, model: "StubModel", folder: Path) -> list[str]:
    """The lines that a README's C example prints, built in `folder` with strict flags, on a black NV12 frame."""
    (folder / "example.c").write_text(text.split("```c\n")[1].split("```")[0])
    build(folder / "example", "cc", f"-I{model.folder}", folder / "example.c", model.folder / "detector.c",
          flags=("-Wpedantic", *SANITIZERS))  # fmt: skip
    frame = np.zeros(640 * 480 * 3 // 2, np.uint8)
    done = subprocess.run([folder / "example"], cwd=model.folder, input=frame.tobytes(), capture_output=True,
                          env={"RKNN_STUB": str(model.answers.parent)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def build(output: Path, cc: str, *arguments, flags=()) -> None:
    """Compile a program with the stub runtime."""
    if not shutil.which(cc):
        pytest.skip(f"needs a C compiler ({cc})")
    command = [cc, *FLAGS, *flags, f"-I{SOURCES}", *arguments, SOURCES / "rknnmrt.c", "-o", output]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
