"""Compares a model in INT8 with the same model in FP32, image by image and over all images."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lib import tasks
from lib.accuracy.classes import best_classes
from lib.accuracy.inference import onnx_runner, over_images
from lib.accuracy.likeness import ImageLikeness, demand_same_outputs, image_likeness
from lib.accuracy.matching import SURE, found_again
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import load
from lib.npu.toolkit import Session


@dataclass(frozen=True)
class ImageComparison:
    """One image through both models. There are no instances if the outputs are not decoded.

    fp32_best, int8_best: the best classes, as best_classes gives them, if the only output is a vector, as a
    classifier's is.
    """

    path: Path
    size: tuple[int, int]  # width and height
    fp32: Instances | None
    int8: Instances | None
    likeness: tuple[ImageLikeness, ...]  # of each raw output in INT8 to the one in FP32
    fp32_best: tuple[int, ...] | None = None
    int8_best: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Int8Agreement:
    """How many of FP32's sure detections (score at least SURE) INT8 makes too."""

    sure: int  # sure detections of FP32
    matched: int  # those of them that INT8 makes too
    overlap: float  # mean over the matched ones; 0 if there are none
    score_change: float  # mean, INT8's minus FP32's


def compare_precisions(
    onnx: Path, session: Session, imgsz: ImageSize, outputs: OutputSpec | None, form: InputForm, images: list[Path]
) -> list[ImageComparison]:
    """Each image, in `form`, through the ONNX in FP32 and through the session's simulator."""
    runners, names = partial(_runners, onnx, session), [output.name for output in load(onnx).graph.output]
    return over_images(runners, partial(_compare, names, imgsz, outputs, form), images, 1, "FP32 and INT8")


def _runners(onnx: Path, session: Session) -> tuple:
    return onnx_runner(onnx), session.simulate()


def _compare(
    names: list[str], imgsz: ImageSize, outputs: OutputSpec | None, form: InputForm, runners: tuple, path: Path
) -> ImageComparison:
    fitted, fit = letterbox(read_image(path), imgsz, form)
    raw = [run(fitted) for run in runners]
    demand_same_outputs(names, *raw)
    instances = (tasks.get(outputs.task).instances(outputs, of_model, fit) if outputs else None for of_model in raw)
    likeness = tuple(image_likeness(*pair) for pair in zip(*raw, strict=True))
    longest = max(raw[0][0].shape, default=1) if len(raw[0]) == 1 else 0
    return ImageComparison(path, fit.source, *instances, likeness, *(best_classes(each, longest) for each in raw))


def int8_agreement(comparisons: list[ImageComparison], task: str) -> Int8Agreement:
    """How well INT8's detections agree with FP32's, over all images."""
    overlap = tasks.get(task).overlap
    pairs = [pair for images in comparisons for pair in found_again(images.fp32, images.int8, overlap)]
    sure = sum(int((images.fp32.scores >= SURE).sum()) for images in comparisons)
    mean_overlap, mean_change = np.mean(pairs, axis=0) if pairs else (0.0, 0.0)
    return Int8Agreement(sure, len(pairs), float(mean_overlap), float(mean_change))
