"""The algorithm `gptq` rounds weights to the toolkit's steps, so that sums change less than with the nearest ones."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from lib.npu.twin.ranges import step_of
from lib.npu.twin.rounding import round_weights, steps_of_filters, whole_weights
from lib.npu.twin.structure import Structure
from lib.npu.weights import _read, _Rounding, gptq, gptq_weights

# Filters whose ends are easily rounded wrongly: of one sign, of zeros, symmetric, with ends halfway between two steps.
KINDS = {
    "any": lambda values: values,
    "positive": np.abs,
    "negative": lambda values: -np.abs(values),
    "one of zeros": lambda values: values * (np.arange(len(values)) > 0)[:, None],
    "symmetric": lambda values: np.concatenate([values, -values], axis=1),
    "halfway": lambda values: np.concatenate([values % 100, [[128.5, -126.5]] * len(values)], axis=1),
    "former INT8": lambda values: np.round(values / np.abs(values).max() * 127.5) / 127.5,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_toolkit_rounds_the_weights_to_themselves_with_the_same_steps(kind):
    random = np.random.default_rng(1)
    for number in range(60):
        size = 10.0 ** random.uniform(-4, 3)
        filters = np.float32(KINDS[kind](random.normal(size=random.integers(1, 40, 2)) * size))
        read = random.normal(size=(filters.shape[1], 30))
        read[random.random(len(read)) < 0.1] = 0
        rounded = gptq(filters, read @ read.T * (number > 0))
        assert not rounded[(filters == 0).all(axis=1)].any()
        np.testing.assert_allclose(round_weights(rounded)[0], rounded, rtol=1e-6, atol=0)
        np.testing.assert_allclose(whole_weights(rounded)[1], whole_weights(filters)[1], rtol=1e-6)
        np.testing.assert_array_equal(steps_of_filters(rounded)[1], steps_of_filters(filters)[1])


def test_sums_change_less_than_with_the_nearest_steps():
    random = np.random.default_rng(2)
    filters = random.normal(size=(16, 72)).astype(np.float32)
    read = random.normal(size=(72, 12)) @ random.normal(size=(12, 500))  # 72 inputs that go together
    error = {
        name: np.square((rounded - filters) @ read).mean()
        for name, rounded in (("gptq", gptq(filters, read @ read.T)), ("nearest", round_weights(filters)[0]))
    }
    assert error["gptq"] < 0.2 * error["nearest"]


def test_weights_that_read_unrelated_values_take_the_nearest_steps():
    filters = np.random.default_rng(3).normal(size=(4, 20)).astype(np.float32)
    np.testing.assert_allclose(gptq(filters, np.diag(np.arange(20.0))), round_weights(filters)[0], rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pads": [1, 2, 0, 1], "strides": [2, 3]},
        {"pads": [2, 2, 2, 2], "dilations": [2, 1]},
        {"pads": [1, 1, 1, 1], "group": 2},
    ],
)
def test_what_is_read_for_a_position_gives_its_sum(settings):
    random = np.random.default_rng(4)
    groups = settings.get("group", 1)
    weights = random.normal(size=(6, 4 // groups, 3, 2)).astype(np.float32)
    values = random.normal(size=(1, 4, 9, 8)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **settings)
    sums = step_of(node, {"w": weights}, [helper.make_opsetid("", 19)])({"x": values})["y"][0]
    positions = np.array([0, 5, sums[0].size - 1])
    read = _read(values, node, (3, 2), positions).reshape(groups, -1, len(positions))
    expected = weights.reshape(groups, 6 // groups, -1) @ read
    np.testing.assert_allclose(expected.reshape(6, -1), sums.reshape(6, -1)[:, positions], rtol=1e-4, atol=1e-5)


def structure(weights: np.ndarray) -> Structure:
    """A 1x1 convolution of two channels, and a SiLU; all on steps that change hardly anything."""
    nodes = [
        helper.make_node("Conv", ["images", "filters"], ["sums"]),
        helper.make_node("exSwish", ["sums"], ["active"]),
    ]
    given = helper.make_tensor_value_info("images", 1, [1, 2, 1, 4])
    result = helper.make_tensor_value_info("active", 1, [1, len(weights), 1, 4])
    graph = helper.make_graph(nodes, "small", [given], [result], [numpy_helper.from_array(weights, "filters")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    return Structure(model, {"images": (0.0, 255.0), "sums": (-255.0, 255.0), "active": (-1.0, 255.0)})


WEIGHTS = np.float32([[1, -1], [0.5, -0.25]])[:, :, None, None]
# In the first two positions both sums are positive; in the others far below 0, where a SiLU passes nothing on.
IMAGE = np.float32([[200, 100, 0, 10], [20, 30, 200, 250]]).reshape(1, 2, 1, 4)


def test_positions_count_as_much_as_the_activation_passes_on():
    rounding = _Rounding(structure(WEIGHTS), [IMAGE], {})
    [moments] = rounding._moments(rounding.graph.node[0], (1, 2, 2))
    first = IMAGE[0, :, 0, :2].astype(np.float64)
    np.testing.assert_allclose(moments, first @ first.T / 2, rtol=0.02)


def test_convolutions_with_other_weights_than_the_onnx_are_left_alone():
    given = structure(WEIGHTS)
    assert gptq_weights(given, [IMAGE], {"sums": WEIGHTS})["sums"].shape == WEIGHTS.shape
    assert gptq_weights(given, [IMAGE], {"sums": WEIGHTS + 1}) == {}
    assert gptq_weights(given, [IMAGE], {}) == {}
