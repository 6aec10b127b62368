"""The last lines that a run prints: the best variants, the paths of report and bundle, and the next command."""

import argparse
import shlex
from pathlib import Path

import pandas as pd

from lib.detector.head import AS_IS
from lib.npu.verdict import RUNS
from lib.results.choice import best_first, recommended
from lib.results.columns import COLUMNS, TOP_COLUMNS
from lib.results.sweep import Variant, variants
from lib.results.table import from_csv, variant_of
from lib.step.errors import UserError
from lib.step.files import read_json

SHOWN = 3  # variants
TEXT = {column.name: column.text for column in (*COLUMNS, *TOP_COLUMNS)}
BOARD = "board={host: root@172.32.0.93, sdk: /path/to/librknn_api}"
STUDIES = ("frontier", "calibration_study", "toolkit_study")


def closing(run: Path, config: dict, rules: set[str], argv: list[str]) -> list[str]:
    """The last lines of a run in the folder `run`, at most twelve.

    rules: those whose jobs ran. argv: the words after `snakemake`; the next command keeps those that name the workflow
    and its config. There are no lines for a run that did not make its table or bundle.
    """
    lines = [f"{name:<10} {run / name}.md" for name in STUDIES if name in rules]
    if not rules & {"make_report", "bundle", "board"}:
        return lines
    try:
        table = best_first(from_csv(run / "table.csv", variants(**config["sweep"])))
    except UserError:
        return [*lines, *_bundle(run, None)]
    best = recommended(table)
    if best is None:
        return [
            *lines,
            f"{'best':<10} no variant has the verdict {RUNS} on {config['platform']}; the report gives all reasons",
            f"{'verdict':<10} {_verdict(run, table)}",
            f"{'report':<10} {run / 'report.html'}",
        ]
    running = table[table.verdict == RUNS]
    titles = ["best", *[""] * (SHOWN - 1)]
    lines += [f"{title:<10} {_in_words(row)}" for title, (_, row) in zip(titles, running.iterrows())]
    lines.append(f"{'report':<10} {run / 'report.html'}")
    bundle = _bundle(run, variant_of(table.loc[best]))
    is_decoded = table["head"][best] != AS_IS or pd.notna(table.loc[best].get("top1_int8"))
    if "board" in rules or not is_decoded:  # there is no program for outputs that are not decoded
        return [*lines, *bundle]
    return [*lines, *bundle, f"{'next':<10} {next_command('board' if bundle else 'bundle', argv)}"]


def _verdict(run: Path, table: pd.DataFrame) -> str:
    """The verdict on the first variant of a table, its reason and what to do."""
    row = table.iloc[0]
    found = read_json(run / "rknn" / variant_of(row).path() / "verdict.json", "verdict")["verdict"]
    return f"{_title(row)}: {found['result']}, because {found['reason']}; {found['advice']}"


def _title(row) -> str:
    return f"{row.model} {row.imgsz} {row['head']}, {row.algorithm} on {row.max_images} images"


def _in_words(row) -> str:
    measures = {"map50_95_int8": "mAP50-95", "top1_int8": "top-1"}
    name = next((name for name in measures if pd.notna(row.get(name))), None)
    if name:
        figures = f"{measures[name]} {TEXT[name](row[name])} in INT8, {row.retention:.3f} of FP32's"
    else:  # nothing decodes it
        figures = "compared with FP32 output by output"
    return f"{_title(row)}: {figures}; {row.ms_low} to {row.ms_high} ms (estimate), {row.rknn_mb} MB"


def _bundle(run: Path, best: Variant | None) -> list[str]:
    """Lines with the bundle's path and its program's default threshold; none where the best variant has no bundle.

    A classifier has no threshold.
    """
    bundles = run / "bundle"
    contracts = [bundles / best.path() / "model.json"] if best else sorted(bundles.rglob("model.json"))
    if not contracts or not contracts[0].is_file():
        return []
    contract = read_json(contracts[0], "thresholds", "proof")
    unproven = "" if contract["proof"]["detections"] else " (not proven: no image has a detection, see its README.md)"
    lines = [f"{'bundle':<10} {contracts[0].parent}{unproven}"]
    if confidence := contract["thresholds"]["confidence"]:
        lines.insert(0, f"{'threshold':<10} {confidence:g} (confidence; your program may use another)")
    return lines


def next_command(target: str, argv: list[str]) -> str:
    """The command for `target`, with the workflow and the config of the command that was started with `argv`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-s", "--snakefile")
    parser.add_argument("-d", "--directory")
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    given = parser.parse_known_args(argv)[0]
    words = ["snakemake", *(["-s", given.snakefile] if given.snakefile else []), "-j4", target]
    words += ["--directory", given.directory] if given.directory else []
    words += ["--configfile", *given.configfile] if given.configfile else []
    is_named = any(value.startswith("board=") for value in given.config)
    values = [*given.config, *([BOARD] if target == "board" and not is_named else [])]
    words += ["--config", *values] if values else []
    return shlex.join(words)
