"""The largest size that runs is found with few builds, and what stands in its way is told."""

import pytest

from lib.convert.frontier import Candidate, find_frontier, last_that_holds, sizes_of
from lib.data.imgsz import ImageSize
from lib.npu.build import Build
from lib.npu.verdict import FAILS, INFERRED, RUNS, UNSURE, Costs, Verdict


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("true", range(6))
def test_bisection_finds_the_last_that_holds(count, true):
    tried = []

    def holds(size):
        tried.append(size)
        return size < true

    assert last_that_holds(list(range(count)), holds) == min(true, count) - 1
    assert len(set(tried)) == len(tried) <= 4


@pytest.mark.parametrize(
    ("results", "largest", "beyond", "unsure"),
    [
        ((RUNS, RUNS, RUNS, RUNS), "128", None, ()),
        ((RUNS, RUNS, FAILS, FAILS), "64", "96", ()),
        ((RUNS, UNSURE, UNSURE, FAILS), "32", "64", ("64", "96")),
        ((FAILS, FAILS, FAILS, FAILS), None, "32", ()),
        ((UNSURE, FAILS, FAILS, FAILS), None, "32", ("32",)),
        # Not seen: the bisection passes over it.
        ((UNSURE, RUNS, RUNS, FAILS), "96", "128", ()),
    ],
)
def test_the_frontier_lies_between_what_runs_and_what_does_not(results, largest, beyond, unsure):
    sizes, built = sizes_of(1, 1, 32, 128), []

    def candidate(size: ImageSize) -> Candidate:
        built.append(size)
        verdict = Verdict(results[sizes.index(size)], "", "", INFERRED, "")
        return Candidate(size, Build("2.3.2", "rv1106", 1, 1.0, (), 1.0, 1.0, ()), verdict, Costs(1, 2, 420, 0, 1, 66))

    frontier = find_frontier(sizes, candidate)
    assert (str(frontier.largest.size) if frontier.largest else None) == largest
    assert (str(frontier.beyond.size) if frontier.beyond else None) == beyond
    assert tuple(map(str, frontier.unsure)) == unsure
    assert len(set(built)) == len(built)


def test_sizes_of_a_shape_are_multiples_of_the_stride():
    assert list(map(str, sizes_of(16, 9, 160, 480))) == ["160x96", "320x192", "480x256"]
