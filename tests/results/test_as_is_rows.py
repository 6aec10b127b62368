"""A variant that nothing decodes: a row without a mAP, behind those that have one; table, choice, plots, files."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from lib.accuracy.detection_set import DetectionSet, write_detections
from lib.accuracy.evaluation import compared, evaluate
from lib.accuracy.metrics import ComparedMetrics, Metrics, OutputLikeness
from lib.accuracy.resampled_map import read_resampled, write_resampled
from lib.accuracy.undecoded_set import UndecodedSet, read_evaluated, write_undecoded
from lib.detector.instances import nothing
from lib.npu.verdict import FAILS, RUNS
from lib.results import plots
from lib.results.choice import best_first, focus, indistinguishable_from, pareto_front, recommended
from lib.results.table import class_differences, to_markdown
from lib.step.errors import UserError

OUTPUTS = (OutputLikeness("boxes", 0.99, 31.5), OutputLikeness("scores", 0.97, 20.25, 0.5, 0.75))
UNDECODED = UndecodedSet(["a.png", "b.png"], "nothing decodes the head 'as_is'", OUTPUTS)


def row(head: str, precision: float | None, cycles: float, verdict: str = RUNS) -> dict:
    """A row of a table, as far as choice and plots look at it."""
    low, high = (None, None) if precision is None else (0.9, 1.1)
    return {"model": "m", "imgsz": "320", "head": head, "algorithm": "normal", "max_images": 8, "map50_95_fp32": 0.4,
            "map50_95_int8": precision, "retention_low": low, "retention_high": high, "npu_mcycles": cycles,
            "ms_low": cycles, "ms_high": 2 * cycles,
            "rknn_mb": 1.0, "verdict": verdict}  # fmt: skip


MIXED = pd.DataFrame([row("as_is", None, 1.0), row("single", 0.3, 3.0), row("split", 0.35, 2.0, FAILS)])
ALONE = pd.DataFrame([row("as_is", None, 2.0), row("as_is", None, 1.0)])


def test_a_row_without_map_comes_behind_those_that_have_one():
    assert list(best_first(MIXED)["head"]) == ["split", "single", "as_is"]
    assert recommended(MIXED) == focus(MIXED) == 1
    assert pareto_front(MIXED) == [1]
    resampled = {0: np.full(9, np.nan), 1: np.linspace(0.2, 0.4, 9), 2: np.full(9, 0.35)}
    assert indistinguishable_from(MIXED, resampled, 1) == []


def test_without_any_map_the_cheapest_that_runs_is_taken():
    assert recommended(ALONE) == 1
    assert pareto_front(ALONE) == []
    assert indistinguishable_from(ALONE, dict.fromkeys((0, 1), np.full(9, np.nan)), 1) == []


def test_the_markdown_table_leaves_empty_cells():
    lines = to_markdown(MIXED[["model", "head", "max_images", "map50_95_int8", "npu_mcycles"]]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["m", "split", "8", "0.3500", "2.00"], ["m", "single", "8", "0.3000", "3.00"], ["m", "as_is", "8", "", "1.00"]
    ]  # fmt: skip


@pytest.mark.parametrize("table", [MIXED, ALONE])
@pytest.mark.parametrize("draw", [plots.map_over_imgsz, plots.map_over_max_images, plots.pareto])
def test_plots_leave_it_out(table, draw, tmp_path):
    draw(table, tmp_path / "plot.png")
    assert plt.imread(tmp_path / "plot.png").std() > 0


def test_what_nothing_decodes_is_written_and_read(tmp_path):
    path = tmp_path / "evaluated.npz"
    for undecoded in (UNDECODED, UNDECODED._replace(outputs=())):
        write_undecoded(path, undecoded)
        assert read_evaluated(path) == undecoded
    detections = DetectionSet(["a.png"], [(8, 8)], [nothing()])
    write_detections(path, detections)
    assert read_evaluated(path).images == ["a.png"] and isinstance(read_evaluated(path), DetectionSet)
    write_undecoded(path, UNDECODED)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"evaluated\.npz is damaged"):
        read_evaluated(path)


def test_metrics_hold_the_likeness_and_no_map(tmp_path):
    metrics, resampled = evaluate(UNDECODED, tmp_path, [], 7, 0)
    assert (metrics.images, metrics.map50_95, metrics.per_class, metrics.outputs) == (2, None, {}, OUTPUTS)
    assert np.isnan(resampled.resampled).all() and len(resampled.resampled) == 7
    write_resampled(tmp_path / "exported.npz", resampled)
    beside = compared(metrics, resampled, read_resampled(tmp_path / "exported.npz"))
    beside.write(tmp_path / "metrics.json")
    assert ComparedMetrics.read(tmp_path / "metrics.json") == beside
    assert (beside.retention, beside.undecoded) == (None, UNDECODED.why)
    assert Metrics(2, 0.5, 0.6, 0.4, 0.6, {}).to_json().keys().isdisjoint({"undecoded", "outputs"})
    assert np.isnan(read_resampled(tmp_path / "exported.npz").map50_95)


def test_a_map_without_a_baseline_is_one_sentence(tmp_path):
    _, resampled = evaluate(UndecodedSet(["00.jpg"], "why"), tmp_path, [], 3, 0)
    write_resampled(tmp_path / "exported.npz", resampled)
    decoded = resampled._replace(map50_95=0.5, resampled=np.full(3, 0.5))
    with pytest.raises(UserError, match="no FP32 baseline to compare with"):
        compared(Metrics(1, 0.5, 0.6, 0.4, 0.6, {}), decoded, read_resampled(tmp_path / "exported.npz"))


def test_classes_of_what_nothing_decodes():
    class Results:
        exported = Metrics(2, 0.5, 0.6, 0.4, 0.6, {})
        int8 = Metrics(2, None, None, None, None, {}, undecoded="why")

    assert class_differences(Results).empty
