"""One pass over the calibration pool gives the ranges of every set of it, and a build from them is the toolkit's."""

import os
from dataclasses import replace

import numpy as np
import pytest

import measure_ranges
from lib.accuracy.detection_set import read_detections
from lib.accuracy.evaluation import evaluate
from lib.data.calibration import calibration_list
from lib.data.split import shuffled
from lib.graph.onnx_file import load, save
from lib.npu.algorithms import OWN
from lib.npu.build import Build
from lib.npu.first_half import FirstHalf
from lib.npu.int8 import read_ranges_of
from lib.npu.range_table import RangeTable, read_range_table
from lib.npu.rknn_file import read_rknn
from lib.npu.toolkit_versions import in_use
from lib.results.draws import Draws
from lib.step.errors import UserError


@pytest.fixture(scope="module")
def measured(step, split_onnx, pool, heldout, tmp_path_factory):
    """The file of the small detector's ranges on the pool."""
    path = tmp_path_factory.mktemp("measured") / "split.npz"
    done = step("measure_ranges", "--onnx", split_onnx, "--pool", pool, "--dataset", heldout, "--platform", "rv1106",
                "--processes", 2, "--output", path, "--log", path.parent / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "on 8 images" in done.stderr + done.stdout
    return path


def test_a_build_from_measured_ranges_is_that_of_a_calibration(measured, split_onnx, quantize, quantized, tmp_path):
    done = quantize(split_onnx, tmp_path, "--ranges", measured)
    assert done.returncode == 0, done.stderr
    ours, theirs = (read_detections(folder / "detections.npz") for folder in (tmp_path, quantized))
    assert ours.count() == theirs.count() > 0
    for these, those in zip(ours.instances, theirs.instances, strict=True):
        for values, expected in zip((these.boxes, these.scores), (those.boxes, those.scores)):
            np.testing.assert_array_equal(values, expected)
    ours, theirs = (read_rknn(folder / "model.rknn").outputs for folder in (tmp_path, quantized))
    assert ours == theirs
    ours, theirs = (Build.read(folder / "build.json") for folder in (tmp_path, quantized))
    assert replace(ours, rknn_bytes=theirs.rknn_bytes) == theirs  # the file holds times of the build


def test_ranges_of_another_graph_or_damaged_ones_are_refused(measured, split_onnx, quantize, tmp_path):
    other = tmp_path / "other.onnx"
    model = load(split_onnx)
    model.doc_string = "other"
    save(model, other)
    done = quantize(other, tmp_path, "--ranges", measured)
    assert done.returncode == 2 and "holds the ranges of another graph" in done.stderr
    with pytest.raises(UserError, match="was measured for rv1106, not rv1103; delete it"):
        read_ranges_of(split_onnx, "rv1103", measured)
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(measured.read_bytes()[:-100])
    done = quantize(split_onnx, tmp_path, "--ranges", damaged)
    assert done.returncode == 2 and "is damaged" in done.stderr
    assert not (tmp_path / "model.rknn").exists()


def test_ranges_of_another_toolkit_are_refused(measured, split_onnx, tmp_path):
    table = read_range_table(measured)
    assert read_ranges_of(split_onnx, "rv1106", measured).toolkit == table.toolkit == in_use()
    replace(table, toolkit="2.2.0").write(tmp_path / "older.npz")
    with pytest.raises(UserError, match=f"was measured with toolkit 2.2.0, not {in_use()}; delete it"):
        read_ranges_of(split_onnx, "rv1106", tmp_path / "older.npz")


def test_draws_in_one_process_give_the_map_of_builds(measured, split_onnx, step, pool, heldout, quantized, tmp_path):
    done = step("evaluate_draws", "--onnx", split_onnx, "--ranges", measured, "--pool", pool, "--platform", "rv1106",
                "--simulator", "twin", "--dataset", heldout, "--names", *"abcd", "--max-images", 8, 3, "--seed", 1, 0,
                "--processes", 2, "--draws", tmp_path / "draws.json", "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    draws = Draws.read(tmp_path / "draws.json").draws
    assert [(draw.max_images, draw.seed) for draw in draws] == [(3, 0), (3, 1), (8, 0), (8, 1)]
    built = evaluate(read_detections(quantized / "detections.npz"), heldout, list("abcd"), 1, 0)[0].map50_95
    assert draws[2].map50_95_int8 == draws[3].map50_95_int8 == built


@pytest.mark.parametrize("algorithm", OWN)
def test_draws_of_an_algorithm_give_the_map_of_its_build(
    measured, split_onnx, step, pool, heldout, quantize, tmp_path, algorithm
):
    drawn = shuffled(list(pool.glob("*.png")), 1)[:5]
    listed = tmp_path / "images.txt"
    listed.write_text(calibration_list([os.path.relpath(path, tmp_path) for path in drawn]))
    done = quantize(split_onnx, tmp_path, "--calibration", listed, "--algorithm", algorithm)
    assert done.returncode == 0, done.stderr
    done = step("evaluate_draws", "--onnx", split_onnx, "--ranges", measured, "--pool", pool, "--platform", "rv1106",
                "--simulator", "twin", "--algorithm", algorithm, "--dataset", heldout, "--names", *"abcd",
                "--max-images", 5, "--seed", 1, "--draws", tmp_path / "draws.json", "--log",
                tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = evaluate(read_detections(tmp_path / "detections.npz"), heldout, list("abcd"), 1, 0)[0].map50_95
    assert Draws.read(tmp_path / "draws.json").draws[0].map50_95_int8 == built


def test_a_calibration_set_is_a_reduction_of_the_table(tmp_path):
    ranges = [
        {"x": (-1.0, 2.0), "y": (0.0, 1.0)},
        {"x": (-3.0, 0.5), "y": (0.25, 4.0)},
        {"x": (-9.0, 9.0), "y": (0, 9)},
    ]
    half = FirstHalf(b"fused", b"", b"quantization")
    table = RangeTable.of(["a", "b", "c"], ranges, "0" * 64, "rv1106", "2.3.2", "", half)
    table.write(tmp_path / "ranges.npz")
    read = read_range_table(tmp_path / "ranges.npz")
    assert (read.graph, read.platform, read.toolkit, read.unknown, read.half) == ("0" * 64, "rv1106", "2.3.2", "", half)
    assert read.union(["b", "a"]) == {"x": (-3.0, 2.0), "y": (0.0, 4.0)}
    with pytest.raises(UserError, match=r"ranges\.npz has no ranges for d; delete it"):
        read.union(["a", "d"])


def test_tables_that_do_not_fit_together_are_damaged(tmp_path):
    table = RangeTable.of(["a"], [{"x": (-1.0, 2.0)}])
    object.__setattr__(table, "images", ["a", "b"])
    table.write(tmp_path / "ranges.npz")
    with pytest.raises(UserError, match="its tables do not fit together"):
        read_range_table(tmp_path / "ranges.npz")
    RangeTable.of([], [], "", "rv1106", "2.3.2", "no reason").write(tmp_path / "ranges.npz")
    assert read_range_table(tmp_path / "ranges.npz").unknown == "no reason"


def test_a_range_that_ends_below_its_start_is_damage(tmp_path):
    table = RangeTable.of(["a"], [{"x": (-1.0, 2.0)}])
    for high in (table.low - 1, np.full_like(table.high, np.inf)):
        object.__setattr__(table, "high", high)
        table.write(tmp_path / "ranges.npz")
        with pytest.raises(UserError, match="its tables do not fit together"):
            read_range_table(tmp_path / "ranges.npz")


def test_draws_refuse_the_ranges_of_another_pool(measured, split_onnx, step, pool, heldout, tmp_path):
    """Its files have the same names, so only their values differ."""
    table = read_range_table(measured)
    replace(table, low=2 * table.low, high=2 * table.high).write(tmp_path / "other.npz")
    done = step("evaluate_draws", "--onnx", split_onnx, "--ranges", tmp_path / "other.npz", "--pool", pool,
                "--platform", "rv1106", "--simulator", "twin", "--dataset", heldout, "--names", *"abcd",
                "--max-images", 4, "--seed", 0, "--draws", tmp_path / "draws.json",
                "--log", tmp_path / "log")  # fmt: skip
    first = min(path.name for path in pool.iterdir())
    assert done.returncode == 2
    assert f"other.npz does not hold the ranges of the image {first} as it is now; delete it" in done.stderr
    assert not (tmp_path / "draws.json").exists()


def test_a_pool_without_images_and_values_that_are_not_finite(
    measured, split_onnx, pool, heldout, tmp_path, monkeypatch
):
    """A table can hold only finite ranges: the toolkit must find others."""
    (tmp_path / "empty").mkdir()
    words = ["--onnx", split_onnx, "--dataset", heldout, "--platform", "rv1106", "--output", tmp_path / "ranges.npz"]
    with pytest.raises(UserError, match="empty has no image"):
        measure_ranges.main(list(map(str, [*words, "--pool", tmp_path / "empty"])))
    monkeypatch.setattr(measure_ranges, "range_pass", lambda *given: (None, None, ""))
    monkeypatch.setattr(measure_ranges, "over_images", lambda *given: [{"x": (0.0, np.inf)}] * 8)
    measure_ranges.main(list(map(str, [*words, "--pool", pool])))
    table = read_range_table(tmp_path / "ranges.npz")
    assert table.unknown == "it has values that are not finite" and table.images == []
