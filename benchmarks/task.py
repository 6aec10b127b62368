"""Measure the time that a task adds to a bundle's decoder: python benchmarks/task.py BUNDLE … [--objects 10]

Compiles task.c of this folder with each bundle's headers and runs it on the bundle's golden outputs; prints a table of
medians on this machine. With qemu-arm and an ARM compiler (apt-get install qemu-user gcc-arm-linux-gnueabihf
libc6-dev-armhf-cross) it also counts the instructions of a Cortex-A7, the core of the RV1106.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from lib.bundle.contract import Contract
from lib.bundle.program import FLAGS, compiler
from lib.step.errors import run_step

ARM = ("arm-linux-gnueabihf-gcc", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-static")
EMULATOR = "qemu-arm"
NOTHING, DECODER, BOTH = "0", "-1", "1"  # rounds of task.c


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--objects", type=int, default=10, help="how many of the best detections (default: 10)")
    parser.add_argument("--confidence", type=float, default=0.25)
    args = parser.parse_args()
    print("| model | imgsz | detections | decode.h, µs | the task's part, µs | the same in ARM instructions | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for bundle in args.bundles:
        variant, options = Contract.of_bundle(bundle).variant, (str(args.confidence), str(args.objects))
        with tempfile.TemporaryDirectory() as scratch:
            done = run(build(compiler(), bundle, Path(scratch)), bundle, options, "400")
            count, decoder, task = map(float, done.stdout.split())
            instructions = counted(bundle, options, Path(scratch))
        print(f"| {variant.model} | {variant.imgsz} | {count:.0f} | {decoder:.1f} | {task:.1f} | {instructions} |")


def build(cc: list[str], bundle: Path, folder: Path) -> list[str]:
    """Compile task.c with `cc` for a bundle, and return the command."""
    binary = folder / Path(cc[0]).name
    source = Path(__file__).with_suffix(".c")
    subprocess.run([*cc, *FLAGS, f"-I{bundle}", str(source), "-o", str(binary)], check=True)
    return [str(binary)]


def run(command: list[str], bundle: Path, options, rounds: str) -> subprocess.CompletedProcess:
    """Run the program on the golden outputs."""
    return subprocess.run(
        [*command, str(bundle / "golden"), *options, rounds], check=True, capture_output=True, text=True
    )


def counted(bundle: Path, options, folder: Path) -> str:
    """Instructions of the decoder and of the task's part, or why they are not counted."""
    if missing := [name for name in (ARM[0], EMULATOR) if not shutil.which(name)]:
        return f"no {' and '.join(missing)} | "
    plugin = folder / "count.so"
    source = Path(__file__).with_name("count_instructions.c")
    subprocess.run([*compiler(), "-shared", "-fPIC", str(source), "-o", str(plugin)], check=True)
    command = [EMULATOR, "-plugin", str(plugin), *build(list(ARM), bundle, folder)]
    nothing, decoder, both = (
        int(re.search(r"(\d+) instructions", run(command, bundle, options, rounds).stderr)[1])
        for rounds in (NOTHING, DECODER, BOTH)
    )
    return f"{decoder - nothing:,} | {both - decoder:,}"


if __name__ == "__main__":
    sys.exit(run_step(main))
