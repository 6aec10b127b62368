"""The proof of a bundle: C on raw INT8 finds what Python finds on the simulator's floats, image by image."""

import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.accuracy.inference import over_images
from lib.bundle import golden, program
from lib.bundle.agreement import Agreement, compare
from lib.bundle.contract import decoding_of, outputs_of
from lib.data.images import read_image
from lib.data.letterbox import Letterbox, letterbox
from lib.detector.instances import Instances
from lib.detector.nms import CONFIDENCE, IOU
from lib.step.errors import UserError


class Proven(NamedTuple):
    """One image's proof, at the thresholds that mAP is measured with."""

    agreement: Agreement
    found: Instances  # by the C program
    shown: int  # how many detections the suggested confidence threshold leaves
    size: tuple[int, int]


def prove(simulator, agreed: dict, binary: Path, images: list[Path], processes: int) -> list[Proven]:
    """Prove the compiled decoder `binary` of a contract on each of `images`; `simulator()` opens the INT8 model.

    Raises UserError at the first image on which the two differ.
    """
    work = partial(_prove, agreed, binary)
    return over_images(simulator, work, images, processes, "prove decode.h")


def write_golden(simulator, agreed: dict, image: Path, folder: Path) -> None:
    """Write the golden files of one image into the new `folder`, expectations found by Python."""
    folder.mkdir()
    over_images(simulator, partial(_write_golden, agreed, folder), [image], 1, "golden files")


def recompute(agreed: dict, folder: Path) -> Instances:
    """What Python finds in the golden outputs in `folder`, with the suggested thresholds."""
    outputs = golden.read_outputs(folder, outputs_of(agreed))
    return _shown(agreed, outputs, golden.read_fit(folder, decoding_of(agreed).imgsz))


def _prove(agreed: dict, binary: Path, run, path: Path) -> Proven:
    _, fit, outputs = _simulate(agreed, run, path)
    with tempfile.TemporaryDirectory() as scratch:
        golden.write_outputs(Path(scratch), outputs_of(agreed), outputs, fit)
        found = program.run(binary, Path(scratch), CONFIDENCE, IOU)
    try:
        agreement = compare(decoding_of(agreed).instances(outputs, fit), found)
    except UserError as error:
        raise UserError(f"decode.h does not find in {path} what Python finds: {error}; nothing was written") from None
    shown = int((found.scores > agreed["thresholds"]["confidence"]).sum())
    return Proven(agreement, found, shown, fit.source)


def _write_golden(agreed: dict, folder: Path, run, path: Path) -> None:
    fitted, fit, outputs = _simulate(agreed, run, path)
    golden.write_outputs(folder, outputs_of(agreed), outputs, fit)
    (folder / "input.rgb").write_bytes(fitted.tobytes())
    found = _shown(agreed, outputs, fit)
    (folder / "detections.txt").write_text(program.write_detections(found, agreed["classes"]))


def _simulate(agreed: dict, run, path: Path) -> tuple[np.ndarray, Letterbox, list[np.ndarray]]:
    fitted, fit = letterbox(read_image(path), decoding_of(agreed).imgsz)
    return fitted, fit, run(fitted)


def _shown(agreed: dict, outputs: list[np.ndarray], fit: Letterbox) -> Instances:
    """Detections with the suggested thresholds."""
    thresholds = agreed["thresholds"]
    confidence, iou, most = (thresholds[name] for name in ("confidence", "iou", "most_detections"))
    return decoding_of(agreed).instances(outputs, fit, confidence, iou, most)
