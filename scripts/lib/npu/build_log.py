"""Reads rknn-toolkit2's verbose build log: a model's operators, their costs, its memory, its errors.

The compiler prints, with each line after `D RKNN: [12:34:56.789]`,

  Network Layer Information Table     one operator per row: type, data type, NPU or CPU, shapes, cycles, KB read
  Feature Tensor Information Table    one tensor per row, with its addresses in the internal memory
  Const Tensor Information Table      the same for weights
  Total Internal Memory Size, Total Weight Memory Size

Cycles are given only for convolutions; all other operators have 0/0/0. The form is that of the versions in
lib.npu.toolkit_versions, seen in builds of 2.3.2 for the rv1103, rv1103b, rv1106 and rv1106b, and of the others for the
rv1106. All sums are compared with the totals in the log, so that a log of another form, or a truncated one, is refused
and never read as a model without operators.

Other lines are mixed with the compiler's, because Python's part of the toolkit, progress bars and the steps write to
the same file. Only text after the compiler's stamp is read.
"""

import re
from dataclasses import dataclass

from lib.npu.toolkit_versions import VERSIONS
from lib.step.errors import ToolkitError

NPU, CPU = "NPU", "CPU"
INPUT, OUTPUT = "InputOperator", "OutputOperator"

# Not only at the start of a line: a progress bar may have left its line without an end.
_STAMPED = re.compile(r"(?P<level>[A-Z]) RKNN: \[[\d:.]+\] ?(?P<text>.*)")
_RULE = re.compile(r"-{20,}[-+]*")
_COLUMNS = "ID OpType DataType Target InputShape OutputShape Cycles(DDR/NPU/Total) RW(KB) FullName"
_ROW = re.compile(
    rf"(?P<id>\d+)\s+(?P<type>\S+)\s+(?P<dtype>\S+)\s+(?P<target>{NPU}|{CPU})\s+"
    r"(?P<input_shape>\S+)\s+(?P<output_shape>\S+)\s+"
    r"(?P<cycles_ddr>\d+)/(?P<cycles_npu>\d+)/(?P<cycles_total>\d+)\s+(?P<kb>\d+)(\s+(?P<name>\S.*?))?\s*"
)
# A star instead of the space marks memory that several rows share.
_ADDRESSES = re.compile(r".*\|\s*0x(?P<start>[0-9a-f]+)[ *]0x(?P<end>[0-9a-f]+)\s+0x[0-9a-f]+\s*")


@dataclass(frozen=True)
class Operator:
    """A row of the log's table. Cycles are NPU clock cycles, `kb` the KB of 1024 bytes that are read.

    An operator that the toolkit adds has no name: the normalization of an input that several operators read.
    """

    name: str
    type: str
    dtype: str
    target: str  # NPU or CPU
    input_shape: str
    output_shape: str
    cycles_ddr: int
    cycles_npu: int
    cycles_total: int  # the larger of the two; 0 where the toolkit counts none
    kb: int

    @property
    def is_end(self) -> bool:
        """Whether it is the input or an output."""
        return self.type in (INPUT, OUTPUT)


@dataclass(frozen=True)
class BuildLog:
    """The facts about a build in its log. Sizes are in KB of 1024 bytes."""

    operators: tuple[Operator, ...]
    internal_kb: float
    weight_kb: float
    messages: tuple[str, ...]  # every `E RKNN` and `W RKNN` line in order, without its time

    @property
    def cycles(self) -> int:
        """Cycles of all operators."""
        return sum(operator.cycles_total for operator in self.operators)


def demand_known_log(version: str) -> None:
    """Raise ToolkitError for a toolkit version whose logs are not known."""
    if version not in VERSIONS:
        raise _unknown(f"it is of version {version}, but only {', '.join(VERSIONS)} are known")


def read_build_log(text: str) -> BuildLog:
    """The facts of the one build whose verbose log is `text`.

    Raises ToolkitError when the log is not of the form described above.
    """
    # Not splitlines: a layer's name may contain characters that Unicode counts as ends of lines.
    lines = [match.groupdict() for line in text.split("\n") if (match := _STAMPED.search(line))]
    plain = [line["text"] for line in lines]
    tensors = _rows(plain, "Feature Tensor Information Table")
    internal = _memory_kb(plain, "Internal", tensors)
    weight = _memory_kb(plain, "Weight", _rows(plain, "Const Tensor Information Table"))
    operators = _operators(_rows(plain, "Network Layer Information Table"))
    if (last := tensors[-1].split()[0]) != str(len(operators) - 1):
        raise _unknown(f"its tensors go up to operator {last}, but its operators to {len(operators) - 1}")
    return BuildLog(
        operators,
        internal,
        weight,
        tuple(f"{line['level']} RKNN: {line['text']}".strip() for line in lines if line["level"] in "EW"),
    )


def _rows(lines: list[str], title: str) -> list[str]:
    """The lines of the table `title`: its column names, then its rows.

    A table is   rule / title / rule / column names / rule / rows / rule.
    """
    titles = [number for number, line in enumerate(lines) if line.strip() == title]
    if len(titles) != 1:
        raise _unknown(f"it has {len(titles)} tables '{title}', but one is expected")
    rules = [number for number in range(titles[0], len(lines)) if _RULE.fullmatch(lines[number].strip())][:3]
    if len(rules) < 3 or rules[:2] != [titles[0] + 1, titles[0] + 3]:
        raise _unknown(f"its table '{title}' has no end or no line of column names")
    return [lines[rules[0] + 1], *lines[rules[1] + 1 : rules[2]]]


def _operators(table: list[str]) -> tuple[Operator, ...]:
    columns = " ".join(table[0].split())
    if columns != _COLUMNS:
        raise _unknown(f"its operators have the columns '{columns}'")
    operators = tuple(_operator(row, number) for number, row in enumerate(table[1:]))
    types = [operator.type for operator in operators]
    if types[:1] != [INPUT] or types[-1:] != [OUTPUT]:
        raise _unknown(f"its {len(types)} operators do not go from {INPUT} to {OUTPUT}")
    return operators


def _operator(row: str, number: int) -> Operator:
    match = _ROW.fullmatch(row)
    if not match:
        raise _unknown(f"the row '{' '.join(row.split())}' is not an operator")
    words = match.groupdict()
    if int(words["id"]) != number:
        raise _unknown(f"operator {words['id']} is where {number} is expected")
    ddr, npu, total, kb = (int(words[key]) for key in ("cycles_ddr", "cycles_npu", "cycles_total", "kb"))
    if total != max(ddr, npu):
        raise _unknown(f"operator {number} has {total} cycles, not the larger of {ddr} (DDR) and {npu} (NPU)")
    texts = (words[key] or "" for key in ("name", "type", "dtype", "target", "input_shape", "output_shape"))
    return Operator(*texts, ddr, npu, total, kb)


def _memory_kb(lines: list[str], kind: str, table: list[str]) -> float:
    """KB from the lowest to the highest address of a table of tensors, which is what the log calls its total."""
    matches = [_ADDRESSES.fullmatch(row) for row in table[1:]]
    if not matches or not all(matches):
        raise _unknown(f"a tensor of its {kind.lower()} memory has no addresses")
    kb = (max(int(m["end"], 16) for m in matches) - min(int(m["start"], 16) for m in matches)) / 1024
    totals = [m[1] for m in (re.fullmatch(rf"Total {kind} Memory Size: (\S+)KB", line.strip()) for line in lines) if m]
    # Printed with six significant digits, as C++ does.
    if totals != [f"{kb:.6g}"]:
        printed = " and ".join(totals) or "not given"
        raise _unknown(f"its tensors take {kb:.6g} KB of {kind.lower()} memory, but the total is {printed}")
    return kb


def _unknown(reason: str) -> ToolkitError:
    return ToolkitError(f"the toolkit's build log does not have the known form: {reason}")
