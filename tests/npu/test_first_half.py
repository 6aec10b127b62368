"""What the toolkit's first half of a build leaves is kept whole, once, and the same each time."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lib.npu import toolkit
from lib.npu.first_half import FirstHalf, _once
from lib.step.errors import ToolkitError


@pytest.fixture(scope="module")
def images(pool):
    return sorted(pool.iterdir())


@pytest.fixture(scope="module")
def half(split_onnx, images):
    return toolkit.first_half_of(split_onnx, images[0], "rv1106")


def test_it_is_the_same_each_time_and_does_not_repeat_the_parameters(half, split_onnx, images):
    assert toolkit.first_half_of(split_onnx, images[0], "rv1106") == half  # no name of a scratch folder, for one
    assert len(half.fused) < split_onnx.stat().st_size / 4


def test_its_structure_is_the_toolkits(half, split_onnx, images):
    ours, theirs = half.structure(split_onnx), toolkit.structure_of(split_onnx, images[:1], "rv1106")
    assert ours.ranges == theirs.ranges
    constants, expected = ours.constants(), theirs.constants()
    assert constants.keys() <= expected.keys()
    for name, values in constants.items():
        np.testing.assert_array_equal(values, expected[name])


def test_files_of_another_form_are_refused(half, split_onnx, tmp_path):
    half.write(tmp_path, split_onnx)
    assert FirstHalf.read(tmp_path, split_onnx) == half
    (tmp_path / toolkit.DATA).write_bytes(pickle.dumps({"args": {}}))
    with pytest.raises(ToolkitError, match=r"model\.data of its hybrid step is not of the known form"):
        FirstHalf.read(tmp_path, split_onnx)


def test_a_constant_that_several_nodes_read_is_kept_once():
    sizes, others = np.array([2, 2], np.int64), np.array([1, 3], np.int64)
    constants = {"sizes": sizes, "sizes_1": sizes, "sizes_2": others, "free_1": sizes}
    nodes = [helper.make_node("Split", ["x", name], [f"{name}_a", f"{name}_b"]) for name in constants]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    made = [helper.make_tensor_value_info(nodes[0].output[0], TensorProto.FLOAT, [1, 2])]
    stored = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    model = _once(helper.make_model(helper.make_graph(nodes, "g", [given], made, stored)))
    assert [node.input[1] for node in model.graph.node] == ["sizes", "sizes", "sizes_2", "free_1"]
    assert [constant.name for constant in model.graph.initializer] == ["sizes", "sizes_2", "free_1"]


def test_damaged_settings_are_refused(half, split_onnx):
    for damaged in (b"quantize_parameters: [", b"{", b'{"quantize_parameters": []}'):
        with pytest.raises(ToolkitError, match="ranges of its hybrid step are not of the known form"):
            replace(half, quantization=damaged).structure(split_onnx)
