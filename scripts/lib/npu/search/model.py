"""What `algorithm: search` builds: ranges and biases, chosen by a set of calibration images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from lib.data.input_form import InputForm
from lib.detector.output_spec import OutputSpec
from lib.npu.built_ranges import built_ranges
from lib.npu.range_table import network_input
from lib.npu.search.biases import corrected_biases
from lib.npu.search.choice import halves, searched
from lib.npu.twin.structure import Ranges, Structure, convolutions


class Searched(NamedTuple):
    """What to build a model with: its tensors' ranges, and biases by the names of convolutions' outputs."""

    ranges: Ranges
    biases: dict[str, np.ndarray]


def searched_model(
    structure: Structure,
    model: onnx.ModelProto,
    measured: Ranges,
    images: list[Path],
    form: InputForm,
    outputs: OutputSpec | None,
) -> Searched:
    """Choose the ranges and biases to build a structure with.

    model: the ONNX that the structure was made from; only convolutions that it has too get other biases. measured: the
    range of each tensor on those images that set the widest ranges (see `halves`). images: the calibration images,
    files that were fitted for a model of that input form; all of them correct the biases. outputs: what the outputs
    mean; None if that is not known. Raises UserError for fewer images than `halves` needs, and for an operator that the
    twin does not support.
    """
    _, judging = halves(images)
    ranges = searched(structure, measured, [network_input(form, image) for image in judging], outputs)
    if outputs is not None:
        ranges = built_ranges(structure, ranges, outputs)
    tensors = [network_input(form, image) for image in images]
    return Searched(ranges, corrected_biases(structure.with_ranges(ranges), tensors, convolutions(model)))
