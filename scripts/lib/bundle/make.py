"""Making one bundle: contract, proof on all evaluation images, golden files, check."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lib import tasks
from lib.accuracy.average_precision import average_precision
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.inference import evaluation_images
from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.bundle import BOARD_PROGRAM, CAMERA_PROGRAM, DECODER, HERE, headers, program
from lib.bundle.check import checksums, problems, write_checksums
from lib.bundle.contract import CONTRACT, Contract, Proof
from lib.bundle.describe import Forms, Measured, accuracy_of, describe
from lib.bundle.model_h import model_h
from lib.bundle.proof import ProvenImage, prove, write_golden
from lib.bundle.readme import readme
from lib.data.calibration import calibration_in_form
from lib.data.names import read_names
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.npu.build import Build
from lib.npu.highest_scores import highest_scores
from lib.npu.int8 import Quantization, int8_model
from lib.npu.rknn_file import read_rknn
from lib.npu.verdict import Judgement
from lib.results import run_files
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError
from lib.step.files import require, write_text


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


def make(run: Path, variant: Variant, evaluation: Evaluation, processes: int, cc: list[str], folder: Path) -> Proof:
    """Make the bundle of a variant from the files of a run's folder, as the new `folder`; `cc` compiles its program.

    Raises UserError when C and Python disagree, when C's mAP is not the one that was measured, or the bundle does not
    pass its own check.
    """
    int8 = ComparedMetrics.read(run_files.metrics(run, variant))
    model = load(require(run_files.onnx(run, variant, variant.head), "model"))
    spec, form = forms = Forms(output_spec_of(model), input_form_of(model))
    contract = _contract(run, variant, forms, evaluation, int8)
    build = Build.read(run_files.rknn(run, variant, "build.json"))
    if build.simulator:
        raise UserError(
            f"the mAP of {variant.title()} is from the simulator {build.simulator}, and a bundle is proven on the "
            "toolkit's: set evaluation.simulator to toolkit"
        )
    folder.mkdir(parents=True)
    shutil.copyfile(run_files.rknn_model(run, variant), folder / "model.rknn")
    for name in (*headers(spec), DECODER, *BOARD_PROGRAM, *CAMERA_PROGRAM):
        shutil.copyfile(HERE / name, folder / name)
    write_text(folder / "model.h", model_h(contract))
    onnx, calibration = run_files.onnx(run, variant, variant.head), run_files.calibration(run, variant)
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        program.build(folder, cc, binary)
        pictures = evaluation.dataset / "images"
        with (
            calibration_in_form(calibration, pictures, spec.imgsz, form) as calibrated,
            int8_model(Quantization(onnx, build.platform, variant.algorithm, form, spec), calibrated) as built,
        ):
            simulate = built.session.simulate
            proven = prove(simulate, contract, binary, evaluation.images, processes)
            write_golden(simulate, contract, _most_shown(proven, evaluation), folder / "golden")
    contract = replace(contract, proof=_proof(proven, evaluation, spec.task, int8.map50_95))
    write_text(folder / "README.md", readme(contract, highest_scores(folder / "model.rknn", spec)))
    replace(contract, files=checksums(folder)).write(folder / CONTRACT)
    write_checksums(folder)
    if wrong := problems(folder, cc):
        raise UserError(f"the bundle of {variant.title()} does not pass its own check: {'; '.join(wrong)}")
    return contract.proof


def _contract(run: Path, variant: Variant, forms: Forms, evaluation: Evaluation, int8: Metrics) -> Contract:
    """The contract of a variant with the metrics `int8`, before its proof."""
    fp32 = Metrics.read(run_files.exported_metrics(run, variant))
    verdict = Judgement.read(run_files.rknn(run, variant, "verdict.json")).verdict
    return describe(
        read_rknn(run_files.rknn_model(run, variant)),
        variant,
        forms,
        evaluation.names,
        Measured(accuracy_of(fp32, int8, evaluation.part), int8.operating),
        verdict,
    )


def _proof(proven: list[ProvenImage], evaluation: Evaluation, task: str, measured: float) -> Proof:
    """The proof of all images. Raises UserError when C's mAP50-95 is not the one `measured` by Python."""
    precision = _mean_average_precision(proven, evaluation, task)
    if abs(precision - measured) > 0.5 * 10**-MAP_DIGITS:
        raise UserError(f"decode.h gives mAP50-95 {precision:.5f}, Python measured {measured:.5f}")
    count, box, score, extras = zip(*(image.rounding for image in proven))
    added = max(extras) if tasks.get(task).bundle else None
    return Proof(len(proven), sum(count), max(box), max(score), round(precision, MAP_DIGITS), added)


def _mean_average_precision(proven: list[ProvenImage], evaluation: Evaluation, task: str) -> float:
    """mAP50-95 of what the C program found."""
    images, sizes = [path.name for path in evaluation.images], [image.size for image in proven]
    truth = [
        tasks.get(task).ground_truth(evaluation.dataset, image, size, len(evaluation.names))
        for image, size in zip(images, sizes)
    ]
    detections = DetectionSet(images, sizes, [image.detections for image in proven], task)
    return average_precision(truth, detections, evaluation.names).map50_95


def _most_shown(proven: list[ProvenImage], evaluation: Evaluation) -> Path:
    """The image in which most is found with the suggested threshold, the first of equals."""
    return evaluation.images[max(range(len(proven)), key=lambda i: proven[i].shown)]
