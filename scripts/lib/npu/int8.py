"""A variant's INT8 model, calibrated on images or built from ranges measured earlier; its scores span 0 to 1."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from lib.data.input_form import InputForm
from lib.detector.output_spec import OutputSpec
from lib.npu import toolkit
from lib.npu.algorithms import NORMAL, OF_PARAMETERS, OWN, RANGED, SEARCH
from lib.npu.built_ranges import built_ranges
from lib.npu.parameters import parameters_of
from lib.npu.range_table import RangeTable, digests, network_input, ranges_on, read_range_table
from lib.npu.score_ranges import surest_scores
from lib.npu.search.choice import halves, searched
from lib.npu.toolkit_versions import OWN_RANGES, in_use
from lib.npu.twin.ranges import RangePass, chosen, union
from lib.npu.twin.structure import Ranges, Structure
from lib.step.errors import UserError
from lib.step.files import sha256


@dataclass(frozen=True)
class Int8Model:
    """An INT8 model in the process that built it."""

    session: toolkit.Session  # to export, simulate and analyse it with
    structure: Structure | None  # what its twin is made of; None where nothing decodes it and no twin is asked for
    surest: dict[int, float]  # the highest score (0..1) of each stride in the calibration images


@dataclass(frozen=True)
class Quantization:
    """Which model to quantize, and how."""

    model: Path  # an ONNX
    platform: str
    algorithm: str
    form: InputForm
    outputs: OutputSpec | None  # None where nothing decodes what the model gives
    twin: bool = False  # whether its twin is wanted

    @property
    def is_plain(self) -> bool:
        """Whether the toolkit's own build suffices, or it cannot do more.

        It does not accept other ranges for its algorithms `mmse` and `kl_divergence`.
        """
        more = self.outputs is not None or self.twin
        return not more or in_use() == OWN_RANGES or self.algorithm not in (NORMAL, SEARCH)


# The ranges to build with, and those that were measured on the calibration images.
Found = tuple[Ranges, Ranges]


class _Choice:
    """Makes the ranges that a structure is built with (lib.npu.built_ranges) of those that `find` finds."""

    def __init__(self, outputs: OutputSpec | None, find: Callable[[Structure], Found]):
        self._outputs, self._find = outputs, find
        self.surest: dict[int, float] = {}  # as Int8Model has it; known once the ranges are made

    def __call__(self, structure: Structure) -> Ranges:
        ranges, measured = self._find(structure)
        if self._outputs is None:
            return ranges
        self.surest = surest_scores(structure, measured, self._outputs)
        return built_ranges(structure, ranges, self._outputs)


@contextmanager
def int8_model(asked: Quantization, images: list[Path], measured: Path | None = None) -> Iterator[Int8Model]:
    """The INT8 model of an ONNX, calibrated on `images`; released at the end.

    images: as toolkit.quantized takes them. measured: the file of measure_ranges.py, whose ranges of these images spare
    the algorithm `normal` its calibration. Raises ToolkitError as toolkit.quantized does, UserError where `measured` is
    damaged, or not of this ONNX and these images.
    """
    images = [image.absolute() for image in images]  # the toolkit works in a folder of its own
    if asked.algorithm in OWN and in_use() == OWN_RANGES:
        raise UserError(
            f"toolkit {OWN_RANGES} takes no ranges, so there is no algorithm {asked.algorithm} with it; choose another"
        )
    if asked.algorithm == SEARCH:
        with _searched(asked, images) as built:
            yield built
        return
    takes_ranges = asked.algorithm in RANGED and in_use() != OWN_RANGES
    table = read_ranges_of(asked.model, asked.platform, measured) if measured and takes_ranges else None
    if asked.algorithm in OF_PARAMETERS:
        with _with_parameters(asked, images, table) as built:
            yield built
        return
    with ExitStack() as opened:
        try:
            built = opened.enter_context(_from_ranges(asked, images, table))
        except _NotKnownError:
            built = opened.enter_context(_calibrated(asked, images))
        yield built


@contextmanager
def _searched(asked: Quantization, images: list[Path]):
    """The model of the ranges that are best on some of the images."""
    setting, judging = halves(images)

    def find(structure: Structure) -> Found:
        judges = [network_input(asked.form, image) for image in judging]
        with _possible(asked):
            run = RangePass(structure)
            measured = union(ranges_on(asked.form, run, image) for image in setting)
            return searched(structure, measured, judges, asked.outputs), measured

    choice = _Choice(asked.outputs, find)
    with toolkit.built_with_ranges(asked.model, choice, images[0], asked.platform, asked.form) as built:
        yield Int8Model(*built, choice.surest)


@contextmanager
def _with_parameters(asked: Quantization, images: list[Path], table: RangeTable | None):
    """The model with the ranges of `normal`, and with the parameters that the algorithm finds on the images."""
    try:
        if table and not table.half:
            raise _NotKnownError
        structure = (
            table.half.structure(asked.model)
            if table
            else toolkit.structure_of(asked.model, images[:1], asked.platform, asked.form)
        )
        own, measured = _own_ranges(asked, images, table, structure)
    except _NotKnownError:
        structure = toolkit.structure_of(asked.model, images, asked.platform, asked.form)
        own = measured = structure.ranges
    choice = _Choice(asked.outputs, lambda _: (own, measured))
    ranges = choice(structure)
    source = onnx.load(str(asked.model))
    tensors = (network_input(asked.form, image) for image in images)
    with _possible(asked):
        parameters = parameters_of(asked.algorithm, structure.with_ranges(ranges), source, tensors)
    with toolkit.built_with_ranges(asked.model, ranges, images[0], asked.platform, asked.form, parameters) as built:
        yield Int8Model(*built, choice.surest)


@contextmanager
def _possible(asked: Quantization):
    """Errors of computing the model without the toolkit, which the algorithm needs, say what to do."""
    try:
        yield
    except UserError as error:
        raise UserError(
            f"the algorithm {asked.algorithm} cannot be used with {asked.model}, because {error}; choose another, such "
            f"as {NORMAL}"
        ) from None


class _NotKnownError(Exception):
    """Only the toolkit can find the ranges."""


@contextmanager
def _from_ranges(asked: Quantization, images: list[Path], table: RangeTable | None):
    """The model of the images' ranges, those of the table, or else measured now.

    Raises _NotKnownError where they would not be the toolkit's own.
    """
    if asked.algorithm != NORMAL or (not table and asked.is_plain):
        raise _NotKnownError
    choice = _Choice(asked.outputs, lambda structure: _own_ranges(asked, images, table, structure))
    if table is None:
        opened = toolkit.built_with_ranges(asked.model, choice, images[0], asked.platform, asked.form)
    elif table.half:
        opened = toolkit.built_from(table.half, asked.model, choice, asked.platform, asked.form)
    else:
        raise _NotKnownError
    with opened as built:
        yield Int8Model(*built, choice.surest)


def _own_ranges(asked: Quantization, images: list[Path], table: RangeTable | None, structure: Structure) -> Found:
    """The toolkit's own ranges on the images, from the table or else measured now. Raises _NotKnownError."""
    if table:
        table.demand_of(digests(images), asked.form)
        on_first, on_images = table.union(table.images[:1]), table.union([image.name for image in images])
    else:
        on_first, on_images = _measured(structure, images, asked.form)
    own = chosen(structure, on_first, on_images)
    if own is None:
        raise _NotKnownError
    return own, on_images


def _measured(structure: Structure, images: list[Path], form: InputForm) -> tuple[Ranges, Ranges]:
    """The ranges on the first image, and on all images."""
    try:
        run = RangePass(structure)
        ranges = [ranges_on(form, run, image) for image in images]
    except UserError:
        raise _NotKnownError from None
    return ranges[0], union(ranges)


@contextmanager
def _calibrated(asked: Quantization, images: list[Path]):
    """The model with the ranges that the toolkit finds."""
    if asked.is_plain:
        # Built in one step, which works for any graph that the toolkit supports.
        with toolkit.quantized(asked.model, images, asked.platform, asked.algorithm, asked.form) as session:
            yield Int8Model(session, None, {})
        return
    choice = _Choice(asked.outputs, lambda structure: (structure.ranges, structure.ranges))
    with toolkit.quantized_with_structure(
        asked.model, images, asked.platform, asked.form, asked.algorithm, choice
    ) as built:
        yield Int8Model(*built, choice.surest)


def read_ranges_of(model: Path, platform: str, path: Path) -> RangeTable:
    """The ranges in a file. Raises UserError when it is damaged, or of another graph, platform or toolkit."""
    table = read_range_table(path)
    if table.graph != sha256(model):
        raise UserError(f"{path} holds the ranges of another graph than {model}; delete it and measure them again")
    if table.platform != platform:
        raise UserError(f"{path} was measured for {table.platform}, not {platform}; delete it and measure them again")
    if table.toolkit != in_use():
        raise UserError(
            f"{path} was measured with toolkit {table.toolkit}, not {in_use()}; delete it and measure the ranges again"
        )
    return table
