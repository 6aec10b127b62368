"""Compiles main.c of a bundle with a C compiler on this machine, runs it, and parses its output."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib import tasks
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.step.errors import UserError
from lib.step.words import words
from lib.tasks.bundle_part import BundlePart

# For the compiler, and for the program on one image: each takes about 1 s, or 10 s with an emulator.
TIMEOUT_S = 120
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O2")


def compiler(command: str | None = None) -> list[str]:
    """Split the compiler command: `command`, else $CC, else `cc`. Raises UserError when there is no such program."""
    command = command or os.environ.get("CC") or "cc"
    compiler = words(command, "the C compiler of --cc or CC")
    if not compiler or not shutil.which(compiler[0]):
        raise UserError(
            f"there is no C compiler '{command}'; a bundle's decoder is compiled and run before it is written; install "
            "one (apt-get install gcc) or name one in the environment variable CC"
        )
    return compiler


def build(folder: Path, cc: list[str], program: Path) -> None:
    """Compile main.c of a bundle. Raises UserError with the compiler's first error, or when it does not end."""
    done = _ended("the compiler of main.c", [*cc, *FLAGS, "main.c", "-o", str(program.resolve())], cwd=folder)
    if done.returncode:
        said = done.stderr.strip() or f"it ends with {done.returncode} and prints nothing"
        complaint = next((line for line in said.splitlines() if "error" in line), said)
        raise UserError(f"main.c does not compile with '{shlex.join([*cc, *FLAGS])}': {complaint}")
    if not program.exists():
        raise UserError(f"'{shlex.join(cc)}' made no program from main.c, so it is not a C compiler")


def run(
    program: Path, folder: Path, *thresholds: float, spec: OutputSpec | None = None, emulator: tuple[str, ...] = ()
) -> Instances:
    """Run the program on the outputs in `folder` and return its detections; without `spec` only their boxes.

    Raises UserError when it fails or does not end within TIMEOUT_S.
    """
    command = [*emulator, str(program.resolve()), str(folder), *(f"{threshold:.9g}" for threshold in thresholds)]
    done = _ended("the decoder", command)
    if done.returncode:
        raise UserError(f"the decoder ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return read_detections(done.stdout, spec)


def _ended(what: str, command: list[str], **options) -> subprocess.CompletedProcess:
    """Run a command and return its output. Raises UserError, which calls it `what`, when it does not end."""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=TIMEOUT_S, **options
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{what} did not end within {TIMEOUT_S} s and was stopped") from None


def write_detections(detections: Instances, names: Sequence[str], spec: OutputSpec) -> str:
    """Format detections as main.c prints them, one per line: class number, score, x1, y1, x2, y2, class name.

    If the model has a task, its values are in the next line, which begins with a space.
    """
    part = _part(spec)
    added = [f"{line}\n" for line in part.lines(detections)] if part else [""] * len(detections)
    return "".join(
        f"{c} {score:.6f} {box[0]:.4f} {box[1]:.4f} {box[2]:.4f} {box[3]:.4f} {names[c]}\n{numbers}"
        for c, score, box, numbers in zip(detections.classes, detections.scores, detections.boxes, added)
    )


def read_detections(text: str, spec: OutputSpec | None = None) -> Instances:
    """Parse the lines of main.c; without `spec` only boxes. Raises UserError for a line that is not a detection."""
    part, lines = _part(spec), text.splitlines()
    try:
        # The seventh word, a class name, may contain spaces.
        boxes = lines[:: 2 if part else 1]
        rows = [[float(word) for word in line.split(maxsplit=6)[:6]] for line in boxes]
        table = np.stack([np.zeros(6), *map(np.array, rows)])[1:]
        extras = part.extras(spec, [list(map(float, line.split())) for line in lines[1::2]]) if part else {}
        return Instances(table[:, 2:], table[:, 1], table[:, 0].astype(int), extras)
    except ValueError as error:
        raise UserError(f"not a list of detections: {error}") from None


def _part(spec: OutputSpec | None) -> BundlePart | None:
    return tasks.get(spec.task).bundle if spec else None
