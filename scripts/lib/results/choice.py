"""Which variant to take: the most accurate one among those that the board runs, and how cost trades with accuracy.

Tables are those of lib.results.table, one row per variant.
"""

import numpy as np
import pandas as pd

from lib.accuracy.bootstrap import interval
from lib.npu.verdict import RUNS

# Columns of a variant's cost. The limits are the same fraction of the estimated time for all variants, so one suffices.
CYCLES, TIME = "npu_mcycles", "ms_high"


def accuracy(table: pd.DataFrame, precision: str = "int8") -> pd.Series:
    """The accuracy of each row (0..1) in INT8 or `fp32`: mAP50-95, or top-1 of a classifier; NaN without either."""
    means = table[f"map50_95_{precision}"].astype(float)
    return means.fillna(table[f"top1_{precision}"]) if has_top1(table) else means


def has_top1(table: pd.DataFrame) -> bool:
    """Whether the models of a table are classifiers whose top-1 was measured."""
    return "top1_int8" in table


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by INT8 accuracy, best first; equal ones by fewer NPU cycles, then by the smaller file."""
    ranked = table.assign(accuracy=accuracy(table)).sort_values(
        ["accuracy", "npu_mcycles", "rknn_mb"], ascending=[False, True, True], kind="stable", na_position="last"
    )
    return ranked.drop(columns="accuracy")


def recommended(table: pd.DataFrame):
    """The label of the row to take: the first of `best_first` whose verdict is `runs`; None when there is none.

    A row without an accuracy comes after all that have one.
    """
    running = best_first(table[table.verdict == RUNS])
    return None if running.empty else running.index[0]


def focus(table: pd.DataFrame):
    """The label of the row to look at closely: the recommended one, or the most accurate one where none runs."""
    label = recommended(table)
    return best_first(table).index[0] if label is None else label


def indistinguishable_from(table: pd.DataFrame, resampled: dict, best) -> list:
    """Labels of the rows that run and that the images cannot tell apart from row `best`, fewest NPU cycles first.

    `resampled`: for each label the INT8 accuracy of every resample, the same resamples for all rows (float [n]). Two
    rows are told apart when the 95 % interval of their difference excludes 0. `best` itself is not among the labels,
    nor is a row without an accuracy.
    """
    of_rows = accuracy(table)
    if pd.isna(of_rows[best]):
        return []
    others = table[(table.verdict == RUNS) & (table.index != best) & of_rows.notna()]
    others = others.sort_values("npu_mcycles", kind="stable")
    labels = []
    for label in others.index:
        low, high = interval(resampled[best] - resampled[label])
        # Without an interval nothing tells them apart.
        if np.isnan(low) or low <= 0 <= high:
            labels.append(label)
    return labels


def pareto_front(table: pd.DataFrame, cost: str = CYCLES) -> list:
    """Labels of the rows that run and that no other running row beats, the cheapest first by the column `cost`.

    Rows without an accuracy are left out. A row is beaten by one that is at least as good in INT8 accuracy and in cost
    and better in one of them.
    """
    measured = table.assign(accuracy=accuracy(table))
    running = measured[(table.verdict == RUNS) & measured.accuracy.notna()].sort_values(
        [cost, "accuracy"], ascending=[True, False], kind="stable"
    )
    # From cheap to expensive: a row is on the front when it is better than all before it, or equal to the last.
    front, last = [], None
    for label, spent, precision in zip(running.index, running[cost], running.accuracy):
        if last is None or precision > last[1] or (spent, precision) == last:
            front.append(label)
            last = (spent, precision)
    return front
