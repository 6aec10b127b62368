"""Many pictures through one model, sharded over processes."""

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
from tqdm import tqdm

from lib.data.images import read_picture
from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.anchors import YoloLayer, from_metadata
from lib.detector.detections import detect
from lib.detector.head import decode
from lib.graph.onnx_file import load, metadata
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.npu import toolkit
from lib.step import console
from lib.step.errors import UserError
from lib.step.files import read_json


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX run in FP32 by onnxruntime."""

    path: Path
    head: str

    @cached_property
    def darknet(self) -> tuple[YoloLayer, ...]:
        """Its [yolo] layers, if it comes from Darknet."""
        return from_metadata(metadata(load(self.path)))

    @contextmanager
    def loaded(self):
        """Yields a function that a worker calls once to get its runner: uint8 RGB [H, W, 3] → raw outputs."""

        def start():
            session = open_session(self.path)
            return lambda picture: infer(session, to_tensor(picture))

        yield start


@dataclass(frozen=True)
class SimulatedModel:
    """A calibrated model, built anew and run in INT8 on the toolkit's simulator."""

    path: Path
    head: str
    platform: str
    algorithm: str

    @cached_property
    def darknet(self) -> tuple[YoloLayer, ...]:
        """Its [yolo] layers, if it comes from Darknet."""
        return from_metadata(read_json(self.path / toolkit.METADATA))

    @contextmanager
    def loaded(self):
        """Yields a function that a worker calls once to get its runner: uint8 RGB [H, W, 3] → dequantized outputs."""
        with toolkit.built(self.path, self.platform, self.algorithm) as rknn:
            yield partial(toolkit.simulate, rknn)


def detect_all(model, imgsz: ImageSize, classes: int, pictures: list[Path], processes: int):
    """Detections and size (width, height) of each picture, in the order given, whatever the number of processes.

    Returns a list of (Detections, (width, height)). Raises UserError for a picture that cannot be decoded, or a model
    whose outputs are not those of its head or not of `classes` classes.
    """
    work = partial(_detect, model, imgsz, classes)
    return over_pictures(model, work, pictures, processes, f"{model.path.name} {imgsz}")


def over_pictures(model, work, pictures: list[Path], processes: int, title: str) -> list:
    """`work(run, path)` for each picture, in the order given; `run` takes uint8 RGB [H, W, 3] to a model's raw outputs.

    `processes` workers share the pictures; `title` stands before the progress bar. Errors of `work` come back as they
    are; UserError when a worker is killed.
    """
    # One thread a process: the processes are the parallelism, and a fork keeps no other thread.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    cv2.setNumThreads(1)
    with model.loaded() as start:
        # fork: importing the toolkit and building the model takes seconds, and is done once for all workers.
        workers = ProcessPoolExecutor(
            min(processes, len(pictures)), get_context("fork"), initializer=_join, initargs=(start, work)
        )
        try:
            done = workers.map(_work, pictures)
            # The bar starts after the workers: it brings a thread along.
            return list(tqdm(done, title, len(pictures), file=console.terminal(), disable=None))
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, most likely for want of memory; use fewer --threads"
            ) from None
        finally:
            workers.shutdown(cancel_futures=True)


def _detect(model, imgsz: ImageSize, classes: int, run, path: Path):
    fitted, fit = letterbox(read_picture(path), imgsz)
    predictions = decode(run(fitted), model.head, imgsz, model.darknet)
    if (found := predictions.shape[1] - 4) != classes:
        raise UserError(f"{model.path} scores {found} classes, the data set has {classes} names")
    return detect(predictions, fit), fit.source


class _Worker:
    """One process's share: it opens the model at its first picture, so that errors come back as results do."""

    def __init__(self, start, work):
        self.start, self.work = start, work

    @cached_property
    def run(self):
        """The runner of this process."""
        return self.start()


def _join(*args) -> None:
    global _worker
    _worker = _Worker(*args)


def _work(path: Path):
    return _worker.work(_worker.run, path)
