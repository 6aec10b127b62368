"""Making one bundle: contract, proof on all evaluation pictures, golden files, check."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from lib.accuracy.average_precision import average_precision
from lib.accuracy.evaluation import SimulatedModel
from lib.bundle import DECODER, HERE, program
from lib.bundle.check import CONTRACT, checksums, problems, write_checksums
from lib.bundle.contract import contract
from lib.bundle.model_h import model_h
from lib.bundle.proof import Proven, prove, write_golden
from lib.bundle.readme import readme
from lib.data.labels import read_boxes, read_names
from lib.data.split import PARTS, read_split
from lib.detector.head import SPLIT
from lib.npu.rknn_file import read_rknn
from lib.results.sweep import Variant
from lib.results.table import MAP_DIGITS
from lib.step.errors import UserError
from lib.step.files import read_json, require, write_json, write_text


class Evaluation(NamedTuple):
    """The pictures that a bundle is proven on, those that its mAP was measured on."""

    dataset: Path
    part: str  # heldout or all
    pictures: list[Path]
    names: list[str]


def read_evaluation(run: Path, part: str, names: list[str]) -> Evaluation:
    """The evaluation of a run's folder; `names` as the command line gives them."""
    dataset = require(run / "dataset", "data set")
    pictures = read_split(require(dataset / "split.csv", "split"), PARTS[part])
    return Evaluation(dataset, part, [dataset / "images" / each for each in pictures], read_names(names))


def calibrated(run: Path, variant: Variant, platform: str) -> SimulatedModel:
    """The variant's INT8 model in a run's folder. Raises UserError when it is not there."""
    folder = require(run / "quantized" / variant.path(), "calibrated model")
    return SimulatedModel(folder, variant.head, platform, variant.algorithm)


def is_decodable(model: SimulatedModel) -> bool:
    """Whether decode.h reads the model's outputs: not those of a split Darknet model."""
    return not (model.darknet and model.head == SPLIT)


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
    rknn = require(run / "rknn" / variant.path() / "model.rknn", "model")
    model = calibrated(run, variant, platform)
    exported = read_json(run / "metrics" / variant.model / variant.imgsz / "exported.json")
    int8 = read_json((run / "metrics" / variant.path()).with_suffix(".json"))
    verdict = read_json(rknn.parent / "build.json").get("verdict")
    agreed = contract(read_rknn(rknn), variant, evaluation.names, exported, int8, verdict, model.darknet)
    folder.mkdir(parents=True)
    shutil.copyfile(rknn, folder / "model.rknn")
    for name in DECODER:
        shutil.copyfile(HERE / name, folder / name)
    write_text(folder / "model.h", model_h(agreed))
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        program.build(folder, cc, binary)
        proven = prove(model, agreed, binary, evaluation.pictures, processes)
    precision = _mean_average_precision(proven, evaluation)
    if abs(precision - int8["map50_95"]) > 0.5 * 10**-MAP_DIGITS:
        raise UserError(f"decode.h gives mAP50-95 {precision:.5f}, Python measured {int8['map50_95']:.5f}")
    agreed["accuracy"]["part"] = evaluation.part
    agreed["proof"] = _summary(proven) | {"map50_95": round(precision, MAP_DIGITS)}
    write_golden(model, agreed, _most_shown(proven, evaluation), folder / "golden")
    write_text(folder / "README.md", readme(agreed))
    write_json(folder / CONTRACT, agreed | {"files": checksums(folder)})
    write_checksums(folder)
    if wrong := problems(folder, cc):
        raise UserError(f"the bundle of {variant.title()} does not pass its own check: {'; '.join(wrong)}")
    return agreed["proof"]


def _mean_average_precision(proven: list[Proven], evaluation: Evaluation) -> float:
    """mAP50-95 of what the C program found."""
    sizes = [each.size for each in proven]
    truth = [
        read_boxes(evaluation.dataset, picture.name, size, len(evaluation.names))
        for picture, size in zip(evaluation.pictures, sizes)
    ]
    return average_precision(truth, [each.found for each in proven], sizes, evaluation.names)["map50_95"]


def _summary(proven: list[Proven]) -> dict:
    count, box, score = zip(*(each.agreement for each in proven))
    return {"images": len(proven), "detections": sum(count), "box_px": max(box), "score": max(score)}


def _most_shown(proven: list[Proven], evaluation: Evaluation) -> Path:
    """The picture in which most is found with the suggested threshold, the first of equals."""
    return evaluation.pictures[max(range(len(proven)), key=lambda i: proven[i].shown)]
