"""Reads the toolkit's per-layer analysis: how far each layer's output in INT8 is from FP32, on one image.

  entire   both networks run as a whole, so errors accumulate from layer to layer
  single   each layer gets the FP32 input, so only its own error shows

Both are given as the cosine of the angle between the two outputs (1 is best; 0 if INT8 gives only zeros) and as their
Euclidean distance (0 is best; it grows with a layer's size and values, so use it to compare a layer with the same layer
in another variant, not with other layers).
"""

import re

import pandas as pd

from lib.step.errors import ToolkitError

COLUMNS = ["layer", "type", "entire_cos", "entire_euc", "single_cos", "single_euc"]

_HEADER = ["layer_name simulator_error", "entire single", "cos euc cos euc"]
_RULE = re.compile(r"-{20,}")
_ROW = re.compile(r"\[(?P<type>[^]]+)\] (?P<layer>\S+)(?P<numbers>.*)")
# Values if INT8 gives only zeros: nothing is left of FP32's direction; the distance is not given.
_OF_ZEROS = (0.0, float("nan"), 0.0, float("nan"))
_NUMBERS = re.compile(r"\s+(\S+) \| (\S+)\s+(\S+) \| (\S+)\s*")


def read_layer_errors(text: str) -> pd.DataFrame:
    """The table COLUMNS in the order of computation from the toolkit's `error_analysis.txt`.

    A layer without an output in INT8, because it is computed together with the next one, has no numbers (NaN).
    Raises ToolkitError when the text is not of the known form.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if [" ".join(line.split()) for line in lines[:3]] != _HEADER or not lines[3:4] or not _RULE.fullmatch(lines[3]):
        raise ToolkitError("rknn-toolkit2: its per-layer analysis does not have the known heading")
    table = pd.DataFrame([_layer(line) for line in lines[4:]], columns=COLUMNS)
    if table.entire_cos.count() == 0:
        raise ToolkitError("rknn-toolkit2: its per-layer analysis has no layer with an error")
    return table


def _layer(line: str) -> list:
    match = _ROW.fullmatch(line)
    numbers = _NUMBERS.fullmatch(match["numbers"]) if match else None
    if not match or not (numbers or not match["numbers"].strip()):
        raise _no_layer(line)
    try:
        errors = map(_error, numbers.groups(), _OF_ZEROS) if numbers else [float("nan")] * 4
        return [match["layer"], match["type"], *errors]
    except ValueError:
        raise _no_layer(line) from None


def _error(word: str, of_zeros: float) -> float:
    """A number in the text, or a word for one: q_zero if INT8 gives only zeros; any other …_zero is not a number."""
    if word.endswith("_zero"):
        return of_zeros if word == "q_zero" else float("nan")
    return float(word)


def _no_layer(line: str) -> ToolkitError:
    return ToolkitError(f"rknn-toolkit2: the line '{line.strip()}' of its per-layer analysis is not a layer")


def worst(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The `count` layers whose own error has the lowest cosine, the worst first."""
    return table.sort_values("single_cos", kind="stable").head(count)
