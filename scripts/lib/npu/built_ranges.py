"""The ranges that a model is built with, made of those that were found for its tensors: the same for every algorithm.

Scores reach from 0 to 1 (lib.npu.score_ranges). What SiLU makes nothing of takes no steps: behind a depthwise or
transposed convolution the chip rounds what goes into a SiLU, and all that lies far below 0 comes out as 0.
"""

from lib.detector.output_spec import OutputSpec
from lib.npu.score_ranges import with_whole_scores
from lib.npu.twin.structure import Ranges, Structure

# SiLU gives -0.006 there and less below. The toolkit cuts what goes into a sigmoid at the same value.
SILU_END = 7.0


def built_ranges(structure: Structure, ranges: Ranges, outputs: OutputSpec) -> Ranges:
    """The ranges to build with, of all tensors that `ranges` has."""
    return with_whole_scores(structure, _without_silu_tails(structure, ranges), outputs)


def _without_silu_tails(structure: Structure, ranges: Ranges) -> Ranges:
    """The ranges cut at -SILU_END where a SiLU alone reads a rounded tensor."""
    readers: dict[str, list[str]] = {}
    for node in structure.model.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node.op_type)
    names = [name for name in structure.roundings() if readers.get(name) == ["exSwish"]]
    return ranges | {name: (max(ranges[name][0], -SILU_END), ranges[name][1]) for name in names}
