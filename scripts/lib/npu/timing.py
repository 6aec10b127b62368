"""Estimates a model's time on the board from its build and from published measurements.

  ms = cycles of convolutions / clock + MB that other operators read * ms per MB + operators * ms per operator

Cycles, KB and operators are from the build log. The last two factors do not depend on the NPU's clock; they are fitted
to a table of published measurements (config/measured.csv). The limits come from leave-one-out estimates: each model's
measurements are left out in turn and estimated from the others, and the largest errors in both directions are used.
"""

import csv
import math
from typing import NamedTuple

import numpy as np

from lib.npu.build import Build
from lib.step.errors import UserError
from lib.step.files import require

# The NPU's clock in MHz: for chips from the vendor kernel's device tree (rv1106.dtsi, which the rv1103's includes, and
# rv1106g3.dtsi), for a board from its log.
CLOCKS = {"rv1103": 420, "rv1106": 420, "rv1106g3": 700, "luckfox-pico-zero": 700}


class Work(NamedTuple):
    """A model's load on the NPU: 10^6 cycles of convolutions, 10^6 bytes that other operators read, operators."""

    npu_mcycles: float
    moved_mb: float
    operators: int


class Measurement(NamedTuple):
    """A measured time: who, where, the NPU's clock, milliseconds per image, and the model's work.

    timed: only `rknn_run`, or the whole `frame`.
    """

    model: str
    board: str
    clock_mhz: int
    ms: float
    work: Work
    timed: str = "rknn_run"


class Factors(NamedTuple):
    """The fitted factors: milliseconds per MB that is read, and per operator."""

    ms_per_mb: float
    ms_per_operator: float


class Estimator(NamedTuple):
    """The factors, and by which factors the measurements are below and above the estimates."""

    factors: Factors
    low: float
    high: float

    def limits(self, work: Work, clock_mhz: int) -> tuple[float, float]:
        """The shortest and the longest time in ms that the measurements suggest."""
        ms = estimate(self.factors, work, clock_mhz)
        return ms * self.low, ms * self.high


def clock(text: str) -> int:
    """A clock in MHz from digits or a name in CLOCKS. Raises ValueError for any other text, which argparse reports."""
    if text in CLOCKS:
        return CLOCKS[text]
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(text)
    return int(text)


def work_of(build: Build) -> Work:
    """The work of a build's operators."""
    others = sum(operator.kb for operator in build.operators if not operator.cycles_total)
    return Work(build.npu_mcycles, others * 1024 / 1e6, len(build.operators))


def estimate(factors: Factors, work: Work, clock_mhz: int) -> float:
    """Milliseconds for one image."""
    counted = work.npu_mcycles * 1e3 / clock_mhz
    return counted + work.moved_mb * factors.ms_per_mb + work.operators * factors.ms_per_operator


def read_measured(path) -> list[Measurement]:
    """The measurements in a CSV file. Raises UserError, naming the line, for a line that is not a measurement."""
    measured = []
    with open(require(path, "table of measurements"), encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                work = Work(float(row["npu_mcycles"]), float(row["moved_mb"]), int(row["operators"]))
                time = Measurement(
                    row["model"], row["board"], int(row["clock_mhz"]), float(row["ms"]), work, row["timed"]
                )
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}: line {line} is not a measurement ({error})") from None
            if not all(math.isfinite(number) and number > 0 for number in (time.clock_mhz, time.ms, *work)):
                raise UserError(f"{path}: line {line} has a number that is not above 0")
            measured.append(time)
    if len({time.model for time in measured}) < 3:
        raise UserError(
            f"{path} has fewer than 3 models, which are too few to fit and check two factors; add measurements"
        )
    return measured


def fit(measured: list[Measurement]) -> Factors:
    """The non-negative factors with the least squared relative errors."""
    rest = np.array([1 - time.work.npu_mcycles * 1e3 / time.clock_mhz / time.ms for time in measured])
    shares = np.array([[time.work.moved_mb / time.ms, time.work.operators / time.ms] for time in measured])
    factors, *_ = np.linalg.lstsq(shares, rest, rcond=None)
    if (factors < 0).any():
        # Imported here, because the import takes longer than everything else that a verdict needs.
        from scipy.optimize import nnls

        factors, _ = nnls(shares, rest)
    return Factors(*map(float, factors))


def left_out(measured: list[Measurement]) -> list[float]:
    """For each measurement, the estimate in ms from all measurements of other models."""
    return [
        estimate(fit([other for other in measured if other.model != time.model]), time.work, time.clock_mhz)
        for time in measured
    ]


def estimator(path) -> Estimator:
    """The estimator fitted to a table of measurements. Raises UserError as `read_measured` does."""
    measured = read_measured(path)
    ratios = [time.ms / ms for time, ms in zip(measured, left_out(measured))]
    return Estimator(fit(measured), min(1.0, *ratios), max(1.0, *ratios))


def measured_row(model: str, board: str, clock_mhz: int, ms: float, work: Work) -> str:
    """A row for the table of measurements."""
    return (
        f"{model},{board},{clock_mhz},{ms:.2f},rknn_run,{work.npu_mcycles:.3f},{work.moved_mb:.2f},{work.operators},,"
    )
