"""Makes one bundle: contract, proof on all evaluation images, golden files, check."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.accuracy.average_precision import average_precision
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.inference import evaluation_images
from lib.accuracy.labels import with_sigmas
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
from lib.detector.head import CLASSIFY
from lib.detector.instances import Instances
from lib.detector.nms import CONFIDENCE
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import classifier_spec, output_spec_of
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.graph import input_size
from lib.npu import toolkit_versions
from lib.npu.build import USE_TOOLKIT, Build
from lib.npu.highest_scores import highest_scores
from lib.npu.int8 import Quantization, int8_model
from lib.npu.rknn_file import read_rknn
from lib.npu.verdict import Judgement, Verdict
from lib.results import run_files
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require, write_text


class Evaluation(NamedTuple):
    """The images on which a bundle is proven: those on which its mAP was measured.

    truth: function (task, image path, (width, height)) → the labelled instances of the image.
    """

    part: str  # heldout or all
    images: list[Path]
    names: list[str]
    truth: Callable[[str, Path, tuple[int, int]], Instances]


class Subject(NamedTuple):
    """A built model and its measurements, from which a bundle is made."""

    variant: Variant
    rknn: Path
    onnx: Path  # after surgery
    platform: str
    verdict: Verdict
    fp32: Metrics
    int8: Metrics


def read_evaluation(run: Path, part: str, names: list[str], sigmas: tuple[float, ...] | None = None) -> Evaluation:
    """The evaluation of a run's folder; `names` from the command line, `sigmas` from keypoint_sigmas."""
    dataset, names = require(run / "dataset", "data set"), read_names(names)

    def truth(task: str, image: Path, size: tuple[int, int]) -> Instances:
        labels = tasks.get(task).ground_truth(dataset, image.name, size, len(names))
        return with_sigmas(labels, sigmas) if sigmas else labels

    return Evaluation(part, evaluation_images(dataset, part), names, truth)


def make(run: Path, variant: Variant, evaluation: Evaluation, processes: int, cc: list[str], folder: Path) -> Proof:
    """Make the bundle of a variant from the files of a run's folder, as the new `folder`; `cc` compiles its program.

    Raises UserError as `write_bundle` does, and when the mAP was not measured with the toolkit's simulator.
    """
    build = Build.read(run_files.rknn(run, variant, "build.json"))
    subject = _read_subject(run, variant, build)
    toolkit_versions.use(build.toolkit)
    model = load(subject.onnx)
    listed, images = run_files.calibration(run, variant), run / "dataset" / "images"
    with calibration_in_form(listed, images, input_size(model), input_form_of(model)) as calibration:
        return write_bundle(subject, calibration, evaluation, processes, cc, folder)


def write_bundle(
    subject: Subject, calibration: list[Path], evaluation: Evaluation, processes: int, cc: list[str], folder: Path
) -> Proof:
    """Make a bundle as the new `folder`. To simulate the model, it is built again with the files `calibration`.

    A model with the head `as_is` is taken for a classifier. Warns when no image has a detection above the suggested
    threshold: the golden files then compare nothing. Raises UserError when C and Python disagree, when the mAP or the
    top-1 of C is not the measured one, or when the bundle does not pass its own check.
    """
    model = load(subject.onnx)
    undecoded = is_as_is(model)  # by the toolkit's build, which then differs
    spec = classifier_spec(model, len(evaluation.names)) if undecoded else output_spec_of(model)
    forms = Forms(spec, input_form_of(model))
    contract = _contract(subject, forms, evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(subject.rknn, folder / "model.rknn")
    for name in (*headers(spec), DECODER, *BOARD_PROGRAM, *CAMERA_PROGRAM):
        shutil.copyfile(HERE / name, folder / name)
    write_text(folder / "model.h", model_h(contract))
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        program.build(folder, cc, binary)
        asked = Quantization(
            subject.onnx, subject.platform, subject.variant.algorithm, forms.input, None if undecoded else spec
        )
        with int8_model(asked, calibration) as built:
            simulate = built.session.simulate
            proven = prove(simulate, contract, binary, evaluation.images, processes)
            write_golden(simulate, contract, _most_shown(proven, evaluation), folder / "golden")
    shown = max(image.shown for image in proven)
    if not shown:
        say(_nothing_shown(subject.variant, proven, contract.thresholds.confidence))
    contract = replace(contract, proof=_proof(proven, evaluation, spec.task, subject.int8))
    golden_image = (folder / "golden" / "image.txt").read_text(encoding="utf-8").strip().replace(" ", "x")
    highest = {} if undecoded else highest_scores(folder / "model.rknn", spec)
    write_text(folder / "README.md", readme(contract, highest, golden_image, shown))
    replace(contract, files=checksums(folder)).write(folder / CONTRACT)
    write_checksums(folder)
    if wrong := problems(folder, cc):
        raise UserError(f"the bundle of {subject.variant.title()} does not pass its own check: {'; '.join(wrong)}")
    return contract.proof


def _read_subject(run: Path, variant: Variant, build: Build) -> Subject:
    """Read a variant from a run's folder. Raises UserError when its mAP is not from the toolkit's simulator."""
    if build.simulator:
        raise UserError(
            f"the mAP of {variant.title()} is from the simulator {build.simulator}, but a bundle is proven on the "
            f"toolkit's; {USE_TOOLKIT}"
        )
    return Subject(
        variant,
        run_files.rknn_model(run, variant),
        require(run_files.onnx(run, variant, variant.head), "model"),
        build.platform,
        Judgement.read(run_files.rknn(run, variant, "verdict.json")).verdict,
        Metrics.read(run_files.exported_metrics(run, variant)),
        ComparedMetrics.read(run_files.metrics(run, variant)),
    )


def _contract(subject: Subject, forms: Forms, evaluation: Evaluation) -> Contract:
    """The contract of a model, before its proof."""
    accuracy = accuracy_of(subject.fp32, subject.int8, evaluation.part)
    return describe(
        read_rknn(subject.rknn),
        subject.variant,
        forms,
        evaluation.names,
        Measured(accuracy, subject.int8.operating),
        subject.verdict,
    )


def _proof(proven: list[ProvenImage], evaluation: Evaluation, task: str, int8: Metrics) -> Proof:
    """The proof over all images. Raises UserError when mAP50-95 or top-1 of C is not the one of Python, `int8`."""
    truth = [evaluation.truth(task, image, one.size) for image, one in zip(evaluation.images, proven)]
    count, box, score, extras = zip(*(image.rounding for image in proven))
    added = max(extras) if tasks.get(task).bundle else None
    proof = Proof(len(proven), sum(count), max(box), max(score), extras=added)
    if task == CLASSIFY:
        right = [image.detections.classes[0] == labels.classes[0] for image, labels in zip(proven, truth)]
        return replace(proof, top1=_as_measured("top-1", float(np.mean(right)), int8.top1))
    precision = _mean_average_precision(proven, evaluation, truth, task)
    return replace(proof, map50_95=_as_measured("mAP50-95", precision, int8.map50_95))


def _as_measured(what: str, of_c: float, of_python: float) -> float:
    """The accuracy of the C program's detections, rounded. Raises UserError when it is not that of Python."""
    if abs(of_c - of_python) > 0.5 * 10**-MAP_DIGITS:
        raise UserError(f"decode.h gives {what} {of_c:.5f}, but Python measured {of_python:.5f}")
    return round(of_c, MAP_DIGITS)


def _mean_average_precision(
    proven: list[ProvenImage], evaluation: Evaluation, truth: list[Instances], task: str
) -> float:
    """mAP50-95 of the C program's detections."""
    names, sizes = [path.name for path in evaluation.images], [image.size for image in proven]
    detections = DetectionSet(names, sizes, [image.detections for image in proven], task)
    return average_precision(truth, detections, evaluation.names).map50_95


def _most_shown(proven: list[ProvenImage], evaluation: Evaluation) -> Path:
    """The image with the most detections above the suggested threshold, or else with the most; the first of several."""
    order = [(image.shown, len(image.detections)) for image in proven]
    return evaluation.images[order.index(max(order))]


def _nothing_shown(variant: Variant, proven: list[ProvenImage], confidence: float) -> str:
    """The warning that no image has a detection above the suggested threshold."""
    scores = [image.detections.scores.max() for image in proven if len(image.detections)]
    found = f"the highest score is {max(scores):.3f}" if scores else f"there is none above {CONFIDENCE} either"
    return (
        f"warning: in {len(proven)} evaluation images, {variant.title()} detects nothing above its suggested threshold "
        f"{confidence:g} ({found}), so the golden files of its bundle compare no detection; check that the images show "
        "the model's classes, and its INT8 mAP"
    )
