"""The largest image size that the board will run, for one kind of model."""

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
    """The size up to which a kind of model runs."""

    largest: Candidate | None  # the largest that runs
    beyond: Candidate | None  # the next size; None if the largest is the last size to try
    unsure: tuple[ImageSize, ...]  # sizes tried whose verdict is `unsure`; there may be others


def sizes_of(wide: int, high: int, step: int, largest: int) -> list[ImageSize]:
    """Ascending image sizes of a shape: widths are multiples of `step` up to `largest`, heights fit the shape best."""
    widths = range(step, largest + 1, step)
    return [ImageSize(width, max(STRIDE, round(width * high / wide / STRIDE) * STRIDE)) for width in widths]


def find_frontier(sizes: list[ImageSize], candidate: Callable[[ImageSize], Candidate]) -> Frontier:
    """Search the ascending `sizes`, each built by `candidate` at most once.

    Bisection assumes that no size below one that does not fail fails; from there on, smaller sizes are tried until one
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
    """Index of the last size that `holds`, by bisection that begins with the last size; -1 if none does."""
    low, high, position = -1, len(sizes) - 1, len(sizes) - 1
    while low < high:
        if holds(sizes[position]):
            low = position
        else:
            high = position - 1
        position = (low + high + 1) // 2
    return low
