"""Whether the board will run a model, and what it will cost, judged from its build; nothing was run on a board.

  runs    nothing that is known speaks against it
  fails   a rule says that the board refuses it
  unsure  the build shows something whose meaning on the board is not known

A rule takes a Build and gives a Finding, or None. Rules in REPORTED_RULES rest on reports of people who had the board
(the threads are named). Rules in INFERRED_RULES rest on what the hardware and the log suggest. All reports are of the
rv1103 and the rv1106; for the newer rv1103b and rv1106b every verdict is inferred. The worst finding decides.
"""

import re
from collections import Counter
from typing import NamedTuple

from lib.npu.build_log import CPU, INPUT, NPU, OUTPUT, BuildLog
from lib.npu.timing import Estimator, work_of

RUNS, UNSURE, FAILS = "runs", "unsure", "fails"
# What a verdict rests on: a report of somebody with the board, or what the build log suggests.
REPORTED, INFERRED = "reported", "inferred"
REPORTED_PLATFORMS = ("rv1103", "rv1106")

# Operators that the board's runtime was seen to refuse on the CPU (`unsupport cpu … op`), and where.
REFUSED_ON_CPU = {
    "Transpose": "airockchip/rknn-toolkit2#145, airockchip/rknn-toolkit2#316",
    "Min": "airockchip/rknn-toolkit2#482",
    "AveragePool": "airockchip/rknn-toolkit2#217",
    "exNorm": "airockchip/rknn-toolkit2#359, airockchip/rknn-toolkit2#561",
    "Pow": "airockchip/rknn_model_zoo#312",
    # Refused by the runtime 1.5.2; 1.5.3 takes it, and then the NPU job behind it fails (`failed to submit`).
    "Reshape": "rockchip-linux/rknn-toolkit2#251",
}
# Error lines of builds that run all the same.
HARMLESS = (
    # In builds of the 4-D single head that run in the field: 80 classes at 320, 4 classes at 416x256.
    re.compile(r"BulbSqueeze: illegal shape for input_shape, input_shape\[-1\] should align to 16"),
    # Says that an operator was moved to the CPU (airockchip/rknn-toolkit2#559); the table says which.
    re.compile(r"Unkown op target: 0"),
)
REGISTER_LIMIT = re.compile(r"The bit width of field value exceeds the limit,.* limit: (0x\w+), value: (0x\w+)")
ELSEWHERE = "a smaller image size or the head 'split'"


# What the models are made of, built by today's toolkit, that people saw running on a board, and who said so.
_OF_YOLOV8 = frozenset(("Conv", "ConvExSwish", "ConvSigmoid", "ConvAdd", "Concat", "Add", "Split", "MaxPool", "Resize"))
REPORTED_TO_RUN = (
    ("YOLOv8", _OF_YOLOV8, "airockchip/rknn_model_zoo#185, ret7020/Yolov8CustomNPU"),
    (
        # 643 frames on a LuckFox Pico Zero. That YOLOv10, whose operators are the same, does not run is said in
        # airockchip/rknn_model_zoo#185, of 2024 and without a message: toolkits of then had no such attention operator.
        "YOLO11",
        _OF_YOLOV8 | {"Reshape", "exSDPAttention"},
        "nature-sense/ai-trap-linux, docs/luckfox/rv1106-isp-npu-coexistence.md",
    ),
)


class Build(NamedTuple):
    """What the rules look at: the log's facts, and the board's memory for contiguous buffers in MB of 2^20 bytes."""

    log: BuildLog
    cma_mb: int


class Finding(NamedTuple):
    """What one rule has to say."""

    result: str  # FAILS or UNSURE
    reason: str
    advice: str
    source: str


def verdict(build: Build, platform: str) -> dict:
    """The verdict on a build as texts: result (runs, fails, unsure), reason, advice, basis, source."""
    found = [(finding, True) for rule in REPORTED_RULES if (finding := rule(build))]
    found += [(finding, False) for rule in INFERRED_RULES if (finding := rule(build))]
    result = next((each for each in (FAILS, UNSURE) if any(finding.result == each for finding, _ in found)), RUNS)
    deciding = [each for each in found if each[0].result == result] or [_nothing_against(build)]
    reported = any(reported for _, reported in deciding) and platform in REPORTED_PLATFORMS
    return {
        "result": result,
        "reason": "; ".join(finding.reason for finding, _ in deciding),
        "advice": "; ".join(dict.fromkeys(finding.advice for finding, _ in deciding)),
        "basis": REPORTED if reported else INFERRED,
        "source": "; ".join(finding.source for finding, _ in deciding),
    }


def described(judged: dict) -> str:
    """A verdict as one line for the terminal."""
    line = f"verdict {judged['result']} ({judged['basis']})"
    return line if judged["result"] == RUNS else f"{line}: {judged['reason']}; {judged['advice']}"


def costs(log: BuildLog, cma_mb: int, clock_mhz: int, times: Estimator) -> dict:
    """What a build costs, as far as its log says. The time is an estimate (lib.npu.timing), with the spread of what was
    measured; `uncounted_operators` is how many the toolkit gives no cycles for.
    """
    low, high = times.limits(work_of(log), clock_mhz)
    return {
        "ms_low": round(low, 2),
        "ms_high": round(high, 2),
        "clock_mhz": clock_mhz,
        "uncounted_operators": sum(not each["cycles_total"] for each in log.operators if not _is_end(each)),
        "memory_mb": round(_memory_mb(log), 2),
        "cma_mb": cma_mb,
    }


def cpu_operators(operators: list[dict]) -> list[dict]:
    """The operators on the CPU that are neither input nor output."""
    return [operator for operator in operators if operator["target"] == CPU and not _is_end(operator)]


def _is_end(operator: dict) -> bool:
    return operator["type"] in (INPUT, OUTPUT)


def _memory_mb(log: BuildLog) -> float:
    """Memory for weights and for tensors between operators, input and output among them, in MB of 2^20 bytes."""
    return (log.internal_kb + log.weight_kb) / 1024


def reported_on_the_cpu(build: Build) -> Finding | None:
    """Operators on the CPU of a type that boards were seen to refuse there."""
    found = [each for each in cpu_operators(build.log.operators) if each["type"] in REFUSED_ON_CPU]
    if not found:
        return None
    types = sorted({each["type"] for each in found})
    reason = f"{_listed(found)} on the CPU, where the board's runtime has no such operator{_exceeded(build.log)}"
    return Finding(FAILS, reason, f"take {ELSEWHERE}", ", ".join(REFUSED_ON_CPU[each] for each in types))


def others_on_the_cpu(build: Build) -> Finding | None:
    """Operators on the CPU of a type without a report: none but input and output is expected to work there."""
    found = [each for each in cpu_operators(build.log.operators) if each["type"] not in REFUSED_ON_CPU]
    if not found:
        return None
    return Finding(
        FAILS,
        f"{_listed(found)} on the CPU, where the board takes nothing but input and output{_exceeded(build.log)}",
        f"take {ELSEWHERE}",
        "no report of this operator; others were all refused",
    )


def int16_at_the_ends(build: Build) -> Finding | None:
    """An INT16 input or output builds, and rknn_run then says `rknn_pack error`."""
    found = [each for each in build.log.operators if _is_end(each) and each["dtype"] == "INT16"]
    if not found:
        return None
    return Finding(
        UNSURE,
        f"{_listed(found)} in INT16, which a board did not convert when the model ran",
        "keep input and outputs in INT8",
        "airockchip/rknn-toolkit2#520",
    )


def not_integers(build: Build) -> Finding | None:
    """An NPU operator in a data type other than the integers this NPU computes with."""
    found = [each for each in build.log.operators if each["target"] == NPU and each["dtype"] not in ("INT8", "INT16")]
    if not found:
        return None
    types = ", ".join(sorted({each["dtype"] for each in found}))
    return Finding(
        UNSURE,
        f"{_listed(found)} in {types} on the NPU, which is said to compute in INT8 and INT16 only",
        "quantize these operators too",
        "a remark in airockchip/rknn-toolkit2#145",
    )


def more_than_the_cma(build: Build) -> Finding | None:
    """A model that takes more contiguous memory than the board sets aside."""
    needed = _memory_mb(build.log)
    if needed <= build.cma_mb:
        return None
    return Finding(
        FAILS,
        f"weights and tensors take {needed:.1f} MB, the board's CMA gives {build.cma_mb} MB",
        "take a smaller image size or model, or raise the board's CMA (rk_dma_heap_cma) and verdict.cma_mb with it",
        "computed; boards ran out of memory in airockchip/rknn_model_zoo#81 and #351",
    )


def register_limit_alone(build: Build) -> Finding | None:
    """A register's limit was exceeded, and yet no operator went to the CPU."""
    if cpu_operators(build.log.operators) or not (text := _exceeded(build.log)):
        return None
    return Finding(
        UNSURE,
        f"every operator is on the NPU{text}",
        f"try it on the board, or take {ELSEWHERE}",
        "no report of such a model on the rv1106",
    )


def unknown_errors(build: Build) -> Finding | None:
    """Error lines that no rule knows."""
    lines = [line.removeprefix("E RKNN: ") for line in build.log.messages if line.startswith("E ")]
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


REPORTED_RULES = (reported_on_the_cpu, int16_at_the_ends)
INFERRED_RULES = (others_on_the_cpu, more_than_the_cma, not_integers, register_limit_alone, unknown_errors)


def _nothing_against(build: Build) -> tuple[Finding, bool]:
    """The finding of a build that no rule speaks against, and whether a model of its operators was seen running."""
    reason = "every operator but input and output is on the NPU, and no error line is of a kind that is known to matter"
    kinds = {each["type"] for each in build.log.operators if not _is_end(each)}
    in_int8 = all(each["dtype"] == "INT8" for each in build.log.operators)
    seen = next(((name, source) for name, made_of, source in REPORTED_TO_RUN if in_int8 and kinds <= made_of), None)
    if seen:
        reason += f"; {seen[0]}, which has the same operators, ran on a board"
    source = seen[1] if seen else "no report of such a model that the board refused"
    return Finding(RUNS, reason, "put the runtime of the toolkit's version (librknnmrt) onto the board", source), bool(
        seen
    )


def _listed(operators: list[dict]) -> str:
    """`4 Reshape, 1 Transpose (first: Reshape:/model.22/dfl/Reshape)`."""
    counts = Counter(each["type"] for each in operators)
    return f"{', '.join(f'{n} {name}' for name, n in sorted(counts.items()))} (first: {operators[0]['name']})"


def _exceeded(log: BuildLog) -> str:
    """The register limit that was exceeded most, as the end of a sentence; empty when there is none."""
    pairs = [tuple(int(word, 16) for word in m.groups()) for m in map(REGISTER_LIMIT.search, log.messages) if m]
    if not pairs:
        return ""
    limit, value = max(pairs, key=lambda pair: pair[1] / pair[0])
    return f"; a register of the NPU holds at most {limit}, and {value} is needed"
