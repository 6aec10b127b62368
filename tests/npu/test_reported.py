"""Keypoints of cells that no detection reports take no INT8 steps."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from lib.data.imgsz import ImageSize
from lib.detector.families import OutputMap
from lib.detector.families.distances import Distances
from lib.detector.output_spec import OutputSpec
from lib.npu.built_ranges import built_ranges
from lib.npu.int8 import _Choice
from lib.npu.range_table import RangeTable, read_range_table
from lib.npu.reported import range_pass, reported_name
from lib.npu.twin.ranges import adjusted, chosen, union
from lib.npu.twin.structure import Structure

IMGSZ = ImageSize(16, 8)
SPEC = OutputSpec(IMGSZ, "split", Distances((8,)), 2, "pose", extras=(OutputMap("keypoints", 8, 4),))
TENSOR = "keypoints_8_int8"


@pytest.fixture
def structure():
    """A network whose outputs are its input's channels: 4 of the box, 2 scores, x and y of 2 keypoints."""
    names = ["box_8", "scores_8", "keypoints_8"]
    split = helper.make_node("Split", ["images", "sizes"], [f"{name}_int8" for name in names], axis=1)
    nodes = [split, *(helper.make_node("exDataConvert", [f"{name}_int8"], [name]) for name in names)]
    value = helper.make_tensor_value_info
    results = [value(name, onnx.TensorProto.FLOAT, None) for name in names]
    sizes = helper.make_tensor("sizes", onnx.TensorProto.INT64, [3], [4, 2, 4])
    graph = helper.make_graph(nodes, "pose", [value("images", onnx.TensorProto.FLOAT, None)], results, [sizes])
    opsets = [helper.make_opsetid("", 13)]
    return Structure(helper.make_model(graph, opset_imports=opsets), dict.fromkeys(split.output, (-1.0, 1.0)))


def image(*cells: tuple[float, float, float]) -> np.ndarray:
    """The input that gives a row of cells with such a score and such a lowest and highest coordinate."""
    tensor = np.zeros((1, 10, 1, len(cells)), np.float32)
    for column, (score, low, high) in enumerate(cells):
        tensor[0, 5:8, 0, column] = score, low, high
    return tensor


def built(structure, images, outputs=SPEC):
    """The range of the keypoints after measuring these images."""
    measure = range_pass(structure, outputs).measure
    measured = union([measure(each) for each in images])
    return built_ranges(structure, adjusted(structure, measured), measured, SPEC)[TENSOR]


def test_cells_without_an_object_do_not_widen_the_range(structure):
    images = [image((0.9, -7, 7), (0.001, -8, 8)), image((0.02, -6, 7.5), (0.0, -6, 7.5))]
    assert built(structure, images) == (-7, 7.5)
    assert built(structure, images[1:]) == (-6, 7.5)


def test_an_end_keeps_three_quarters(structure):
    assert built(structure, [image((0.9, -1, 8), (0.0, -6, 9))]) == (-4.5, 8)
    assert built(structure, [image((0.9, 2, 3), (0.0, -6, 8))]) == (-4.5, 6)


def test_images_without_an_object_change_nothing(structure):
    background = image((0.009, -7, 9), (0.0, -8, 3))
    assert built(structure, [background]) == (-8, 9)
    assert built(structure, [background, image((0.5, -7, 8), (0.0, 0, 0))]) == (-7, 8)


def test_where_only_the_toolkit_measured_the_range_stays(structure):
    ranges = dict.fromkeys(structure.ranges, (-7.0, 9.0))
    assert built_ranges(structure, ranges, ranges, SPEC)[TENSOR] == (-7, 9)
    assert built(structure, [image((0.9, -4, 5), (0.0, -7, 9))], outputs=None) == (-7, 9)


def test_only_keypoints_of_the_split_head_are_cut(structure):
    measured = range_pass(structure, SPEC).measure(image((0.9, -4, 5), (0.0, -7, 9)))
    ranges = adjusted(structure, measured)
    assert {name for name in measured if name not in ranges} - structure.readers().keys() == {
        "box_8", "scores_8", "keypoints_8", reported_name(TENSOR),
    }  # fmt: skip
    for other in (replace(SPEC, head="exported"), replace(SPEC, task="detect", extras=())):
        assert built_ranges(structure, ranges, measured, other)[TENSOR] == (-7, 9)
        assert range_pass(structure, other).measure(image((0.9, -4, 5))).keys() == measured.keys() - {
            reported_name(TENSOR)
        }


def test_a_table_of_ranges_holds_them_for_every_calibration_set(structure, tmp_path):
    run = range_pass(structure, SPEC)
    images = [image((0.9, -6, 7), (0.0, -7, 8)), image((0.0, -8, 3)), image((0.5, -7, 8))]
    RangeTable.of(["a", "b", "c"], [run.measure(each) for each in images]).write(tmp_path / "ranges.npz")
    table = read_range_table(tmp_path / "ranges.npz")
    for names, expected in ((["a", "b"], (-6, 7)), (["b"], (-8, 3)), (["a", "b", "c"], (-7, 8))):
        measured = table.union(names)
        ranges = adjusted(structure, measured)
        assert built_ranges(structure, ranges, measured, SPEC)[TENSOR] == expected
        assert chosen(structure.with_ranges(ranges), measured, measured) == ranges
        assert _Choice(SPEC, lambda _, found=(ranges, measured): found)(structure)[TENSOR] == expected
