"""The estimated time: what the cycles say and what was measured; a user's own measurement moves it."""

import shutil

import pytest
from conftest import ROOT

from lib.npu.build import Build
from lib.npu.build_log import NPU, BuildLog, Operator
from lib.npu.timing import (
    CLOCKS,
    Factors,
    Measurement,
    Work,
    clock,
    estimate,
    estimator,
    fit,
    left_out,
    measured_row,
    read_measured,
    work_of,
)
from lib.step.errors import UserError

PUBLISHED = ROOT / "config" / "measured.csv"


def made(factors: Factors, noise=(1, 1, 1, 1)) -> list[Measurement]:
    works = [Work(10, 12, 100), Work(3, 3, 100), Work(25, 16, 80), Work(2, 4, 140)]
    return [
        Measurement(f"m{n}", "b", mhz, estimate(factors, work, mhz) * change, work)
        for n, (work, mhz, change) in enumerate(zip(works, (420, 420, 700, 700), noise))
    ]


def test_factors_that_made_the_times_are_found_again():
    factors = Factors(1.5, 0.1)
    assert fit(made(factors)) == pytest.approx(factors)
    assert left_out(made(factors)) == pytest.approx([each.ms for each in made(factors)])


@pytest.mark.parametrize("factors", [Factors(2.0, 0.0), Factors(0.0, 0.2)])
def test_no_factor_is_below_zero(factors):
    found = fit(made(factors, (1.3, 0.8, 0.9, 1.2)))
    assert min(found) >= 0
    assert max(found) > 0


def test_published_measurements_lie_within_the_limits_that_the_others_give():
    """Each from the measurements of other models: the limits are the largest errors, by construction, and wide."""
    times = estimator(PUBLISHED)
    measured = read_measured(PUBLISHED)
    for each, ms in zip(measured, left_out(measured)):
        assert times.low - 1e-9 <= each.ms / ms <= times.high + 1e-9, each
    assert 0.6 < times.low < 1 < times.high < 1.6
    for each in measured:
        assert each.work.npu_mcycles * 1e3 / each.clock_mhz < each.ms, each


def test_a_measurement_of_ones_own_moves_the_estimate(tmp_path):
    path = tmp_path / "measured.csv"
    shutil.copy(PUBLISHED, path)
    work = Work(6.0, 7.0, 110)
    before = estimator(path)
    with open(path, "a") as file:
        file.write(measured_row("mine", "my board", 420, 90.0, work) + "\n")
    assert read_measured(path)[-1] == Measurement("mine", "my board", 420, 90.0, work)
    after = estimator(path)
    assert estimate(after.factors, work, 420) > estimate(before.factors, work, 420) + 1
    # It was slower than the others let expect, so the limits are wider now.
    assert after.limits(work, 420)[1] > 90 > before.limits(work, 420)[1]


def test_work_is_cycles_and_what_operators_without_cycles_read():
    operators = tuple(
        Operator(f"{cycles}", "Conv", "INT8", NPU, "", "", 0, cycles, cycles, kb)
        for cycles, kb in ((3_000_000, 1000), (0, 500), (0, 0))
    )
    assert work_of(Build.of(BuildLog(operators, 0, 0, ()), "2.3.2", "rv1106", 1)) == (3.0, 0.512, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("66.7", "soon", 1), "line 2 is not a measurement"),
        (lambda text: text.replace("66.7", "-1", 1), "line 2 has a number that is not above 0"),
        (lambda text: text.replace("clock_mhz", "clock", 1), "line 2 is not a measurement"),
        (lambda text: "\n".join(text.splitlines()[:3]), "fewer than 3 models"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path, change, said):
    path = tmp_path / "measured.csv"
    path.write_text(change(PUBLISHED.read_text()))
    with pytest.raises(UserError, match=said):
        estimator(path)


def test_clocks_have_names():
    assert (clock("420"), clock("rv1106g3"), clock("rv1106")) == (420, 700, 420)
    assert all(clock(name) == mhz for name, mhz in CLOCKS.items())
    for text in ("fast", "0", "-1", "4.2"):
        with pytest.raises(ValueError, match=text):
            clock(text)
