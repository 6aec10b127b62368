"""The few large channels of a map are split for scores and keypoints, so that others have finer INT8 steps."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lib.detector.families import OutputMap
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.passes import outlier_channels
from lib.graph.surgery.passes.outlier_channels import LEAST, NARROW, further, room, shared_end

SIDE, CHANNELS = 16, 64
FORM = SimpleNamespace(
    spec=SimpleNamespace(maps=lambda: [OutputMap("box", 8, 4), OutputMap("scores", 8, 2), OutputMap("keypoints", 8, 6)])
)
IMAGES = [np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for seed in range(3)]


def head(scales: dict[int, float], activation: str = "SiLU") -> onnx.ModelProto:
    """Three maps from one: its channels reach about 3, and those in `scales` nearly three times their scale."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(CHANNELS, 3, 1, 1))
    for channel, scale in scales.items():
        weights[channel] = scale
    constants = {"map": weights, **{name: rng.normal(size=(count, CHANNELS, 3, 3)) for name, count in
                                    {"box_8": 4, "scores_8": 2, "keypoints_8": 6}.items()}}  # fmt: skip
    nodes = [helper.make_node("Conv", ["images", "map/w", "map/b"], ["x"], kernel_shape=[1, 1])]
    if activation == "SiLU":
        nodes += [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["m"])]
    else:
        nodes += [helper.make_node(activation, ["x"], ["m"])]
    outputs = []
    for name in ("box_8", "scores_8", "keypoints_8"):
        nodes.append(helper.make_node("Conv", ["m", f"{name}/w", f"{name}/b"], [name], kernel_shape=[3, 3]))
        shape = [1, len(constants[name]), SIDE - 2, SIDE - 2]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    stored = [numpy_helper.from_array(values.astype(np.float32), f"{name}/w") for name, values in constants.items()]
    stored += [numpy_helper.from_array(np.zeros(len(values), np.float32), f"{name}/b") for name, values in
               constants.items()]  # fmt: skip
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "head", [given], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def values_of(model: onnx.ModelProto, names: list[str], image: np.ndarray) -> list[np.ndarray]:
    """Tensors of a model on an image, also inner ones."""
    known = {output.name for output in model.graph.output}
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name in names:
        if name not in known:
            shown.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return infer_image(open_session(shown.SerializeToString()), image, names)


def test_outliers_are_split_but_not_for_boxes():
    graph = Graph(head({5: 40.0, 9: 20.0, 40: 8.0}))
    before = graph.model.SerializeToString()
    assert outlier_channels.PASS.needed(graph, FORM)
    outlier_channels.PASS.apply(graph, FORM, IMAGES)
    readers = {node.output[0]: node.input[0] for node in graph.model.graph.node if node.op_type == "Conv"}
    assert readers["box_8"] == "m"
    joined = readers["keypoints_8"]
    assert readers["scores_8"] == joined != "m"
    names = ["box_8", "scores_8", "keypoints_8"]
    other = np.random.default_rng(9).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    for image in (*IMAGES, other):
        for ours, theirs in zip(
            values_of(graph.model, names, image), infer_image(open_session(before), image, names), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
    largest = max(values_of(graph.model, ["m"], image)[0].max() for image in IMAGES)
    split = np.concatenate([values_of(graph.model, [joined], image)[0] for image in IMAGES])
    assert largest > 100 and LEAST <= split.max() <= NARROW * largest
    assert CHANNELS < split.shape[1] <= CHANNELS + room(CHANNELS)


@pytest.mark.parametrize("scales", [{}, {5: 5.0}, dict.fromkeys(range(room(CHANNELS) + 1), 20.0)])
def test_a_map_without_few_outliers_stays(scales):
    graph = Graph(head(scales))
    nodes = [node.output[0] for node in graph.model.graph.node]
    outlier_channels.PASS.apply(graph, FORM, IMAGES)
    assert [node.output[0] for node in graph.model.graph.node] == nodes


def test_only_a_silu_passes_large_values_on():
    assert not outlier_channels.PASS.needed(Graph(head({5: 60.0}, "Tanh")), FORM)


def test_the_end_is_the_least_with_few_enough_channels():
    high = np.array([49.3, 35.1, 32.3, 13.4, 13.2, 9.9, 9.8, *np.linspace(0, 9, 50)])
    for most in (1, 4, 8, 32):
        end = shared_end(high, most)
        assert further(high, end).sum() <= most
        lower = np.arange(LEAST, end - 1e-6, 0.01)
        assert all(further(high, each).sum() > most for each in lower)
    assert shared_end(high, 200) == LEAST
    assert [room(channels) for channels in (16, 80, 128, 256)] == [16, 16, 16, 48]
    assert list(further(np.array([10.0, 20.0, 20.1, 0.0]), 10.0)) == [0, 1, 2, 0]
