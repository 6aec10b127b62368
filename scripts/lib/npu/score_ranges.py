"""Gives score maps the range 0 to 1, whatever scores occur in calibration.

Otherwise a score map's range ends at the highest score in the calibration images: a stride without a score above 0.5
never reports more than 0.5, and nothing at a higher threshold.
"""

from collections.abc import Iterable

import numpy as np
from scipy.special import expit

from lib.detector.output_spec import OutputSpec
from lib.npu.twin.structure import COPY, Ranges, Structure

# Maps of 0 to 1 whose product is a score.
FACTORS = ("scores", "objectness")
# They only move values, so a score is still a score after them.
_MOVES = {"Concat", "Reshape", "Transpose"}


def with_whole_scores(structure: Structure, ranges: Ranges, outputs: OutputSpec) -> Ranges:
    """The ranges with 0 and 1 in those of the score maps, and of what they are only copied to."""
    names = set(tensors_of(structure, score_maps(outputs)).values())
    for node in structure.model.graph.node:
        if node.op_type in _MOVES and names.intersection(node.input):
            names.update(node.output)
    whole = {name: (min(low, 0.0), max(high, 1.0)) for name, (low, high) in ranges.items() if name in names}
    return {**ranges, **whole}


def surest_scores(structure: Structure, ranges: Ranges, outputs: OutputSpec) -> dict[int, float]:
    """The highest score (0..1) of each stride on the calibration images that these ranges were measured on.

    It is the product of the factors' highest values, so only a bound if a score is a product. The toolkit's own ranges
    of a sigmoid always reach 0.5.
    """
    given = {node.output[0]: node.input[0] for node in structure.model.graph.node if node.op_type == "Sigmoid"}
    surest: dict[int, float] = {}
    strides = score_maps(outputs)
    for name, tensor in tensors_of(structure, strides).items():
        logits, stride = given.get(tensor), strides[name]
        if logits in ranges:
            surest[stride] = surest.get(stride, 1.0) * float(expit(np.float32(ranges[logits][1])))
    return dict(sorted(surest.items()))


def tensors_of(structure: Structure, maps: Iterable[str]) -> dict[str, str]:
    """The tensor of each of these maps by name; the toolkit has an output's name after its last conversion."""
    converted = {node.output[0]: node.input[0] for node in structure.model.graph.node if node.op_type == COPY}
    return {name: converted.get(name, name) for name in maps}


def score_maps(outputs: OutputSpec) -> dict[str, int]:
    """The stride of each map that is a score or a factor of one, by name, which is the same in both heads."""
    maps = outputs.family.maps(outputs.classes)
    return {output.name: output.stride for output in maps if output.role in FACTORS}
