"""The largest image size that the board will run, of one kind of model."""

from collections.abc import Callable
from dataclasses import dataclass

from lib.data.imgsz import STRIDE, ImageSize
from lib.npu.build import Build
from lib.npu.verdict import FAILS, RUNS, UNSURE, Costs, Verdict


@dataclass(frozen=True)
class Candidate:
    """A model of one size, with the facts of its build."""

    size: ImageSize
    build: Build
    verdict: Verdict
    costs: Costs


@dataclass(frozen=True)
class Frontier:
    """Where a kind of model ceases to run."""

    largest: Candidate | None  # that runs
    beyond: Candidate | None  # the next size; None where the largest is the last that was to be tried
    unsure: tuple[ImageSize, ...]  # on the way; there may be others


def sizes_of(wide: int, high: int, step: int, largest: int) -> list[ImageSize]:
    """Image sizes of a shape, rising: widths are multiples of `step` up to `largest`, heights the nearest that fit."""
    widths = range(step, largest + 1, step)
    return [ImageSize(width, max(STRIDE, round(width * high / wide / STRIDE) * STRIDE)) for width in widths]


def find_frontier(sizes: list[ImageSize], candidate: Callable[[ImageSize], Candidate]) -> Frontier:
    """Search the rising `sizes`, each built by `candidate` at most once.

    Below a size that does not fail none is taken to fail (bisection); from there on smaller ones are tried until one
    runs.
    """
    built = {}

    def result_at(size: ImageSize) -> str:
        if size not in built:
            built[size] = candidate(size)
        return built[size].verdict.result

    last = last_that_holds(sizes, lambda size: result_at(size) != FAILS)
    while last >= 0 and result_at(sizes[last]) != RUNS:
        last -= 1
    return Frontier(
        largest=built[sizes[last]] if last >= 0 else None,
        beyond=built[sizes[last + 1]] if last + 1 < len(sizes) else None,
        unsure=tuple(size for size in sizes if size in built and result_at(size) == UNSURE),
    )


def last_that_holds(sizes: list, holds) -> int:
    """Index of the last size that `holds`, by bisection from the last one on; -1 where none does."""
    low, high, position = -1, len(sizes) - 1, len(sizes) - 1
    while low < high:
        if holds(sizes[position]):
            low = position
        else:
            high = position - 1
        position = (low + high + 1) // 2
    return low
