"""The comparison table: one row per variant, sorted; numbers are rounded only here."""

from pathlib import Path

import pandas as pd

from lib.npu.toolkit_versions import DEFAULT
from lib.results.choice import accuracy, focus
from lib.results.columns import (
    BOARD_COLUMNS,
    CLASSIFIER_COLUMNS,
    COLUMNS,
    LIKENESS_COLUMNS,
    SIMULATOR_COLUMNS,
    TASK_COLUMNS,
    TOOLKIT_COLUMNS,
    TOP_BOARD_COLUMNS,
    TOP_COLUMNS,
)
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.results.variant_results import VariantResults
from lib.step.errors import UserError
from lib.step.files import write_text

_LISTS = (
    COLUMNS, TASK_COLUMNS, LIKENESS_COLUMNS, CLASSIFIER_COLUMNS, TOP_COLUMNS, SIMULATOR_COLUMNS, TOOLKIT_COLUMNS,
    BOARD_COLUMNS, TOP_BOARD_COLUMNS,
)  # fmt: skip
BY_NAME = {column.name: column for listed in _LISTS for column in listed}
TEXTS = [name for name, column in BY_NAME.items() if column.is_text]


def read_table(run: Path, chosen: list[Variant]) -> pd.DataFrame:
    """The table of `chosen` variants from the files of a run's folder.

    The columns are COLUMNS, followed by TASK_COLUMNS where the task is not boxes, LIKENESS_COLUMNS where nothing
    decodes at least one of the models, CLASSIFIER_COLUMNS where one of these has an output of classes, TOP_COLUMNS
    where labels are of whole images, SIMULATOR_COLUMNS where another simulator than the toolkit's ran one,
    TOOLKIT_COLUMNS where another version than the default built one, BOARD_COLUMNS where a board ran one, and
    TOP_BOARD_COLUMNS where that was a classifier.
    """
    rows = [VariantResults(run, variant) for variant in chosen]
    columns = COLUMNS
    if any(row.exported.task for row in rows):
        columns += TASK_COLUMNS
    if any(row.int8.undecoded for row in rows):
        columns += LIKENESS_COLUMNS
    if any(output.top1 is not None for row in rows for output in row.int8.outputs or ()):
        columns += CLASSIFIER_COLUMNS
    if any(row.int8.top1 is not None for row in rows):
        columns += TOP_COLUMNS
    if any(row.build.simulator for row in rows):
        columns += SIMULATOR_COLUMNS
    if any(row.build.toolkit != DEFAULT for row in rows):
        columns += TOOLKIT_COLUMNS
    if any(row.board for row in rows):
        columns += BOARD_COLUMNS
    if any(row.on_board and row.on_board.metrics.top1 is not None for row in rows):
        columns += TOP_BOARD_COLUMNS
    return frame(columns, rows)


def frame(columns, rows) -> pd.DataFrame:
    """A table of `columns` with one row for each object of `rows`."""
    return pd.DataFrame([{column.name: column.cell(row) for column in columns} for row in rows])


def class_differences(results: VariantResults) -> pd.DataFrame:
    """AP50-95 (0..1) of each class in FP32 and INT8, the largest loss first.

    Columns name, boxes (to find in the evaluation set), fp32, int8, difference (INT8 - FP32). There are no rows where
    nothing decodes the variant.
    """
    rows = []
    for name, fp32 in {}.items() if results.int8.undecoded else results.exported.per_class.items():
        int8 = results.int8.per_class[name]
        rows.append((name, fp32.boxes, fp32.map50_95, int8.map50_95, int8.map50_95 - fp32.map50_95))
    table = pd.DataFrame(rows, columns=["name", "boxes", "fp32", "int8", "difference"])
    return table.round(MAP_DIGITS).sort_values("difference", kind="stable", ignore_index=True)


# Figures of the recommended variant for DVC's tables, with short names, and the column of each; a classifier has top-1
# in place of a mAP.
SUMMARY = {
    "fp32": ("map50_95_fp32", "top1_fp32"),
    "int8": ("map50_95_int8", "top1_int8"),
    "retention": ("retention",),
    "ms_low": ("ms_low",),
    "ms_high": ("ms_high",),
    "mb": ("rknn_mb",),
    "verdict": ("verdict",),
}


def summary(table: pd.DataFrame) -> dict:
    """The figures of the recommended variant, or of the most accurate one where none runs; a missing figure is None."""
    best = table.loc[focus(table)]
    figures = {
        name: next((best[column] for column in columns if pd.notna(best.get(column))), None)
        for name, columns in SUMMARY.items()
    }
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in figures.items()}
    return {"best": str(variant_of(best).path())} | plain | {"variants": len(table)}


def to_csv(table: pd.DataFrame) -> str:
    """The table as CSV, the same bytes on every machine."""
    return table.to_csv(index=False, lineterminator="\n")


def write_study(table: pd.DataFrame, csv, markdown) -> None:
    """Write a study's table as CSV, and as Markdown without the reasons; a missing figure is an empty cell."""
    write_text(csv, to_csv(table))
    write_text(markdown, table.drop(columns="reason").fillna("").to_markdown(index=False) + "\n")


def from_csv(path, chosen: list[Variant]) -> pd.DataFrame:
    """The table that `to_csv` made. Raises UserError when the file is missing, damaged, or lacks a chosen variant."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])
        held = {variant_of(row) for _, row in table.iterrows()}
        if missing := [variant for variant in chosen if variant._replace(imgsz=str(variant.imgsz)) not in held]:
            raise UserError(f"{path} has no row for {missing[0].title()}; delete it and run its step again")
        # A truncated file could still be read as a table, with fewer digits in its last row.
        if not Path(path).read_bytes().endswith(b"\n"):
            raise UserError(f"{path} is truncated; delete it and run again")
        return table
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the step that makes it first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a table ({error}); delete it and run again") from None


def variant_of(row) -> Variant:
    """The variant of a row of the table."""
    return Variant(row["model"], row["imgsz"], row["head"], row["algorithm"], int(row["max_images"]))


def to_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, best INT8 accuracy first; a missing figure is an empty cell."""
    best_first = table.loc[accuracy(table).sort_values(ascending=False, kind="stable").index]
    columns = [BY_NAME[name] for name in table.columns]
    formats = ["g" if column.digits is None else f".{column.digits}f" for column in columns]
    texts = [number for number, column in enumerate(columns) if column.is_text]
    best_first = best_first.astype(object).where(best_first.notna(), None)
    return best_first.to_markdown(index=False, floatfmt=formats, disable_numparse=texts) + "\n"
