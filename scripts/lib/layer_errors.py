"""The toolkit's per-layer analysis: how far each layer's output in INT8 is from FP32's, on one picture.

  entire   both networks run as a whole, so errors add up from layer to layer
  single   each layer gets the FP32 input, so only its own error shows

Both as the cosine of the angle between the two outputs (1 is best) and their euclidean distance (0 is best; it grows
with a layer's size and values, so it compares a layer with itself in another variant, not with other layers).
"""

import re

import pandas as pd

from lib.errors import ToolkitError

COLUMNS = ["layer", "type", "entire_cos", "entire_euc", "single_cos", "single_euc"]

_HEADER = ["layer_name simulator_error", "entire single", "cos euc cos euc"]
_RULE = re.compile(r"-{20,}")
_ROW = re.compile(r"\[(?P<type>[^]]+)\] (?P<layer>\S+)(?P<numbers>.*)")
# In place of a number where all of a layer's output is 0 in INT8, as scores are where there is nothing to find.
_ALL_ZERO = "q_zero"
_NUMBERS = re.compile(r"\s+(\S+) \| (\S+)\s+(\S+) \| (\S+)\s*")


def read_layer_errors(text: str) -> pd.DataFrame:
    """The table COLUMNS in the order of computation from the toolkit's `error_analysis.txt`.

    A layer whose output is not there in INT8, because it is computed together with the next one, has no numbers (NaN),
    nor has one whose output is all zeros.
    Raises ToolkitError when the text is not of the known form.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if [" ".join(line.split()) for line in lines[:3]] != _HEADER or not lines[3:4] or not _RULE.fullmatch(lines[3]):
        raise ToolkitError("rknn-toolkit2: its per-layer analysis has another heading than the one that is known")
    table = pd.DataFrame([_layer(line) for line in lines[4:]], columns=COLUMNS)
    if table.entire_cos.count() == 0:
        raise ToolkitError("rknn-toolkit2: its per-layer analysis holds no layer with an error")
    return table


def _layer(line: str) -> list:
    match = _ROW.fullmatch(line)
    numbers = _NUMBERS.fullmatch(match["numbers"]) if match else None
    if not match or not (numbers or not match["numbers"].strip()):
        raise ToolkitError(f"rknn-toolkit2: the line '{line.strip()}' of its per-layer analysis is no layer")
    words = numbers.groups() if numbers else [_ALL_ZERO] * 4
    return [match["layer"], match["type"], *(float("nan") if word == _ALL_ZERO else float(word) for word in words)]


def worst(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The `count` layers whose own error turns their output furthest, the worst first."""
    return table.sort_values("single_cos", kind="stable").head(count)
