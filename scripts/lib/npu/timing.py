"""How long a model takes on the board, estimated from its build and from what people measured.

  ms = cycles of convolutions / clock + MB that other operators read * ms per MB + operators * ms per operator

Cycles, KB and operators are the build log's. The two last factors do not depend on the NPU's clock; they are fitted to
a table of published measurements (config/measured.csv). The spread is that of the table: each model's measurements are
left out in turn and estimated from the others', and the largest errors either way are the limits.
"""

import csv
import math
from typing import NamedTuple

import numpy as np

from lib.npu.build_log import BuildLog
from lib.step.errors import UserError
from lib.step.files import require

# The NPU's clock in MHz: of chips by the vendor kernel's device tree (rv1106.dtsi, which the rv1103's includes, and
# rv1106g3.dtsi), of a board by its log.
CLOCKS = {"rv1103": 420, "rv1106": 420, "rv1106g3": 700, "luckfox-pico-zero": 700}


class Work(NamedTuple):
    """What a model asks of the NPU: 10^6 cycles of convolutions, 10^6 bytes that other operators read, operators."""

    npu_mcycles: float
    moved_mb: float
    operators: int


class Measured(NamedTuple):
    """A measurement: who, where, the NPU's clock, milliseconds an image, and the model's work."""

    model: str
    board: str
    clock_mhz: int
    ms: float
    work: Work


class Factors(NamedTuple):
    """What is fitted: milliseconds per MB that is read, and per operator."""

    ms_per_mb: float
    ms_per_operator: float


class Estimator(NamedTuple):
    """Factors, and by what the measurements are below and above the estimates."""

    factors: Factors
    low: float
    high: float

    def limits(self, work: Work, clock_mhz: int) -> tuple[float, float]:
        """The shortest and the longest time in ms that the measurements make likely."""
        ms = estimate(self.factors, work, clock_mhz)
        return ms * self.low, ms * self.high


def clock(text: str) -> int:
    """A clock in MHz from digits or a name of CLOCKS. Raises ValueError for another text, which argparse tells."""
    if text in CLOCKS:
        return CLOCKS[text]
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(text)
    return int(text)


def work_of(log: BuildLog) -> Work:
    """The work that a build's log tells of."""
    others = sum(each["kb"] for each in log.operators if not each["cycles_total"])
    return Work(log.cycles / 1e6, others * 1024 / 1e6, len(log.operators))


def estimate(factors: Factors, work: Work, clock_mhz: int) -> float:
    """Milliseconds for one image."""
    counted = work.npu_mcycles * 1e3 / clock_mhz
    return counted + work.moved_mb * factors.ms_per_mb + work.operators * factors.ms_per_operator


def read_measured(path) -> list[Measured]:
    """The measurements in a CSV file. Raises UserError, naming the line, for one that is none."""
    found = []
    with open(require(path, "table of measurements"), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                work = Work(float(row["npu_mcycles"]), float(row["moved_mb"]), int(row["operators"]))
                one = Measured(row["model"], row["board"], int(row["clock_mhz"]), float(row["ms"]), work)
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}: line {len(found) + 2} is no measurement ({error})") from None
            if not all(math.isfinite(each) and each > 0 for each in (one.clock_mhz, one.ms, *work)):
                raise UserError(f"{path}: line {len(found) + 2} has a number that is not above 0")
            found.append(one)
    if len({each.model for each in found}) < 3:
        raise UserError(f"{path} holds fewer than 3 models; two factors cannot be fitted and checked with that")
    return found


def fit(measured: list[Measured]) -> Factors:
    """The factors, none below 0, with the least squared relative errors."""
    rest = np.array([1 - each.work.npu_mcycles * 1e3 / each.clock_mhz / each.ms for each in measured])
    table = np.array([[each.work.moved_mb / each.ms, each.work.operators / each.ms] for each in measured])
    both = np.linalg.lstsq(table, rest, rcond=None)[0]
    if (both >= 0).all():
        return Factors(*map(float, both))
    # The best within the bounds lies on one of them.
    alone = [max(0.0, float(column @ rest / (column @ column))) for column in table.T]
    ends = [Factors(alone[0], 0.0), Factors(0.0, alone[1])]
    return min(ends, key=lambda each: float(np.sum((table @ np.array(each) - rest) ** 2)))


def left_out(measured: list[Measured]) -> list[float]:
    """Of each measurement the estimate from all those of other models, in ms."""
    return [
        estimate(fit([other for other in measured if other.model != each.model]), each.work, each.clock_mhz)
        for each in measured
    ]


def estimator(path) -> Estimator:
    """The estimator that a table of measurements gives. Raises UserError as `read_measured` does."""
    measured = read_measured(path)
    ratios = [each.ms / ms for each, ms in zip(measured, left_out(measured))]
    return Estimator(fit(measured), min(1.0, *ratios), max(1.0, *ratios))


def measured_row(model: str, board: str, clock_mhz: int, ms: float, work: Work) -> str:
    """A line for the table of measurements."""
    return (
        f"{model},{board},{clock_mhz},{ms:.2f},rknn_run,{work.npu_mcycles:.3f},{work.moved_mb:.2f},{work.operators},,"
    )
