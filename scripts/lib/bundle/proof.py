"""The proof of a bundle: C gets the same detections from raw INT8 as Python from the simulator's floats, per image."""

import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.accuracy.inference import over_images
from lib.bundle import golden, program
from lib.bundle.contract import Contract
from lib.bundle.same_detections import Rounding, demand_same
from lib.data.images import read_image
from lib.data.letterbox import Letterbox, letterbox
from lib.detector.head import CLASSIFY
from lib.detector.instances import Instances
from lib.detector.nms import IOU
from lib.step.errors import UserError


class ProvenImage(NamedTuple):
    """One image's proof, at the thresholds that mAP is measured with."""

    rounding: Rounding
    detections: Instances  # of the C program
    shown: int  # how many of them are above the suggested confidence threshold
    size: tuple[int, int]


def prove(simulator, contract: Contract, binary: Path, images: list[Path], processes: int) -> list[ProvenImage]:
    """Compare the compiled decoder `binary` with Python on each of `images`; `simulator()` opens the INT8 model.

    Raises UserError at the first image on which they differ.
    """
    work = partial(_prove, contract, binary)
    return over_images(simulator, work, images, processes, "prove decode.h")


def write_golden(simulator, contract: Contract, image: Path, folder: Path) -> None:
    """Write the golden files of one image to the new `folder`; the expected detections are those of Python."""
    folder.mkdir()
    over_images(simulator, partial(_write_golden, contract, folder), [image], 1, "golden files")


def recompute(contract: Contract, folder: Path) -> Instances:
    """Decode the golden outputs in `folder` with Python and the suggested thresholds."""
    outputs = golden.read_outputs(folder, contract.tensors())
    return _shown(contract, outputs, golden.read_fit(folder, contract.input))


def _prove(contract: Contract, binary: Path, run, path: Path) -> ProvenImage:
    _, fit, outputs = _simulate(contract, run, path)
    spec = contract.output_spec()
    task = tasks.get(spec.task)
    with tempfile.TemporaryDirectory() as scratch:
        golden.write_outputs(Path(scratch), contract.tensors(), outputs, fit)
        detections = program.run(binary, Path(scratch), task.confidence, IOU, spec=spec)
    try:
        rounding = demand_same(task.instances(spec, outputs, fit), detections, spec.task)
    except UserError as error:
        raise UserError(f"decode.h and Python disagree on {path}: {error}; nothing was written") from None
    shown = int((detections.scores > contract.thresholds.confidence).sum())
    return ProvenImage(rounding, detections, shown, fit.source)


def _write_golden(contract: Contract, folder: Path, run, path: Path) -> None:
    fitted, fit, outputs = _simulate(contract, run, path)
    golden.write_outputs(folder, contract.tensors(), outputs, fit)
    (folder / "input.rgb").write_bytes(fitted.tobytes())
    detections = _shown(contract, outputs, fit)
    text = program.write_detections(detections, contract.classes, contract.output_spec())
    (folder / "detections.txt").write_text(text, encoding="utf-8")


def _simulate(contract: Contract, run, path: Path) -> tuple[np.ndarray, Letterbox, list[np.ndarray]]:
    fitted, fit = letterbox(read_image(path), contract.input.imgsz, contract.input.form)
    outputs = run(fitted)
    if contract.task == CLASSIFY:  # the simulator gives a vector
        outputs = [output.reshape(tensor.shape) for output, tensor in zip(outputs, contract.tensors(), strict=True)]
    return fitted, fit, outputs


def _shown(contract: Contract, outputs: list[np.ndarray], fit: Letterbox) -> Instances:
    """Detections with the suggested thresholds."""
    suggested, spec = contract.thresholds, contract.output_spec()
    return tasks.get(spec.task).instances(
        spec, outputs, fit, suggested.confidence, suggested.iou, suggested.most_detections
    )
