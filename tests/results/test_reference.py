"""The reference holds every config key and every column, and nothing that is not there."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from unittest.mock import MagicMock

import pandas as pd
import pytest
import yaml
from conftest import ROOT

import calibration_study
import frontier
import reference
from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.convert.frontier import Candidate, Frontier, sizes_of
from lib.data.imgsz import ImageSize
from lib.npu import layer_errors
from lib.npu.build import Build
from lib.npu.verdict import FAILS, INFERRED, RUNS, Costs, Judgement, Verdict
from lib.results import columns, run_files
from lib.results.board_results import BoardAgreement, RanOnBoard, Times
from lib.results.sweep import variants
from lib.results.table import frame, read_table, to_csv
from lib.step.files import sha256

SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())


def blocks(schema: dict, path: str = ""):
    """Every key of a schema and every block of keys: (path, schema)."""
    for name, each in schema.get("properties", {}).items():
        yield f"{path}{name}", each
        yield from blocks(each, f"{path}{name}.")
        others = each.get("additionalProperties")
        yield from blocks(others if isinstance(others, dict) else {}, f"{path}{name}.<name>.")


def test_every_key_of_the_schema_has_a_meaning():
    found = dict(blocks(SCHEMA))
    assert len(found) > 50
    assert [path for path, each in found.items() if not each.get("description", "").strip().endswith(".")] == []


def test_the_reference_has_each_key_with_its_values_and_its_default():
    text = reference.config_reference()
    for name, each in blocks(SCHEMA):
        if each.get("type") != "object":
            assert text.count(f"| `{name}` | {each['description']} | ") == 1, name
    assert "| `export.opset` | Opset of the exported ONNX. | whole number, 11 to 20 | `19` |" in text
    assert "| list of `single`, `split` | `[single, split]` |" in text
    assert "| `checkpoint`, `true`, `false` | `checkpoint` |" in text
    assert "| `rv1103`, `rv1103b`, `rv1106`, `rv1106b` | `rv1106` |" in text


def test_the_terminal_shows_the_same(step):
    for what, expected in (("config", reference.config_reference()), ("columns", reference.columns_reference())):
        done = step("reference", what)
        assert done.returncode == 0 and done.stdout == expected + "\n"


def names(columns) -> list[str]:
    return [column.name for column in columns]


LISTS = (
    columns.COLUMNS + columns.TASK_COLUMNS + columns.SIMULATOR_COLUMNS + columns.TOOLKIT_COLUMNS
    + columns.BOARD_COLUMNS
    + columns.TOP_BOARD_COLUMNS,
    columns.LAYER_COLUMNS, columns.STUDY_COLUMNS, columns.TOOLKIT_STUDY_COLUMNS, columns.FRONTIER_COLUMNS,
)  # fmt: skip


@pytest.mark.parametrize("table", LISTS, ids=lambda table: table[0].name)
def test_columns_are_told_from_each_other_and_described_in_phrases(table):
    for values in (names(table), [column.label for column in table]):
        assert len(set(values)) == len(values)
    text = reference.columns_reference()
    for column in table:
        assert column.meaning and not column.meaning.endswith(".") and "|" not in column.sentences
        assert column.note == "" or column.note.endswith(".")
        assert f"| `{column.name}` | {column.label} | {column.sentences} |" in text


def test_the_report_puts_columns_that_exist_into_an_order():
    assert sorted(columns.REPORT_ORDER) == sorted(
        names(
            columns.COLUMNS
            + columns.TASK_COLUMNS
            + columns.LIKENESS_COLUMNS
            + columns.CLASSIFIER_COLUMNS
            + columns.TOP_COLUMNS
            + columns.SIMULATOR_COLUMNS
            + columns.TOOLKIT_COLUMNS
            + columns.BOARD_COLUMNS
            + columns.TOP_BOARD_COLUMNS
        )
    )


def test_the_columns_need_neither_pandas_nor_numpy():
    code = "import sys; import reference; print(*({'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_the_pages_of_the_documentation_hold_the_reference_as_it_is_now():
    for path, text in reference.pages().items():
        assert path.read_text() == text, f"{path.name}: run python scripts/reference.py pages"
    assert reference.config_reference() in (ROOT / "docs" / "config_keys.md").read_text()
    assert reference.columns_reference() in (ROOT / "docs" / "table_columns.md").read_text()


def test_a_cell_is_rounded_once_and_a_missing_one_stays_missing():
    by_name = {column.name: column for column in columns.COLUMNS}
    cycles = replace(by_name["npu_mcycles"], value=lambda row: row)
    assert (cycles.cell(2.345678), cycles.text(2.3)) == (2.35, "2.30")
    assert math.isnan(cycles.cell(None)) and cycles.text(None) == columns.MISSING
    assert replace(by_name["cpu_ops"], value=lambda row: row).cell(12) == 12
    assert by_name["imgsz"].sorted_by("416x256") == 416 * 256
    assert replace(by_name["verdict"], value=lambda row: row).cell(None) is None


@pytest.mark.parametrize("simulator", [None, "twin"])
@pytest.mark.parametrize(("with_board", "task"), [(False, None), (True, None), (False, "segment"), (True, "segment")])
def test_every_column_of_the_table_has_a_meaning(tmp_path, with_board, task, simulator):
    version = "2.2.0" if simulator else "2.3.2"
    (variant,) = variants(["m"], ["320"], ["split"], ["normal"], [8])
    of_task = {"task": task, "box_map50_95": 0.25} if task else {}
    fp32 = Metrics(1, 0.5, 0.6, None, None, {}, **of_task)
    metrics = ComparedMetrics(1, 0.5, 0.6, None, None, {}, 1.0, 0.9, 1.1, **of_task)
    build = Build(version, "rv1106", 4, 1.0, (), 2.0, 3.0, (), simulator)
    judgement = Judgement(Verdict(RUNS, "", "", INFERRED, ""), Costs(1.0, 2.0, 420, 0, 0.0, 66))
    model = run_files.rknn(tmp_path, variant, "model.rknn")
    model.parent.mkdir(parents=True)
    model.write_bytes(b"rknn")
    files = {
        run_files.exported_metrics(tmp_path, variant): fp32.to_json(),
        run_files.adapted_metrics(tmp_path, variant): fp32.to_json(),
        run_files.metrics(tmp_path, variant): metrics.to_json(),
        run_files.rknn(tmp_path, variant, "build.json"): build.to_json(),
        run_files.rknn(tmp_path, variant, "verdict.json"): judgement.to_json(),
    }
    if with_board:
        times = Times(1.0, 1.5, 2.0, 3)
        agreement = BoardAgreement(0.25, 1, 1.0, 1.0, 0.0, ())
        files[run_files.board(tmp_path, variant, "board.json")] = RanOnBoard(
            "ran", "runs", "right", "2.3.2", "0.9.2", 1.0, times, times, None, agreement, (), None, metrics, "",
            sha256(model), "2.3.2",
        ).to_json()  # fmt: skip
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    expected = names(columns.COLUMNS) + (names(columns.TASK_COLUMNS) if task else [])
    expected += names(columns.SIMULATOR_COLUMNS + columns.TOOLKIT_COLUMNS) if simulator else []
    table = read_table(tmp_path, [variant])
    assert list(table.columns) == expected + (names(columns.BOARD_COLUMNS) if with_board else [])
    if task:
        row = table.iloc[0]
        assert (row.task, row.box_map50_95_fp32, row.box_map50_95_int8) == ("segment", 0.25, 0.25)


def test_every_column_of_the_layers_has_a_meaning():
    assert names(columns.LAYER_COLUMNS) == layer_errors.COLUMNS
    layers = pd.DataFrame([["a", "Conv", 0.99988, 10.916, math.nan, 1e-5]], columns=layer_errors.COLUMNS)
    assert to_csv(frame(columns.LAYER_COLUMNS, layers.itertuples())) == to_csv(layers)


def test_every_column_of_the_calibration_study_has_a_meaning(tmp_path):
    Metrics(1, 0.5, 0.6, None, None, {}).write(tmp_path / "metrics/m/320/exported.json")
    int8 = ComparedMetrics(1, 0.5, 0.6, None, None, {}, 1.0, 0.9, 1.1)
    int8.write(tmp_path / "study/metrics/m/320/split/normal-8-0.json")
    words = ["--run", tmp_path, "--model", "m", "--imgsz", "320", "--head", "split", "--algorithm", "normal",
             "--max-images", "8", "--seed", "0", "--csv", tmp_path / "s.csv", "--markdown", tmp_path / "s.md",
             "--plot", tmp_path / "s.png"]  # fmt: skip
    calibration_study.main(list(map(str, words)))
    assert (tmp_path / "s.csv").read_text().splitlines()[0].split(",") == names(columns.STUDY_COLUMNS)


def test_every_column_of_the_frontier_has_a_meaning(monkeypatch):
    build, costs = Build("2.3.2", "rv1106", 4, 1.0, (), 2.0, 3.0, ()), Costs(1.0, 2.0, 420, 0, 0.0, 66)
    runs, fails = (Verdict(result, "", "", INFERRED, "") for result in (RUNS, FAILS))
    monkeypatch.setattr(
        frontier, "build", lambda weights, size, *_: Candidate(size, build, runs if size.width < 96 else fails, costs)
    )
    of_kind = frontier.search(None, sizes_of(1, 1, 32, 96), "split", None, MagicMock())
    table = frame(columns.FRONTIER_COLUMNS, [frontier.FrontierRow(4, "1:1", "split", of_kind, 96)])
    assert list(table.columns) == names(columns.FRONTIER_COLUMNS)
    row = table.iloc[0]
    assert (row.largest, row.next, row.next_verdict, row.ms_low) == ("64", "96", "fails", 1.0)


def test_a_frontier_may_have_no_size_that_runs_or_none_beyond_it():
    build, costs = Build("2.3.2", "rv1106", 4000, 1.0, (), 2.0, 3.0, ()), Costs(1.04, 2.0, 420, 0, 0.0, 66)
    candidate = Candidate(ImageSize(64, 32), build, Verdict(FAILS, "too wide", "", INFERRED, ""), costs)
    rows = [
        frontier.FrontierRow(4, "2:1", "split", Frontier(None, candidate, (ImageSize(32, 32),)), 96),
        frontier.FrontierRow(4, "2:1", "split", Frontier(candidate, None, ()), 64),
    ]
    assert to_csv(frame(columns.FRONTIER_COLUMNS, rows)).splitlines()[1:] == [
        "4,2:1,split,,,,,,,,32,64x32,fails,too wide",
        "4,2:1,split,64x32,1.0,1.0,2.0,2.0,3.0,0.0,,,,nothing wider than 64 was tried",
    ]
