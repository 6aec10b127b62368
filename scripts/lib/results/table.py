"""The comparison table: one row a variant, sorted; numbers are rounded here and nowhere else."""

from pathlib import Path

import pandas as pd

from lib.npu.build import Build
from lib.npu.verdict import Judgement
from lib.results import run_files
from lib.results.rounding import DIGITS, MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError
from lib.step.files import read_json, sha256

# A model may be called 8, or NA, and a board may say a number.
TEXTS = ("model", "imgsz", "verdict", "board", "verdict_was")

METRICS = ("map50_95", "map50", "per_class")


def read_table(run: Path, chosen: list[Variant]) -> pd.DataFrame:
    """The table of `chosen` variants from the files of a run's folder.

    mAP 0..1; retention, retention_low and retention_high as shares of FP32's mAP50-95, the latter two the limits of its
    95 % interval; rknn_mb in 10^6 bytes, npu_mcycles in 10^6 cycles, the memory columns in KB of 1024 bytes; ms_low and
    ms_high the limits of the estimated time. Where a board ran one of the models at least, the columns of
    `_board_columns` stand behind these.
    """
    rows = [_row(run, each) for each in chosen]
    told = [read_board(run, each) for each in chosen]
    if any(told):
        rows = [row | _board_columns(each) for row, each in zip(rows, told)]
    return pd.DataFrame(rows)


def read_board(run: Path, variant: Variant) -> dict | None:
    """What a board told of the variant's model as it is now (board.json); None where none ran it, or another build."""
    path = run_files.board(run, variant, "board.json")
    if not path.exists():
        return None
    told = read_json(path)
    return told if told["rknn_sha256"] == sha256(run_files.rknn(run, variant, "model.rknn")) else None


def read_metrics(run: Path, variant: Variant) -> tuple[dict, dict]:
    """What evaluate.py found for a variant: the model as exported in FP32, and in INT8 on the simulator."""
    return (
        read_json(run_files.exported_metrics(run, variant), *METRICS),
        read_json(run_files.metrics(run, variant), *METRICS),
    )


def class_differences(run: Path, variant: Variant) -> pd.DataFrame:
    """AP50-95 (0..1) of each class in FP32 and INT8, what quantization loses most first.

    Columns name, boxes (to find in the evaluation set), fp32, int8, difference (INT8 - FP32).
    """
    exported, int8 = (metrics["per_class"] for metrics in read_metrics(run, variant))
    rows = [
        (name, fp32["boxes"], fp32["map50_95"], int8[name]["map50_95"], int8[name]["map50_95"] - fp32["map50_95"])
        for name, fp32 in exported.items()
    ]
    table = pd.DataFrame(rows, columns=["name", "boxes", "fp32", "int8", "difference"])
    return table.round(MAP_DIGITS).sort_values("difference", kind="stable", ignore_index=True)


def _row(run: Path, variant: Variant) -> dict:
    exported, int8 = read_metrics(run, variant)
    adapted = read_json(run_files.adapted_metrics(run, variant), *METRICS)
    build = Build.read(run_files.rknn(run, variant, "build.json"))
    judged = Judgement.read(run_files.rknn(run, variant, "verdict.json"))
    return {
        **variant._asdict(),
        "map50_95_fp32": round(exported["map50_95"], MAP_DIGITS),
        "map50_fp32": round(exported["map50"], MAP_DIGITS),
        "map50_95_adapted": round(adapted["map50_95"], MAP_DIGITS),
        "map50_95_int8": round(int8["map50_95"], MAP_DIGITS),
        "map50_int8": round(int8["map50"], MAP_DIGITS),
        "retention": _rounded(int8["retention"]),
        "rknn_mb": round(build.rknn_bytes / 1e6, DIGITS["rknn_mb"]),
        "npu_mcycles": round(build.npu_mcycles, DIGITS["npu_mcycles"]),
        "internal_kb": round(build.internal_kb, DIGITS["internal_kb"]),
        "weight_kb": round(build.weight_kb, DIGITS["weight_kb"]),
        "cpu_ops": len(build.cpu_operators),
        "verdict": judged.verdict.result,
        "retention_low": _rounded(int8["retention_low"]),
        "retention_high": _rounded(int8["retention_high"]),
        "ms_low": round(judged.costs.ms_low, DIGITS["ms_low"]),
        "ms_high": round(judged.costs.ms_high, DIGITS["ms_high"]),
    }


def _board_columns(told: dict | None) -> dict:
    """What a board told: mAP50-95 (0..1), the median time of rknn_run in ms, its words, whether the verdict was right.

    Its words are `ran`, or why it refuses the model.
    """
    ran = told is not None and told["result"] == run_files.BOARD_RAN
    return {
        "map50_95_board": round(told["metrics"]["map50_95"], MAP_DIGITS) if ran else float("nan"),
        "ms_board": round(told["run_ms"]["median"], DIGITS["ms_board"]) if ran else float("nan"),
        "board": "ran" if ran else told["words"] if told else None,
        "verdict_was": told["verdict_was"] if told else None,
    }


def _rounded(share: float | None) -> float:
    # A model that finds nothing in FP32 has nothing to retain.
    return float("nan") if share is None else round(share, MAP_DIGITS)


def to_csv(table: pd.DataFrame) -> str:
    """The table as CSV, the same bytes on every machine."""
    return table.to_csv(index=False, lineterminator="\n")


def from_csv(path, chosen: list[Variant]) -> pd.DataFrame:
    """The table that `to_csv` made. Raises UserError when the file is missing or is none, or lacks a chosen variant."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])
        held = {variant_of(row) for _, row in table.iterrows()}
        if missing := [each for each in chosen if each._replace(imgsz=str(each.imgsz)) not in held]:
            raise UserError(f"{path} has no row of {missing[0].title()}; delete it and run its step again")
        # A file that lost its end would still be a table, with fewer digits in its last row.
        if not Path(path).read_bytes().endswith(b"\n"):
            raise UserError(f"{path} has lost its end; delete it and run the step that makes it again")
        return table
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the step that makes it first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no table ({error}); delete it and run the step that makes it again") from None


def variant_of(row) -> Variant:
    """The variant that a row of the table is about."""
    return Variant(row["model"], row["imgsz"], row["head"], row["algorithm"], int(row["max_images"]))


def to_markdown(table: pd.DataFrame) -> str:
    """The table for people, best INT8 mAP50-95 first."""
    best_first = table.sort_values("map50_95_int8", ascending=False, kind="stable")
    formats = [f".{DIGITS.get(name, MAP_DIGITS)}f" for name in table.columns]
    return best_first.to_markdown(index=False, floatfmt=formats, disable_numparse=[1]) + "\n"
