"""Judges from a model's build whether the board will run it, and what it will cost; nothing was run on a board.

Both are stored in verdict.json.

  runs    no known rule predicts that it fails
  fails   a rule says that the board refuses it
  unsure  the build shows something whose meaning on the board is not known

A rule takes a Build and gives a Finding, or None. Some rules are based on reports by people with the board (the threads
are named), the others on what the hardware and the log suggest. All reports are about the rv1103 and the rv1106; for
the newer rv1103b and rv1106b every verdict is inferred. Rules apply to builds by any version in
lib.npu.toolkit_versions, whose tables have the same form and names; reports are only about REPORTED_VERSIONS. The worst
finding decides.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from lib.detector.head import HEADS, SPLIT
from lib.npu.build import Build
from lib.npu.build_log import NPU, Operator
from lib.npu.timing import Estimator, work_of
from lib.npu.toolkit_versions import DEFAULT, VERSIONS
from lib.step.arguments import at_least
from lib.step.typed_json import JsonRecord

RUNS, UNSURE, FAILS = "runs", "unsure", "fails"
# The basis of a verdict: a report by somebody with the board, or what the build log suggests.
REPORTED, INFERRED = "reported", "inferred"

# What the camera's buffers are assumed to take of the CMA, in MB of 2^20 bytes: four of 1920x1080 in NV12.
CAMERA_MB = 12

# Operators that the board's runtime was seen to refuse on the CPU (`unsupport cpu … op`), and where.
REFUSED_ON_CPU = {
    "Transpose": "airockchip/rknn-toolkit2#145, airockchip/rknn-toolkit2#316",
    "Min": "airockchip/rknn-toolkit2#482",
    "AveragePool": "airockchip/rknn-toolkit2#217",
    "exNorm": "airockchip/rknn-toolkit2#359, airockchip/rknn-toolkit2#561",
    "Pow": "airockchip/rknn_model_zoo#312",
    # Runtime 1.5.2 refuses it; 1.5.3 accepts it, but the next NPU job then fails (`failed to submit`).
    "Reshape": "rockchip-linux/rknn-toolkit2#251",
}
# Error lines of builds that run all the same.
HARMLESS = (
    # In builds of the 4-D single head that are known to run on boards: 80 classes at 320, 4 classes at 416x256.
    re.compile(r"BulbSqueeze: illegal shape for input_shape, input_shape\[-1\] should align to 16"),
    # Means that an operator was moved to the CPU (airockchip/rknn-toolkit2#559); the table shows which.
    re.compile(r"Unkown op target: 0"),
)
REGISTER_LIMIT = re.compile(r"The bit width of field value exceeds the limit,.* limit: (0x\w+), value: (0x\w+)")
# What to use instead of a model that fails: for a detector, and for a model that is not decoded.
ELSEWHERE = "a smaller image size or the head 'split'"
ELSEWHERE_AS_IS = "a smaller image size, or cut the graph off before them and compute what follows on the CPU"
_INTEGERS = ("INT8", "INT16")

# Operators, in builds by today's toolkit, of models that people reported to run on a board, and who reported it.
_OF_YOLOV8 = frozenset(("Conv", "ConvExSwish", "ConvSigmoid", "ConvAdd", "Concat", "Add", "Split", "MaxPool", "Resize"))
REPORTED_TO_RUN = (
    ("YOLOv8", _OF_YOLOV8, "airockchip/rknn_model_zoo#185, ret7020/Yolov8CustomNPU"),
    (
        "YOLOv5 with ReLU",
        frozenset(("Conv", "ConvRelu", "ConvReluAdd", "ConvSigmoid", "Concat", "Add", "MaxPool", "Resize")),
        "rockchip-linux/rknn-toolkit2#383",
    ),
    (
        # 643 frames on a LuckFox Pico Zero. YOLOv10 has the same operators, but airockchip/rknn_model_zoo#185, from
        # 2024 and without a message, says that it does not run: toolkits of that time had no such attention operator.
        "YOLO11",
        _OF_YOLOV8 | {"Reshape", "exSDPAttention"},
        "nature-sense/ai-trap-linux, docs/luckfox/rv1106-isp-npu-coexistence.md",
    ),
)


# All reports are about models built by toolkits up to 2.3.2; for builds of a newer one every verdict is inferred.
REPORTED_VERSIONS = VERSIONS[: VERSIONS.index(DEFAULT) + 1]
OLDER = REPORTED_VERSIONS[:-1]  # these put more operators on the CPU


class Largest(NamedTuple):
    """The largest model that was reported to run on a platform, rebuilt with today's toolkit."""

    name: str
    npu_mcycles: float
    memory_mb: float
    source: str


# From benchmarks/timing.py --rebuild. For platforms without a report every verdict is inferred.
LARGEST_REPORTED = {
    "rv1103": Largest("YOLOv8n at 640", 10.32, 5.64, "ret7020/Yolov8CustomNPU, on a LuckFox Pico Mini"),
    "rv1106": Largest("YOLOv5s at 640", 24.81, 13.50, "rockchip-linux/rknn-toolkit2#383, on a LuckFox Pico Ultra W"),
}


class Finding(NamedTuple):
    """The result of one rule."""

    result: str  # FAILS or UNSURE
    reason: str
    advice: str  # `{elsewhere}` in it is replaced by what to use instead of the model
    source: str


Rule = Callable[[Build], Finding | None]


@dataclass(frozen=True)
class Verdict(JsonRecord):
    """Whether the board will run a model, why, what to do, and the basis for that."""

    result: Literal["runs", "unsure", "fails"]
    reason: str
    advice: str
    basis: Literal["reported", "inferred"]
    source: str

    @property
    def line(self) -> str:
        """The verdict as one line for the terminal."""
        line = f"{self.result} ({self.basis})"
        return line if self.result == RUNS else f"{line}: {self.reason}; {self.advice}"


@dataclass(frozen=True)
class Costs(JsonRecord):
    """What a build costs, as far as its log shows. The time is an estimate (lib.npu.timing); its limits come from the
    spread of measurements. Memory is in MB of 2^20 bytes.
    """

    ms_low: float
    ms_high: float
    clock_mhz: int
    uncounted_operators: int  # operators for which the toolkit gives no cycles
    memory_mb: float
    cma_mb: int  # the board's memory for contiguous buffers


@dataclass(frozen=True)
class Judgement(JsonRecord):
    """The contents of verdict.json."""

    verdict: Verdict
    costs: Costs


def add_camera_option(parser: argparse.ArgumentParser) -> None:
    """Add --camera-mb, of which `verdict` makes use."""
    parser.add_argument(
        "--camera-mb",
        "--camera_mb",
        type=at_least(0),
        default=CAMERA_MB,
        help="what the camera's buffers take of the CMA, in MB (default: %(default)s)",
    )


def verdict(build: Build, cma_mb: int, head: str = SPLIT, camera_mb: int = CAMERA_MB) -> Verdict:
    """The verdict on a build for a board that has `cma_mb` MB (of 2^20 bytes) for contiguous buffers.

    The camera's buffers take `camera_mb` of them. If `head` is not a detector's, reports about detectors that ran do
    not apply to the model.
    """
    is_detector = head in HEADS
    elsewhere = ELSEWHERE if is_detector else ELSEWHERE_AS_IS
    if build.toolkit in OLDER:
        elsewhere += f", or toolkit {DEFAULT} with its runtime"
    findings = [(finding, True) for rule in REPORTED_RULES if (finding := rule(build))]
    findings += [(finding, False) for rule in inferred_rules(cma_mb, camera_mb) if (finding := rule(build))]
    results = {finding.result for finding, _ in findings}
    result = next((candidate for candidate in (FAILS, UNSURE) if candidate in results), RUNS)
    deciding = [pair for pair in findings if pair[0].result == result] or [_nothing_against(build, is_detector)]
    can_be_reported = build.platform in LARGEST_REPORTED and build.toolkit in REPORTED_VERSIONS
    reported = can_be_reported and any(reported for _, reported in deciding)
    return Verdict(
        result,
        "; ".join(finding.reason for finding, _ in deciding),
        "; ".join(dict.fromkeys(finding.advice.replace("{elsewhere}", elsewhere) for finding, _ in deciding)),
        REPORTED if reported else INFERRED,
        "; ".join(finding.source for finding, _ in deciding),
    )


def costs(build: Build, cma_mb: int, clock_mhz: int, times: Estimator) -> Costs:
    """What a build costs on a board with `cma_mb` MB for contiguous buffers, whose NPU runs at `clock_mhz`."""
    low, high = times.limits(work_of(build), clock_mhz)
    uncounted = sum(not operator.cycles_total for operator in build.inner_operators)
    return Costs(round(low, 2), round(high, 2), clock_mhz, uncounted, round(build.memory_mb, 2), cma_mb)


def reported_on_the_cpu(build: Build) -> Finding | None:
    """Operators on the CPU of a type that boards were reported to refuse there."""
    refused = [operator for operator in build.cpu_operators if operator.type in REFUSED_ON_CPU]
    if not refused:
        return None
    types = sorted({operator.type for operator in refused})
    reason = f"{_listed(refused)} on the CPU, where the board's runtime has no such operator{_exceeded(build)}"
    return Finding(FAILS, reason, "take {elsewhere}", ", ".join(REFUSED_ON_CPU[name] for name in types))


def others_on_the_cpu(build: Build) -> Finding | None:
    """Operators on the CPU of a type without a report: only input and output are expected to work there."""
    others = [operator for operator in build.cpu_operators if operator.type not in REFUSED_ON_CPU]
    if not others:
        return None
    return Finding(
        FAILS,
        f"{_listed(others)} on the CPU, where the board takes nothing but input and output{_exceeded(build)}",
        "take {elsewhere}",
        "no report of this operator; others were all refused",
    )


def int16_at_the_ends(build: Build) -> Finding | None:
    """An INT16 input or output can be built, but rknn_run then reports `rknn_pack error`."""
    ends = [operator for operator in build.operators if operator.is_end and operator.dtype == "INT16"]
    if not ends:
        return None
    return Finding(
        UNSURE,
        f"{_listed(ends)} in INT16, which a board did not convert when the model ran",
        "keep input and outputs in INT8",
        "airockchip/rknn-toolkit2#520",
    )


def not_integers(build: Build) -> Finding | None:
    """An NPU operator in a data type other than the integers this NPU computes with."""
    others = [operator for operator in build.operators if operator.target == NPU and operator.dtype not in _INTEGERS]
    if not others:
        return None
    types = ", ".join(sorted({operator.dtype for operator in others}))
    return Finding(
        UNSURE,
        f"{_listed(others)} in {types} on the NPU, which is said to compute in INT8 and INT16 only",
        "quantize these operators too",
        "a remark in airockchip/rknn-toolkit2#145",
    )


def more_than_the_cma(cma_mb: int, build: Build) -> Finding | None:
    """A model that needs more contiguous memory than the `cma_mb` MB that the board reserves."""
    if build.memory_mb <= cma_mb:
        return None
    return Finding(
        FAILS,
        f"weights and tensors take {build.memory_mb:.1f} MB, the board's CMA gives {cma_mb} MB",
        "take a smaller image size or model, or raise the board's CMA (rk_dma_heap_cma) and verdict.cma_mb with it",
        "computed; boards ran out of memory in airockchip/rknn_model_zoo#81 and #351",
    )


def more_than_the_camera_leaves(cma_mb: int, camera_mb: int, build: Build) -> Finding | None:
    """A model that fits in the `cma_mb` MB that the board reserves, but not beside the camera's `camera_mb`."""
    if not max(cma_mb - camera_mb, 0) < build.memory_mb <= cma_mb:
        return None
    return Finding(
        UNSURE,
        f"weights and tensors take {build.memory_mb:.1f} MB, and the camera's buffers {camera_mb} MB of the "
        f"{cma_mb} MB of the board's CMA",
        "take a smaller image size or model, or set verdict.camera_mb to what your camera program takes: CmaTotal less "
        "CmaFree of /proc/meminfo while it runs, without a model",
        "computed; the camera's share is an assumption",
    )


def register_limit_alone(build: Build) -> Finding | None:
    """A register's limit was exceeded, but no operator was moved to the CPU."""
    if build.cpu_operators or not (text := _exceeded(build)):
        return None
    return Finding(
        UNSURE,
        f"every operator is on the NPU{text}",
        "try it on the board, or take {elsewhere}",
        "no report of such a model on the rv1106",
    )


def unknown_errors(build: Build) -> Finding | None:
    """Error lines that no rule covers."""
    lines = [line.removeprefix("E RKNN: ") for line in build.messages if line.startswith("E ")]
    known = (*HARMLESS, REGISTER_LIMIT)
    unknown = sorted({line for line in lines if not any(pattern.search(line) for pattern in known)})
    if not unknown:
        return None
    return Finding(
        UNSURE,
        f"the build prints errors whose meaning for the board is not known: {' | '.join(unknown)}",
        "try it on the board",
        "no report",
    )


def at_fault(build: Build) -> tuple[Operator, ...]:
    """The operators for which a verdict is not `runs`, in the order of computation."""
    return tuple(
        operator
        for operator in build.operators
        if operator in build.cpu_operators
        or (operator.is_end and operator.dtype == "INT16")
        or (operator.target == NPU and operator.dtype not in _INTEGERS)
    )


REPORTED_RULES = (reported_on_the_cpu, int16_at_the_ends)


def inferred_rules(cma_mb: int, camera_mb: int) -> tuple[Rule, ...]:
    """The rules without a report, for a board with `cma_mb` MB for contiguous buffers; the camera takes `camera_mb`."""
    memory = partial(more_than_the_cma, cma_mb), partial(more_than_the_camera_leaves, cma_mb, camera_mb)
    return others_on_the_cpu, *memory, not_integers, register_limit_alone, unknown_errors


def _nothing_against(build: Build, is_detector: bool) -> tuple[Finding, bool]:
    """The finding for a build that no other rule matches, and whether it is reported.

    It is reported if a detector with the same operators, and one of that size, were reported to run on the platform.
    """
    reason = "every operator but input and output is on the NPU, and no error line is of a kind that is known to matter"
    types = {operator.type for operator in build.inner_operators}
    comparable = is_detector and all(operator.dtype == "INT8" for operator in build.operators)
    seen = next(((name, source) for name, made_of, source in REPORTED_TO_RUN if comparable and types <= made_of), None)
    if seen:
        reason += f"; {seen[0]}, which has the same operators, ran on a board"
    largest = LARGEST_REPORTED.get(build.platform)
    larger = bool(largest) and (build.npu_mcycles > largest.npu_mcycles or build.memory_mb > largest.memory_mb)
    if seen and larger:
        reason += (
            f", but no model of {build.npu_mcycles:.1f} million cycles and {build.memory_mb:.1f} MB was reported "
            f"on the {build.platform}: the largest is {largest.name}, {largest.npu_mcycles} and {largest.memory_mb} "
            f"({largest.source})"
        )
    if seen and build.toolkit not in REPORTED_VERSIONS:
        reason += f"; but no model that toolkit {build.toolkit} built was reported"
    source = seen[1] if seen else "no report of such a model that the board refused"
    advice = "put the runtime of the toolkit's version (librknnmrt) onto the board"
    return Finding(RUNS, reason, advice, source), bool(seen) and not larger


def _listed(operators: Sequence[Operator]) -> str:
    """Operators in words: `4 Reshape, 1 Transpose (first: Reshape:/model.22/dfl/Reshape)`."""
    counts = Counter(operator.type for operator in operators)
    return f"{', '.join(f'{n} {name}' for name, n in sorted(counts.items()))} (first: {operators[0].name})"


def _exceeded(build: Build) -> str:
    """The register limit that was exceeded most, as the end of a sentence; empty if none was exceeded."""
    pairs = [tuple(int(word, 16) for word in m.groups()) for m in map(REGISTER_LIMIT.search, build.messages) if m]
    if not pairs:
        return ""
    limit, value = max(pairs, key=lambda pair: pair[1] / pair[0])
    return f"; a register of the NPU holds at most {limit}, and {value} is needed"
