"""The table of all variants as the report shows it: headings, texts, and what to sort by."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib.data.imgsz import parse_imgsz
from lib.npu.verdict import RUNS
from lib.results.rounding import DIGITS, MAP_DIGITS
from lib.results.table import variant_of


class Column(NamedTuple):
    """A column of the table: its heading and what it means."""

    label: str
    meaning: str


COLUMNS = {
    "model": Column("Model", "name under models in the config"),
    "imgsz": Column("Image size", "width x height of the input in pixels; one number for a square"),
    "head": Column(
        "Head", "single: one output with boxes and scores; split: raw maps for each stride, decoded on the CPU"
    ),
    "algorithm": Column("Algorithm", "how the toolkit chooses the value ranges of INT8"),
    "max_images": Column("Calibration images", "size of the calibration set, on which the value ranges are measured"),
    "map50_95_int8": Column("mAP50-95 INT8", "the INT8 model on the toolkit's simulator"),
    "map50_95_fp32": Column("mAP50-95 FP32", "the FP32 baseline: the exported ONNX, run by onnxruntime"),
    "retention": Column("Retention", "mAP50-95 in INT8 / in FP32"),
    "retention_low": Column(
        "Retention, low", "lower limit of its 95 % interval, from the same resamples of the images for FP32 and INT8"
    ),
    "retention_high": Column("Retention, high", "upper limit of that interval"),
    "verdict": Column("Verdict", "whether the board will run it, judged from the build log: runs, fails or unsure"),
    "npu_mcycles": Column("NPU Mcycles", "the toolkit's estimate for one inference, in millions of cycles"),
    "ms_low": Column(
        "Time ms, low", "estimated time of one inference: lower limit, by the spread of what people measured"
    ),
    "ms_high": Column("Time ms, high", "upper limit of that estimate"),
    "map50_95_board": Column("mAP50-95 board", "the INT8 model on a board"),
    "ms_board": Column("Time ms, board", "median time of rknn_run on that board"),
    "board": Column("Board result", "ran, or why the board's runtime refuses the model"),
    "verdict_was": Column("Verdict on board", "right where the board did as the verdict said, else wrong"),
    "map50_int8": Column("mAP50 INT8", "as mAP50-95 INT8, at one IoU threshold, 0.5"),
    "map50_fp32": Column("mAP50 FP32", "as mAP50-95 FP32, at one IoU threshold, 0.5"),
    "map50_95_adapted": Column(
        "mAP50-95 adapted", "the ONNX after graph surgery, in FP32; it equals the baseline when surgery is exact"
    ),
    "internal_kb": Column("Internal KB", "memory for the tensors between the layers"),
    "weight_kb": Column("Weights KB", "memory for the weights"),
    "rknn_mb": Column("File MB", "size of model.rknn, in millions of bytes"),
    "cpu_ops": Column(
        "CPU operators", "operators on the CPU, without input and output; the board cannot run them there"
    ),
}
MISSING = "–"  # in place of a figure that a run does not have
# These stand above the table when all variants share them.
SHARED = ("model", "algorithm")


def shared(table: pd.DataFrame) -> dict[str, str]:
    """What all rows have in common, by its column's heading: told once, above the table."""
    return {COLUMNS[name].label: table[name].iloc[0] for name in SHARED if table[name].nunique() == 1}


def columns(table: pd.DataFrame) -> list[dict]:
    """The columns to show: those that are known in their order, then any other; not those that all rows share."""
    same = shared(table)
    known = [name for name, column in COLUMNS.items() if name in table and column.label not in same]
    others = [name for name in table if name not in COLUMNS]
    return [
        {"name": name, **COLUMNS.get(name, Column(name, ""))._asdict(), "number": _is_number(table, name)}
        for name in known + others
    ]


def _is_number(table: pd.DataFrame, name: str) -> bool:
    return name == "imgsz" or pd.api.types.is_numeric_dtype(table[name])


def rows_of(table: pd.DataFrame, judged: dict, best, front: list) -> list[dict]:
    """What the page shows of each row, in the table's order.

    `judged`: what verdict.json holds, by the row's label; `best`, `front`: the labels to mark.
    """
    return [
        {**_row(table, row, judged[label]), "best": label == best, "front": label in front}
        for label, row in table.iterrows()
    ]


def _row(table: pd.DataFrame, row: pd.Series, judged: dict) -> dict:
    """The variant's name and file, its cells and their texts by column, and the verdict and costs of its build."""
    variant = variant_of(row)
    cells = {name: _cell(table, row, name) for name in table.columns}
    return {
        "title": variant.title(),
        "rknn": (Path("rknn") / variant.path() / "model.rknn").as_posix(),
        "cells": cells,
        **{name: cell["text"] for name, cell in cells.items()},
        "judged": judged["verdict"],
        "costs": judged["costs"],
    }


def reasons(rows) -> list[dict]:
    """What speaks against variants that are not known to run: the verdict, and the variants it is on."""
    groups = {}
    for row in rows:
        if row["judged"]["result"] != RUNS:
            groups.setdefault(tuple(row["judged"].items()), []).append(row["title"])
    return [{**dict(judged), "variants": titles} for judged, titles in groups.items()]


def _cell(table: pd.DataFrame, row: pd.Series, name: str) -> dict:
    """A cell's text, and what it is sorted by: a size by its area."""
    value = row[name]
    if pd.isna(value):
        return {"text": MISSING, "sort": ""}
    if name == "imgsz":
        return {"text": value, "sort": parse_imgsz(value).area}
    if not _is_number(table, name):
        return {"text": value, "sort": value}
    if pd.api.types.is_integer_dtype(table[name]):
        return {"text": str(value), "sort": value}
    return {"text": number_text(value, DIGITS.get(name, MAP_DIGITS)), "sort": value}


def number_text(value: float | None, digits: int = MAP_DIGITS) -> str:
    """A number with a fixed count of digits after the point, or MISSING."""
    return MISSING if value is None else f"{value:.{digits}f}"
