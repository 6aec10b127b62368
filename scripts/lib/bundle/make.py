"""Making one bundle: contract, proof on all evaluation images, golden files, check."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from lib import tasks
from lib.accuracy.average_precision import average_precision
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.inference import evaluation_images
from lib.bundle import BOARD_PROGRAM, DECODER, HERE, program
from lib.bundle.check import CONTRACT, checksums, problems, write_checksums
from lib.bundle.contract import contract
from lib.bundle.model_h import model_h
from lib.bundle.proof import Proven, prove, write_golden
from lib.bundle.readme import readme
from lib.data.calibration import calibration_images
from lib.data.names import read_names
from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.npu import toolkit
from lib.npu.rknn_file import read_rknn
from lib.results import run_files
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError
from lib.step.files import read_json, require, write_json, write_text


class Evaluation(NamedTuple):
    """The images that a bundle is proven on, those that its mAP was measured on."""

    dataset: Path
    part: str  # heldout or all
    images: list[Path]
    names: list[str]


def read_evaluation(run: Path, part: str, names: list[str]) -> Evaluation:
    """The evaluation of a run's folder; `names` as the command line gives them."""
    dataset = require(run / "dataset", "data set")
    return Evaluation(dataset, part, evaluation_images(dataset, part), read_names(names))


def make(
    run: Path,
    variant: Variant,
    evaluation: Evaluation,
    platform: str,
    processes: int,
    cc: list[str],
    folder: Path,
) -> dict:
    """Make the bundle of a variant from the files of a run's folder, as the new `folder`; `cc` compiles its program.

    Returns its proof: images, detections, box_px, score, map50_95. Raises UserError when C and Python disagree, when
    C's mAP is not the one that was measured, or the bundle does not pass its own check.
    """
    model = run_files.rknn_model(run, variant)
    exported = read_json(run_files.exported_metrics(run, variant))
    int8 = read_json(run_files.metrics(run, variant))
    verdict = read_json(run_files.rknn(run, variant, "verdict.json"))["verdict"]
    onnx = run_files.onnx(run, variant, variant.head)
    outputs = output_spec_of(load(require(onnx, "model")))
    agreed = contract(read_rknn(model), variant, outputs, evaluation.names, exported, int8, verdict)
    folder.mkdir(parents=True)
    shutil.copyfile(model, folder / "model.rknn")
    for name in (*DECODER, *BOARD_PROGRAM):
        shutil.copyfile(HERE / name, folder / name)
    write_text(folder / "model.h", model_h(agreed))
    calibration = calibration_images(run_files.calibration(run, variant))
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        program.build(folder, cc, binary)
        with toolkit.quantized(onnx, calibration, platform, variant.algorithm) as session:
            proven = prove(session.simulate, agreed, binary, evaluation.images, processes)
            write_golden(session.simulate, agreed, _most_shown(proven, evaluation), folder / "golden")
    precision = _mean_average_precision(proven, evaluation, outputs.task)
    if abs(precision - int8["map50_95"]) > 0.5 * 10**-MAP_DIGITS:
        raise UserError(f"decode.h gives mAP50-95 {precision:.5f}, Python measured {int8['map50_95']:.5f}")
    agreed["accuracy"]["part"] = evaluation.part
    agreed["proof"] = _summary(proven) | {"map50_95": round(precision, MAP_DIGITS)}
    write_text(folder / "README.md", readme(agreed))
    write_json(folder / CONTRACT, agreed | {"files": checksums(folder)})
    write_checksums(folder)
    if wrong := problems(folder, cc):
        raise UserError(f"the bundle of {variant.title()} does not pass its own check: {'; '.join(wrong)}")
    return agreed["proof"]


def _mean_average_precision(proven: list[Proven], evaluation: Evaluation, task: str) -> float:
    """mAP50-95 of what the C program found."""
    images = [path.name for path in evaluation.images]
    detections = DetectionSet(images, [each.size for each in proven], [each.found for each in proven], task)
    truth = [
        tasks.get(task).ground_truth(evaluation.dataset, image, size, len(evaluation.names))
        for image, size in zip(images, detections.sizes)
    ]
    return average_precision(truth, detections, evaluation.names).map50_95


def _summary(proven: list[Proven]) -> dict:
    count, box, score = zip(*(each.agreement for each in proven))
    return {"images": len(proven), "detections": sum(count), "box_px": max(box), "score": max(score)}


def _most_shown(proven: list[Proven], evaluation: Evaluation) -> Path:
    """The image in which most is found with the suggested threshold, the first of equals."""
    return evaluation.images[max(range(len(proven)), key=lambda i: proven[i].shown)]
