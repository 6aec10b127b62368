"""A variant's INT8 model, calibrated on images or built from ranges measured before; its scores reach from 0 to 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.data.input_form import InputForm
from lib.data.manifest import check_manifest
from lib.detector.output_spec import OutputSpec
from lib.npu import toolkit
from lib.npu.range_table import NAME, RangeTable, read_range_table
from lib.npu.score_ranges import surest_scores, with_whole_scores
from lib.npu.twin.ranges import adjusted
from lib.npu.twin.structure import Ranges, Structure
from lib.step.errors import UserError
from lib.step.files import require, sha256

NORMAL = "normal"  # the algorithm whose ranges are the smallest and the largest value


@dataclass(frozen=True)
class Int8Model:
    """An INT8 model in the process that built it."""

    session: toolkit.Session  # to export, simulate and analyse it with
    structure: Structure | None  # what its twin is made of; None where nothing decodes it and no twin is asked for
    surest: dict[int, float]  # the highest score (0..1) of each stride in the calibration images


@dataclass(frozen=True)
class Quantization:
    """What becomes an INT8 model, and how."""

    model: Path  # an ONNX
    platform: str
    algorithm: str
    form: InputForm
    outputs: OutputSpec | None  # None where nothing decodes what the model gives
    twin: bool = False  # whether its twin is wanted


@contextmanager
def int8_model(asked: Quantization, images: list[Path], measured: Path | None = None) -> Iterator[Int8Model]:
    """The INT8 model of an ONNX, calibrated on `images`; released at the end.

    images: as toolkit.quantized takes them. measured: the folder of measure_ranges.py, whose ranges of these images
    spare the calibration with the algorithm `normal`. Raises ToolkitError as toolkit.quantized does, UserError where
    `measured` is not of this ONNX and these images, or damaged.
    """
    surest: dict[int, float] = {}

    def widened(structure: Structure, ranges: Ranges) -> Ranges:
        if asked.outputs is None:
            return ranges
        surest.update(surest_scores(structure, ranges, asked.outputs))
        return with_whole_scores(structure, ranges, asked.outputs)

    table = _table(measured, asked) if measured and asked.algorithm == NORMAL else None
    if table is not None and not table.unknown:
        of_set = table.union([image.name for image in images])
        built = toolkit.built_of_prepared(
            measured, lambda structure: widened(structure, adjusted(structure, of_set)), asked.platform, asked.form
        )
    elif asked.outputs is None and not asked.twin:
        built = _plain(asked, images)
    else:
        built = toolkit.quantized_with_structure(
            asked.model,
            images,
            asked.platform,
            asked.form,
            asked.algorithm,
            lambda structure: widened(structure, structure.ranges),
        )
    with built as (session, structure):
        yield Int8Model(session, structure, surest)


@contextmanager
def _plain(asked: Quantization, images: list[Path]):
    """What the toolkit builds in one go, of any graph that it takes: a Session, and no structure."""
    with toolkit.quantized(asked.model, images, asked.platform, asked.algorithm, asked.form) as session:
        yield session, None


def _table(measured: Path, asked: Quantization) -> RangeTable:
    """The ranges in a folder. Raises UserError when it is damaged, or of another graph or platform."""
    check_manifest(require(measured, "folder"))
    table = read_range_table(measured / NAME)
    if (table.graph, table.platform) != (sha256(asked.model), asked.platform):
        raise UserError(
            f"{measured} holds the ranges of another graph than {asked.model}; delete it and measure them again"
        )
    return table
