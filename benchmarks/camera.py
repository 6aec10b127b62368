"""Count the ARM instructions of a camera program: the letterbox per format, and a frame without rknn_run.

    python benchmarks/camera.py

Needs arm-linux-gnueabihf-gcc, qemu-arm and cc. qemu-arm runs the programs with a plugin that counts instructions
(count_instructions.c). Each figure is the difference of two runs, so that the start and end of a program do not count.
The instructions of the stub runtime in rknn_run are measured separately and subtracted. An instruction is not a cycle:
caches and waiting for memory are not included.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests"), str(ROOT / "tests" / "bundle")]

from stub_board import ARM, SOURCES, StubModel, build, drawn_case

from lib.bundle import HERE
from lib.data.imgsz import ImageSize
from lib.data.input_form import Place

FLAGS = {"-O2": ("-O2",), "-O3, NEON": ("-O3", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4")}
FRAMES = [("rgb", 0, 1920, 1080), ("nv12", 3, 1920, 1080), ("nv12", 3, 2304, 1296), ("nv12", 3, 1280, 720),
          ("nv12", 3, 640, 480), ("yuyv", 5, 640, 480)]  # fmt: skip
OBJECTS = 12


def count(plugin: Path, command: list, **options) -> int:
    """The number of instructions that a program executes."""
    done = subprocess.run(
        ["qemu-arm", "-plugin", plugin, *map(str, command)], capture_output=True, check=True, **options
    )
    return int(done.stderr.decode().rsplit(" instructions", 1)[0].split()[-1])


def letterbox(folder: Path, plugin: Path) -> None:
    """Millions of instructions to fill a square input, or a cropped one, by frame and compiler flags."""
    columns = [(320, "centre"), (640, "centre"), (224, "crop")]
    print("| frame | " + " | ".join(f"{side} {place}, {name}" for side, place in columns for name in FLAGS) + " |")
    for name in FLAGS:
        command = [ARM, "-std=c99", *FLAGS[name], "-static", f"-I{HERE}", SOURCES / "fill.c", "-o", folder / name]
        subprocess.run(list(map(str, command)), check=True)
    for name, number, width, height in FRAMES:
        frame = np.random.default_rng(0).integers(0, 256, 3 * width * height, np.uint8).tobytes()
        row = []
        for side, place in columns:
            for flags in FLAGS:
                words = [folder / flags, number, width, height, side, side, get_args(Place).index(place)]
                one, three = (count(plugin, [*words, rounds], input=frame) for rounds in (1, 3))
                row.append(f"{(three - one) / 2e6:.1f}")
        print(f"| {name} {width}x{height} | " + " | ".join(row) + " |")


def frame(folder: Path, plugin: Path, side: int) -> None:
    """Print the millions of instructions per frame of camera.c without rknn_run: letterbox to printing."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, side - 60, (OBJECTS, 2))
    table = np.column_stack([rng.integers(0, 80, OBJECTS), np.full(OBJECTS, 0.6), corners, corners + 50])
    model = StubModel(
        folder / f"bundle{side}", folder / "answers", drawn_case(ImageSize(side, side), 80, table), f"m{side}"
    )
    model.answer(None, model.case)
    flags = (*FLAGS["-O3, NEON"], "-static")
    for name in ("camera", "detect"):
        build(model.folder / name, ARM, model.folder / f"{name}.c", model.folder / "detector.c", flags=flags)
    run = {"cwd": model.folder, "env": {"RKNN_STUB": str(model.answers.parent)}}
    frames = bytes(11 * 640 * 480 * 3 // 2)
    camera = ["./camera", "--size", "640x480", "--frames"]
    one, eleven = (count(plugin, [*camera, n, "model.rknn", "-"], input=frames, **run) for n in (1, 11))
    # --repeat N runs N + 1 times; the input is copied, which takes about 0.3 instructions per byte.
    first, last = (count(plugin, ["./detect", "--repeat", n, "model.rknn"], **run) for n in (1, 11))
    print(f"{side}: {(eleven - one - last + first) / 1e7:.1f} million instructions per frame of 640x480 in NV12, "
          f"{OBJECTS} objects")  # fmt: skip


def main():
    """Print both tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        plugin = Path(scratch, "count.so")
        source = ROOT / "benchmarks" / "count_instructions.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", plugin], check=True)
        letterbox(Path(scratch), plugin)
        for side in (320, 640):
            frame(Path(scratch), plugin, side)


if __name__ == "__main__":
    main()
