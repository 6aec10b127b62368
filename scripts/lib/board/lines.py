"""The input and the output of the bundle's program `detect`: a stream of images, and lines of JSON."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.bundle.contract import InputSpec
from lib.data.images import read_image
from lib.data.letterbox import letterbox
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.step.errors import UserError

SHOWN = 60  # characters of an invalid line in a message


class Runtime(NamedTuple):
    """The versions of the board's runtime and driver, and the duration of rknn_init in microseconds."""

    runtime: str
    driver: str
    init_us: int


class ImageResult(NamedTuple):
    """The result of one image: its name, the times of rknn_run and of the decoder in microseconds, its detections."""

    image: str
    run_us: int
    decode_us: int
    detections: Instances


class ProgramOutput(NamedTuple):
    """The parsed output of the program; `garbage` is the start of the first line that is not a result, or empty."""

    runtime: Runtime | None  # None if the program ended before it printed this
    results: list[ImageResult]
    run_us: list[int]  # from --repeat
    images: int | None  # from the last line, which the program prints when all images are done
    garbage: str


def write_stream(images: list[Path], given: InputSpec, target: Path) -> dict[str, tuple[int, int]]:
    """Write images, letterboxed, in the program's input format; return the width and height of each, by file name.

    An image is a line `WIDTH HEIGHT NAME` followed by the bytes of the input: height x width x channels, in the model's
    channel order. Raises UserError for an image file that cannot be read.
    """
    sizes = {}
    with open(target, "wb") as stream:
        for path in images:
            fitted, fit = letterbox(read_image(path), given.imgsz, given.form)
            sizes[path.name] = fit.source
            stream.write(f"{fit.source[0]} {fit.source[1]} {path.name}\n".encode() + fitted.tobytes())
    return sizes


def read_lines(output: bytes, spec: OutputSpec | None = None) -> ProgramOutput:
    """Parse the program's lines, up to the first that is not a result.

    `spec` describes the model's outputs; without it only boxes are parsed.
    """
    runtime, results, run_us, images = None, [], [], None
    for line in output.split(b"\n"):
        if not line:
            continue
        try:
            value = json.loads(line)
            if "image" in value:
                results.append(_image_result(value, spec))
            elif "run_us" in value:
                run_us = [int(time) for time in value["run_us"]]
            elif "images" in value:
                images = int(value["images"])
            else:
                runtime = Runtime(**value)
        except (ValueError, KeyError, TypeError, IndexError):
            return ProgramOutput(runtime, results, run_us, None, line[:SHOWN].decode(errors="replace"))
    return ProgramOutput(runtime, results, run_us, images, "")


def to_line(result: ImageResult, task: str = tasks.DEFAULT) -> str:
    """Format a result as the line of the program, with the same digits."""
    detections, part = result.detections, tasks.get(task).bundle
    added = [[list(map(float, values))] for values in part.numbers(detections)] if part else [[]] * len(detections)
    rows = [
        [int(c), float(score), *map(float, box), *values]
        for c, score, box, values in zip(detections.classes, detections.scores, detections.boxes, added)
    ]
    return json.dumps(result._asdict() | {"detections": rows})


def _image_result(value: dict, spec: OutputSpec | None) -> ImageResult:
    part, rows = tasks.get(spec.task).bundle if spec else None, value["detections"]
    added = [row[6] for row in rows] if part else []
    table = np.array([row[:6] for row in rows] if part else rows, np.float64).reshape(-1, 6)
    if not (np.isfinite(table).all() and all(np.isfinite(numbers).all() for numbers in added)):
        raise ValueError("a detection is not a list of numbers")
    detections = Instances(
        table[:, 2:].astype(np.float32),
        table[:, 1].astype(np.float32),
        table[:, 0].astype(int),
        part.extras(spec, added) if part else {},
    )
    return ImageResult(str(value["image"]), int(value["run_us"]), int(value["decode_us"]), detections)


def demand_whole(output: ProgramOutput) -> None:
    """Raise UserError when there was a line that is not a result."""
    if output.garbage:
        raise UserError(
            f"the program's line after {len(output.results)} images is not a result: '{output.garbage}'; does "
            "something else print there? The results before it are kept; run this again"
        )
