"""Box maps that came split are distances in strides only straight from a convolution; anything else is not guessed."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lib.detector.families.distances import Distances
from lib.graph import families
from lib.graph.surgery.graph import Graph
from lib.step.errors import Incomplete, UserError

SIZE, STRIDES = 64, (8, 16, 32)


def split_model(behind, classes: int = 1, scores_first: bool = False) -> onnx.ModelProto:
    """Scores [1, C, H, W] and boxes [1, 4, H, W] of each stride; behind(graph, box, stride): what follows each box."""
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    model = helper.make_model(helper.make_graph([], "split", [given], []), ir_version=8)
    model.opset_import[0].version = 13
    graph, rng, outputs = Graph(model), np.random.default_rng(0), {}
    for stride in STRIDES:
        weights = rng.normal(0, 0.1, (8, 3, stride, stride)).astype(np.float32)
        stem = graph.add("Conv", ["images", weights], f"stem_{stride}", strides=[stride] * 2)
        scores, box = (
            graph.add("Conv", [stem, rng.normal(0, 1, (count, 8, 1, 1)).astype(np.float32)], f"{name}_{stride}")
            for name, count in (("cls", classes), ("reg", 4))
        )
        box = behind(graph, box, stride)
        cells = (SIZE // stride, SIZE // stride)
        of_stride = {scores: (1, classes, *cells), box: (1, 4, *cells)}
        outputs |= of_stride if scores_first else dict(reversed(of_stride.items()))
    graph.set_outputs(outputs)
    graph.tidy()
    return graph.model


def times(factor):
    """A node behind a box map that multiplies it by `factor(stride)`."""
    return lambda graph, box, stride: graph.add("Mul", [box, np.array(factor(stride), np.float32)], f"{box}/times")


def dequantized(graph, box, stride):
    """What dynamic quantization leaves behind a convolution: a scale per channel, then the bias."""
    scale, bias = np.full((1, 4, 1, 1), 0.5, np.float32), np.ones((1, 4, 1, 1), np.float32)
    return graph.add("Add", [graph.add("Mul", [box, scale], f"{box}/scaled"), bias], f"{box}/bias")


@pytest.mark.parametrize(
    "behind",
    [
        lambda graph, box, stride: box,
        lambda graph, box, stride: graph.add("Identity", [box], f"{box}/same"),
        lambda graph, box, stride: graph.add("Transpose", [box], f"{box}/same", perm=[0, 1, 2, 3]),
        dequantized,
    ],
)
def test_convolutions_are_distances(behind):
    form = families.recognize(Graph(split_model(behind)))
    assert isinstance(form.spec.family, Distances) and form.spec.family.strides == STRIDES


@pytest.mark.parametrize(
    ("behind", "found"),
    [
        (times(lambda stride: 2), "multiplied by 2"),
        (lambda graph, box, stride: graph.add("Exp", [box], f"{box}/exp"), "comes from Exp"),
        (
            lambda graph, box, stride: times(lambda s: s)(graph, graph.add("Exp", [box], f"{box}/exp"), stride),
            "Exp, times",
        ),
        (lambda graph, box, stride: graph.add("Relu", [box], f"{box}/relu"), "comes from Relu"),
    ],
)
@pytest.mark.parametrize("classes", [1, 4, 80])
@pytest.mark.parametrize("scores_first", [True, False])
def test_anything_behind_the_convolution_is_said(behind, found, classes, scores_first):
    """Also where the class map, which comes first, could be the box map by its shape."""
    with pytest.raises(UserError, match=f"is not a convolution's output: it.* {found}.*not supported") as refused:
        families.recognize(Graph(split_model(behind, classes, scores_first)))
    assert not isinstance(refused.value, Incomplete) and "\n" not in str(refused.value)
