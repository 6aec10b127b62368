"""The ranges that a model is built with, made of those that were found for its tensors: the same for every algorithm.

Scores reach from 0 to 1 (lib.npu.score_ranges). No steps are spent on values that the next function ignores: after a
depthwise or transposed convolution the chip rounds the input of a SiLU, which gives 0 for all that is far below 0. Box
maps of anchors go through a sigmoid and an exponential on the CPU, which hardly change far from 0.
"""

import math
from collections.abc import Iterable

from lib.detector.families.anchors import Anchors
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec
from lib.npu.score_ranges import tensors_of, with_whole_scores
from lib.npu.twin.structure import Ranges, Structure

# SiLU gives -0.006 there and less below. The toolkit cuts what goes into a sigmoid at the same value.
SILU_END = 7.0
# A sigmoid is within a thousandth of 0 and 1 there; an exponential is a thousandth, or a thousand times an anchor.
ANCHOR_END = 7.0


def built_ranges(structure: Structure, ranges: Ranges, outputs: OutputSpec) -> Ranges:
    """The ranges to build with, of all tensors that `ranges` has."""
    cut = _within(ranges, _silu_inputs(structure), -SILU_END)
    cut = _within(cut, _box_logits(structure, outputs), -ANCHOR_END, ANCHOR_END)
    return with_whole_scores(structure, cut, outputs)


def _within(ranges: Ranges, names: Iterable[str], lowest: float, highest: float = math.inf) -> Ranges:
    """The ranges, those of `names` cut at `lowest` and `highest`."""
    cut = {name: (max(ranges[name][0], lowest), min(ranges[name][1], highest)) for name in names if name in ranges}
    return ranges | cut


def _silu_inputs(structure: Structure) -> list[str]:
    """The rounded tensors that only a SiLU reads."""
    readers = structure.readers()
    return [name for name in structure.roundings() if [node.op_type for node in readers.get(name, [])] == ["exSwish"]]


def _box_logits(structure: Structure, outputs: OutputSpec) -> Iterable[str]:
    """The tensors of outputs that hold logits of boxes by anchors."""
    if outputs.head != SPLIT or not isinstance(outputs.family, Anchors):
        return ()
    layers = [layer for layer in outputs.family.layers if not layer.new_coords]
    return tensors_of(structure, [layer.maps(outputs.classes)[0].name for layer in layers]).values()
