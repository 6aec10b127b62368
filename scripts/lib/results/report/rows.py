"""The table of all variants as the report shows it: columns, texts, and sort keys."""

from collections.abc import Container
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lib.npu.verdict import RUNS
from lib.results.columns import LIMITS, MISSING, REPORT_ORDER, Column
from lib.results.report.page import Cell, Reason, Row
from lib.results.rounding import MAP_DIGITS
from lib.results.table import BY_NAME

# These columns are shown above the table, not in it, when all variants have the same value.
SHARED = ("model", "task", "algorithm")


def shared(table: pd.DataFrame) -> dict[str, str]:
    """The values that all rows have in common, by column heading, to be shown once above the table."""
    return {BY_NAME[name].label: table[name].iloc[0] for name in SHARED if name in table and table[name].nunique() == 1}


def shown_columns(table: pd.DataFrame) -> list[Column]:
    """The columns to show, in the report's order, with unknown ones last, without those that all rows share.

    The column of an upper limit shows both limits. A column that is empty in all rows, as those of mAP are for
    classifiers, is left out.
    """
    same, lower = shared(table), {low for low, _, _ in LIMITS.values()}
    names = [name for name in REPORT_ORDER if name in table] + [name for name in table if name not in REPORT_ORDER]
    columns = [_shown(table, name) for name in names if name not in lower and table[name].notna().any()]
    return [column for column in columns if column.label not in same]


def _shown(table: pd.DataFrame, name: str) -> Column:
    column = _column(table, name)
    if name not in LIMITS:
        return column
    _, label, meaning = LIMITS[name]
    return replace(column, label=label, meaning=meaning, note="")


def _column(table: pd.DataFrame, name: str) -> Column:
    """A column by its name; for one that this version does not know, one made from its type."""
    if name in BY_NAME:
        return BY_NAME[name]
    is_number = pd.api.types.is_numeric_dtype(table[name])
    digits = MAP_DIGITS if pd.api.types.is_float_dtype(table[name]) else None
    return Column(name, name, "", digits, lambda row: row[name], is_text=not is_number)


def rows_of(table: pd.DataFrame, results: dict, best, fronts: Container) -> list[Row]:
    """What the page shows about each row, in the table's order.

    `results`: the VariantResults by the row's label; `best`, `fronts`: the labels to mark.
    """
    columns = [_column(table, name) for name in table.columns]
    rows = []
    for label, row in table.iterrows():
        variant = results[label].variant
        rows.append(
            Row(
                title=variant.title(),
                rknn=(Path("rknn") / variant.path() / "model.rknn").as_posix(),
                cells={column.name: _cell(column, row[column.name]) for column in columns},
                judged=results[label].verdict,
                costs=results[label].costs,
                best=label == best,
                front=label in fronts,
            )
        )
    return rows


def _cell(column: Column, value) -> Cell:
    if pd.isna(value):
        return Cell(MISSING, "")
    return Cell(column.text(value), column.sorted_by(value))


def reasons(rows) -> list[Reason]:
    """Why variants are not known to run: each verdict, and the variants that have it."""
    groups = {}
    for row in rows:
        if row.judged.result != RUNS:
            groups.setdefault(row.judged, []).append(row.title)
    return [Reason(judged, titles) for judged, titles in groups.items()]
