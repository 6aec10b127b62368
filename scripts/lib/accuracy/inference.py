"""Runs one model on many images in several processes."""

import os
from functools import cached_property, partial
from pathlib import Path

import cv2
from tqdm import tqdm

from lib import tasks
from lib.accuracy.detection_set import DetectionSet
from lib.data.images import read_image
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.data.manifest import check_manifest
from lib.data.split import PARTS, read_split
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_session import infer_image, open_session
from lib.step import console
from lib.step.files import require
from lib.step.workers import worker_pool


def evaluation_images(dataset: Path, part: str) -> list[Path]:
    """The images of a data set folder to evaluate on, sorted; `part` is what `evaluation.images` of the config says.

    Raises UserError when the split or an image is missing or was changed after its step wrote it.
    """
    images = require(dataset / "images", "folder")
    names = read_split(dataset / "split.csv", PARTS[part], images)
    check_manifest(images, names)
    return [images / name for name in names]


def onnx_runner(path: Path, names: tuple[str, ...] | None = None):
    """A function uint8 [H, W, C] in the model's channels → raw outputs in FP32, by onnxruntime on one thread.

    names: the outputs to return; None for all.
    """
    session = open_session(path)
    return lambda image: infer_image(session, image, names)


def detect_all(
    start, outputs: OutputSpec, images: list[Path], processes: int, title: str, form: InputForm | None = None
) -> DetectionSet:
    """A model's detections in each of `images`, with the thresholds for measuring mAP.

    `start()` opens the model in a worker and returns a function uint8 [H, W, C] → raw outputs, for images in `form`.
    The result does not depend on the number of `processes`. Raises UserError as `over_images` does, and for an
    image that cannot be decoded or outputs that are not those of the head.
    """
    results = over_images(start, partial(detect_image, outputs, form or InputForm()), images, processes, title)
    instances, sizes = map(list, zip(*results))
    return DetectionSet([path.name for path in images], sizes, instances, outputs.task)


def over_images(start, work, images: list[Path], processes: int, title: str) -> list:
    """`work(run, path)` for each image, in the order given; `run` is what `start()` returns, once in each worker.

    `images` may also be other things that `work` takes. `title` is shown before the progress bar. Errors of `start` and
    `work` are raised unchanged; raises UserError when a worker is killed.
    """
    # One thread per process: the processes already run in parallel, and a fork does not copy other threads.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    cv2.setNumThreads(1)
    # fork: importing the toolkit and building the model takes seconds, and is done once for all workers.
    with worker_pool(min(processes, len(images)), "fork", _join, start, work) as workers:
        done = workers.map(_work, images)
        # The bar is created after the workers, since it starts a thread.
        return list(tqdm(done, title, len(images), file=console.terminal(), disable=None))


def detect_image(outputs: OutputSpec, form: InputForm, run, path: Path) -> tuple[Instances, tuple[int, int]]:
    """A model's detections in an image, and the image's width and height; `run` is what its `start()` returned."""
    fitted, fit = letterbox(read_image(path), outputs.imgsz, form)
    return tasks.get(outputs.task).instances(outputs, run(fitted), fit), fit.source


class _Worker:
    """The model of one process: it is opened at the first image, so that errors are returned as results are."""

    def __init__(self, start, work):
        self.start, self.work = start, work

    @cached_property
    def run(self):
        """The runner of this process."""
        return self.start()


def _join(start, work) -> None:
    global _worker
    _worker = _Worker(start, work)


def _work(path: Path):
    return _worker.work(_worker.run, path)
