"""The classes that a classifier gives to images, and how often they are right: top-1 and top-5."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.data.manifest import check_manifest
from lib.step.errors import UserError
from lib.tasks.classify.decoding import BEST
from lib.tasks.classify.labels import class_number
from lib.tasks.task import label_file


class Right(NamedTuple):
    """Whether the class of each image is the best one, and among the BEST best; bool [images] each."""

    top1: np.ndarray
    top5: np.ndarray


def best_classes(outputs: list[np.ndarray], classes: int) -> tuple[int, ...] | None:
    """The best classes of one image, at most BEST, the best one first; of equal ones the first comes first.

    They are those of the one output with a value for each of the `classes`; None if there is none, or several.
    """
    fitting = [output for output in outputs if output.size == classes > 1]
    if len(fitting) != 1:
        return None
    return tuple(map(int, np.argsort(-fitting[0].ravel(), kind="stable")[:BEST]))


def in_rows(best: list[tuple[int, ...] | None]) -> np.ndarray | None:
    """The best classes of all images as int [images, up to BEST]; None where the outputs give none."""
    return None if None in best else np.array(best, np.int64)


def classify_all(onnx: Path, classes: int, images: list[Path], processes: int, title: str) -> np.ndarray | None:
    """The best classes of each of `images` by an ONNX in FP32, as `in_rows` gives them.

    None where the model has no such output, which its first image shows. Raises UserError as `over_images` does.
    """
    # Imported here: evaluation needs only the rest, and these import onnxruntime.
    from lib.accuracy.inference import onnx_runner, over_images
    from lib.graph.input_form import input_form_of
    from lib.graph.onnx_file import load
    from lib.graph.surgery.graph import input_size

    model = load(onnx)
    work = partial(_classify, classes, input_size(model), input_form_of(model))
    start = partial(onnx_runner, onnx)
    first, others = over_images(start, work, images[:1], 1, title), images[1:]
    if None in first or not others:
        return in_rows(first)
    return in_rows(first + over_images(start, work, others, processes, title))


def _classify(classes: int, imgsz: ImageSize, form: InputForm, run, path: Path) -> tuple[int, ...] | None:
    from lib.data.images import read_image

    return best_classes(run(letterbox(read_image(path), imgsz, form)[0]), classes)


def classes_of(images: list[str], dataset: Path, classes: int) -> np.ndarray | None:
    """The labelled class of each image of a data set's folder, int [images]; None without labels, or if of objects.

    Raises UserError for a label that is missing or was changed, or of another class than 0..classes-1.
    """
    folder = dataset / "labels"
    if not folder.is_dir():
        return None
    check_manifest(folder)
    numbers = [class_number(label_file(dataset, image)) for image in images]
    if None in numbers:
        return None
    kinds = np.array(numbers)
    if kinds.max() >= classes:
        raise UserError(f"{dataset} has a label of class {kinds.max()}, but there are {classes} class names")
    return kinds


def right(best: np.ndarray, truth: np.ndarray) -> Right:
    """Whether the class of each image, `truth` int [images], is the first or any of the `best`, int [images, k]."""
    hits = best == truth[:, None]
    return Right(hits[:, 0], hits.any(axis=1))
