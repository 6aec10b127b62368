"""The ranges that a model is built with, made of those that were found for its tensors: the same for every algorithm.

Scores reach from 0 to 1 (lib.npu.score_ranges). What SiLU makes nothing of takes no steps: behind a depthwise or
transposed convolution the chip rounds what goes into a SiLU, and all that lies far below 0 comes out as 0. Box maps of
anchors go through a sigmoid and an exponential after the chip, which make as little of what lies far from 0.
"""

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
    cut = _without_box_tails(structure, _without_silu_tails(structure, ranges), outputs)
    return with_whole_scores(structure, cut, outputs)


def _without_silu_tails(structure: Structure, ranges: Ranges) -> Ranges:
    """The ranges cut at -SILU_END where a SiLU alone reads a rounded tensor."""
    readers: dict[str, list[str]] = {}
    for node in structure.model.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node.op_type)
    names = [name for name in structure.roundings() if readers.get(name) == ["exSwish"]]
    return ranges | {name: (max(ranges[name][0], -SILU_END), ranges[name][1]) for name in names}


def _without_box_tails(structure: Structure, ranges: Ranges, outputs: OutputSpec) -> Ranges:
    """The ranges cut at -ANCHOR_END and ANCHOR_END where an output holds logits of boxes by anchors."""
    if outputs.head != SPLIT or not isinstance(outputs.family, Anchors):
        return ranges
    boxes = {
        layer.maps(outputs.classes)[0].name: layer.stride for layer in outputs.family.layers if not layer.new_coords
    }
    names = [name for name in tensors_of(structure, boxes) if name in ranges]
    return ranges | {name: (max(ranges[name][0], -ANCHOR_END), min(ranges[name][1], ANCHOR_END)) for name in names}
