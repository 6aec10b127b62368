"""The ranges that change a model's outputs least, chosen on images alone.

Half of the images set the widest ranges, as the toolkit's `normal` does; some of the others judge. Copies of a tensor
in another shape take its range, since rounding to the steps that it has already costs nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.detector.output_spec import OutputSpec
from lib.npu.search import FEWEST
from lib.npu.search.difference import Difference
from lib.npu.search.rerun import Rerun
from lib.npu.twin.graph import is_selecting
from lib.npu.twin.ranges import adjusted
from lib.npu.twin.rounding import Rounding
from lib.npu.twin.structure import Ranges, Structure
from lib.step import console
from lib.step.errors import UserError

# Images for judging; the first few decide which tensors are tried at all.
JUDGES, FIRST = 8, 2
# A range's ends as fractions of the widest range.
SHARES = (0.85, 0.7)
# Number of tensors that are tried, those that change the outputs most; the ranges of the others matter little.
TRIED = 16
# A range must be better by this factor, or it counts as equal.
_BETTER = 0.9


def halves(images: list[Path]) -> tuple[list[Path], list[Path]]:
    """Those of the calibration images that set the widest ranges, and those that judge.

    Raises UserError for fewer than FEWEST.
    """
    if len(images) < FEWEST:
        raise UserError(
            f"the algorithm search sets ranges on half of the calibration images and judges on the others; give it "
            f"{FEWEST} images or more, not {len(images)}"
        )
    half = (len(images) + 1) // 2
    return images[:half], images[half:][:JUDGES]


def searched(structure: Structure, measured: Ranges, judges: list[np.ndarray], spec: OutputSpec | None) -> Ranges:
    """The ranges to build a structure with.

    measured: the range of each tensor on the images that set the widest. judges: the network's input for each image
    that judges, float32 [1, C, H, W]. spec: what the outputs mean; None if that is not known.
    """
    rerun = Rerun(structure, judges)
    widest = tied(structure, adjusted(structure, measured))
    return chosen_ranges(structure, widest, rerun, Difference(spec, rerun.outputs()), _shown)


def _shown(names: list[str]):
    return tqdm(names, "ranges", file=console.terminal(), disable=None)


def chosen_ranges(structure, widest: Ranges, rerun: Rerun, difference: Difference, progress=iter) -> Ranges:
    """For each tensor, the range that is best when only this tensor is rounded."""
    ranges, copies = dict(widest), _copies(structure)
    scores = {name for node in structure.model.graph.node if node.op_type == "Sigmoid" for name in node.output}
    names = [
        name
        for name in structure.with_ranges(widest).roundings()
        if name in rerun.names and name not in copies and name not in scores
    ]
    first = {name: difference.of(rerun.changed(name)(_rounding(widest[name]), FIRST)) for name in progress(names)}
    for name in progress(sorted(names, key=first.__getitem__, reverse=True)[:TRIED]):
        ranges[name] = _best(widest[name], _judged(rerun.changed(name), difference))
    return tied(structure, ranges)


def _judged(run, difference: Difference) -> Callable[[tuple[float, float]], float]:
    """A function of a range that gives the outputs' distance from FP32 when one tensor is rounded with that range."""
    return lambda ends: difference.of(run(_rounding(ends)))


def _best(widest: tuple[float, float], difference) -> tuple[float, float]:
    best, least = widest, difference(widest)
    for ends in _narrower(widest):
        now = difference(ends)
        if now < _BETTER * least:
            best, least = ends, now
    return best


def _narrower(widest: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """Yield ranges narrowed from the wider end; the other end, which is near 0 for many activations, only follows."""
    low, high = widest
    for share in SHARES:
        limit = share * max(-low, high)
        yield max(low, -limit), min(high, limit)


def _rounding(ends: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that rounds values as INT8 with that range does."""
    return Rounding.of_range(*ends).nearest


def _copies(structure: Structure) -> dict[str, str]:
    """For each copy, the tensor that it is a whole or partial copy of, through all copies in between."""
    source: dict[str, str] = {}
    for node in structure.model.graph.node:
        if is_selecting(node) and node.op_type != "Concat":
            for name in node.output:
                source[name] = source.get(node.input[0], node.input[0])
    return {name: origin for name, origin in source.items() if {name, origin} <= structure.ranges.keys()}


def tied(structure: Structure, ranges: Ranges) -> Ranges:
    """The ranges, with each copy's range set to that of its tensor."""
    return ranges | {name: ranges[origin] for name, origin in _copies(structure).items()}
