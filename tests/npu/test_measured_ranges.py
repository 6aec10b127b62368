"""One pass over the calibration pool gives the ranges of every set of it, and a build from them is the toolkit's."""

import os
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from conftest import image

import measure_ranges
from lib.accuracy.detection_set import read_detections
from lib.accuracy.evaluation import evaluate
from lib.data.calibration_list import calibration_list
from lib.data.split import shuffled
from lib.graph.onnx_file import load, save
from lib.graph.surgery.pipeline import adapt
from lib.npu.algorithms import OWN
from lib.npu.build import Build
from lib.npu.first_half import FirstHalf
from lib.npu.int8 import read_ranges_of
from lib.npu.range_table import RangeTable, read_range_table
from lib.npu.rknn_file import read_rknn
from lib.npu.toolkit_versions import in_use
from lib.npu.twin.structure import Parameters, convolutions
from lib.npu.twin.tensor_keys import tensor_keys
from lib.results.draws import Draws
from lib.step.errors import UserError


@pytest.fixture(scope="module")
def measure(step, pool, heldout):
    """Run measure_ranges.py for an ONNX, by default on the pool."""

    def run(onnx, path, *words, pool=pool):
        return step("measure_ranges", "--onnx", onnx, "--pool", pool, "--dataset", heldout, "--platform", "rv1106",
                    "--processes", 2, *words, "--output", path, "--log", path.with_suffix(".log"))  # fmt: skip

    return run


@pytest.fixture(scope="module")
def measured(measure, split_onnx, tmp_path_factory):
    """The file of the small detector's ranges on the pool."""
    path = tmp_path_factory.mktemp("measured") / "split.npz"
    done = measure(split_onnx, path)
    assert done.returncode == 0, done.stderr
    assert "on 8 images" in done.stderr + done.stdout
    return path


def test_ranges_of_another_head_with_the_same_tensors_are_taken_from_its_table(
    measured, measure, export, split_onnx, pool, tmp_path
):
    single = tmp_path / "single.onnx"
    save(adapt(export()[1], "single", [image(0, 96, 64)], seed=0)[0], single)
    done = measure(single, tmp_path / "single.npz", "--other", measured)
    assert done.returncode == 0 and "no image was run" not in done.stderr  # `split` has no joined boxes
    done = measure(split_onnx, tmp_path / "split.npz", "--other", tmp_path / "single.npz")
    assert done.returncode == 0 and "so no image was run" in done.stderr
    assert (tmp_path / "split.npz").read_bytes() == measured.read_bytes()

    shutil.copytree(pool, tmp_path / "pool")
    shutil.copy(pool / "0.png", tmp_path / "pool" / "1.png")
    done = measure(split_onnx, tmp_path / "of_pool.npz", "--other", measured, pool=tmp_path / "pool")
    assert done.returncode == 2 and "split.npz does not hold the ranges of the image 1.png as it is now" in done.stderr
    assert not (tmp_path / "of_pool.npz").exists()


def test_a_tensors_key_is_what_it_is_computed_from(measured, split_onnx):
    structure = read_range_table(measured).half.structure(split_onnx)
    keys = tensor_keys(structure)
    first, *_, last = convolutions(structure.model)
    renamed = onnx.ModelProto.FromString(structure.model.SerializeToString())
    for node in renamed.graph.node:
        node.input[:] = [f"{name}_" if name == first else name for name in node.input]
        node.output[:] = [f"{name}_" if name == first else name for name in node.output]
    assert set(tensor_keys(replace(structure, model=renamed)).values()) == set(keys.values())
    weights = Parameters(
        weights={last: np.zeros_like(structure.constants()[convolutions(structure.model)[last].input[1]])}
    )
    others = tensor_keys(structure.with_parameters(weights))
    different = {name for name, key in keys.items() if others[name] != key}
    assert last in different and first not in different and len(different) < len(keys) / 4


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
    assert draws[2].accuracy_int8 == draws[3].accuracy_int8 == built


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
    assert Draws.read(tmp_path / "draws.json").draws[0].accuracy_int8 == built


def test_a_calibration_set_is_a_reduction_of_the_table(tmp_path):
    ranges = [
        {"x": (-1.0, 2.0), "y": (0.0, 1.0)},
        {"x": (-3.0, 0.5), "y": (0.25, 4.0)},
        {"x": (-9.0, 9.0), "y": (0, 9)},
    ]
    half = FirstHalf(b"fused", b"", b"quantization")
    files = {name: f"digest of {name}" for name in "abc"}
    facts = {"form": "its form", "graph": "0" * 64, "platform": "rv1106", "toolkit": "2.3.2"}
    table = RangeTable.of(files, ranges, {"x": "of x", "y": "of y"}, **facts, half=half)
    table.write(tmp_path / "ranges.npz")
    read = read_range_table(tmp_path / "ranges.npz")
    assert (read.graph, read.platform, read.toolkit, read.unknown, read.half) == ("0" * 64, "rv1106", "2.3.2", "", half)
    assert read.union(["b", "a"]) == {"x": (-3.0, 2.0), "y": (0.0, 4.0)}
    with pytest.raises(UserError, match=r"ranges\.npz has no ranges for d; delete it"):
        read.union(["a", "d"])
    assert read.same({"other": "of y"}) == [{"other": each["y"]} for each in ranges]
    assert read.same({"other": "of y", "another": "of z"}) is None


def one_range() -> RangeTable:
    return RangeTable.of({"a": "digest of a"}, [{"x": (-1.0, 2.0)}], {"x": "of x"})


def test_tables_that_do_not_fit_together_are_damaged(tmp_path):
    table = one_range()
    object.__setattr__(table, "images", ["a", "b"])
    table.write(tmp_path / "ranges.npz")
    with pytest.raises(UserError, match="its tables do not fit together"):
        read_range_table(tmp_path / "ranges.npz")
    RangeTable.of({}, [], {}, unknown="no reason").write(tmp_path / "ranges.npz")
    assert read_range_table(tmp_path / "ranges.npz").unknown == "no reason"


def test_a_range_that_ends_below_its_start_is_damage(tmp_path):
    table = one_range()
    for high in (table.low - 1, np.full_like(table.high, np.inf)):
        object.__setattr__(table, "high", high)
        table.write(tmp_path / "ranges.npz")
        with pytest.raises(UserError, match="its tables do not fit together"):
            read_range_table(tmp_path / "ranges.npz")


def test_draws_refuse_the_ranges_of_another_pool(measured, split_onnx, step, pool, heldout, tmp_path):
    """Its files have the same names, so only their content differs."""
    table = read_range_table(measured)
    replace(table, files=[*table.files[1:], table.files[0]]).write(tmp_path / "other.npz")
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
    monkeypatch.setattr(measure_ranges, "over_images", lambda *given: [{"x": (0.0, np.inf)}] * 8)
    measure_ranges.main(list(map(str, [*words, "--pool", pool])))
    table = read_range_table(tmp_path / "ranges.npz")
    assert table.unknown == "it has values that are not finite" and table.images == []
