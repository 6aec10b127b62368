"""How similar a model's raw outputs in INT8 are to those in FP32, whatever they mean."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lib.accuracy.classes import BEST, best_classes, in_rows
from lib.accuracy.inference import onnx_runner, over_images
from lib.accuracy.metrics import OutputLikeness
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.surgery.graph import input_size
from lib.step.errors import UserError

MOST_DB = 99.9  # the limit, also for no noise at all; FP32 itself has about 140


@dataclass(frozen=True)
class ImageLikeness:
    """One output for one image: its cosine to FP32's, and sums of squares of FP32's values and of the differences.

    rank: how many values are before FP32's largest in INT8; None for an output that is not a vector.
    """

    cosine: float
    signal: float
    noise: float
    rank: int | None = None


def compare_outputs(
    onnx: Path, classes: int, simulate, images: list[Path], processes: int, title: str
) -> tuple[tuple[OutputLikeness, ...], np.ndarray | None]:
    """How similar the outputs of the INT8 model that `simulate()` opens are to those of an ONNX in FP32, over `images`.

    And the best of `classes` in INT8, as lib.accuracy.classes.in_rows gives them. The result does not depend on the
    number of `processes`. Raises UserError as `over_images` does.
    """
    model = load(onnx)
    names = [output.name for output in model.graph.output]
    work = partial(_compare, names, classes, input_size(model), input_form_of(model))
    results = over_images(lambda: (onnx_runner(onnx), simulate()), work, images, processes, title)
    of_images, best = zip(*results, strict=True)
    likeness = tuple(output_likeness(name, list(of_output)) for name, of_output in zip(names, zip(*of_images)))
    return likeness, in_rows(list(best))


def _compare(
    names: list[str], classes: int, imgsz: ImageSize, form: InputForm, runners: tuple, path: Path
) -> tuple[tuple[ImageLikeness, ...], tuple[int, ...] | None]:
    fitted, _ = letterbox(read_image(path), imgsz, form)
    raw = [run(fitted) for run in runners]
    demand_same_outputs(names, *raw)
    return tuple(image_likeness(*pair) for pair in zip(*raw, strict=True)), best_classes(raw[1], classes)


def demand_same_outputs(names: list[str], fp32: list[np.ndarray], int8: list[np.ndarray]) -> None:
    """Raise UserError when the INT8 model lacks outputs of the ONNX: the toolkit drops those that are constant."""
    if [output.size for output in fp32] == [output.size for output in int8]:
        return
    constant = [name for name, output in zip(names, fp32) if np.ptp(output) == 0]
    listed = f"; constant, and so dropped by it, are {', '.join(constant)}" if constant else ""
    raise UserError(
        f"the toolkit's model has {len(int8)} outputs, of {[output.size for output in int8]} values, but the ONNX has "
        f"{len(fp32)}, of {[output.size for output in fp32]}{listed}: are all of the model's weights there?"
    )


def image_likeness(fp32: np.ndarray, int8: np.ndarray) -> ImageLikeness:
    """Compare one output in FP32 and in INT8; both have the same number of values."""
    a, b = (output.ravel().astype(np.float64) for output in (fp32, int8))
    cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
    is_vector = sum(side > 1 for side in fp32.shape) == 1
    return ImageLikeness(cosine, float(a @ a), float((a - b) @ (a - b)), _rank(a, b) if is_vector else None)


def _rank(fp32: np.ndarray, int8: np.ndarray) -> int:
    """How many values of `int8` come before that of the largest of `fp32`; of equal values, the first comes first."""
    best = int(fp32.argmax())
    return int(np.count_nonzero(int8 > int8[best]) + np.count_nonzero(int8[:best] == int8[best]))


def output_likeness(name: str, images: list[ImageLikeness]) -> OutputLikeness:
    """Combine the comparisons of one output over many images."""
    signal, noise = (sum(getattr(image, part) for image in images) for part in ("signal", "noise"))
    ratio = 10 * math.log10(signal / noise) if signal and noise else MOST_DB if signal or not noise else -MOST_DB
    cosine = float(np.mean([image.cosine for image in images]))
    ranks = [image.rank for image in images]
    top1, top5 = (None if None in ranks else float(np.mean(np.array(ranks) < count)) for count in (1, BEST))
    return OutputLikeness(name, cosine, min(max(ratio, -MOST_DB), MOST_DB), top1, top5)
