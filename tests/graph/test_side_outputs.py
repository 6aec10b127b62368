"""Boxes and scores joined as other makers than Ultralytics do: YOLOv6's column of ones, rows, corners, two outputs."""

import numpy as np
import onnx
import pytest
from conftest import image
from onnx import TensorProto, helper

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.families.sides import Sides
from lib.detector.head import EXPORTED, HEADS, SINGLE
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import output_form_of, output_spec_of
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.simplify import simplify

SIZE, STRIDES = ImageSize(96, 64), (8, 16, 32)


class RowHead:
    """A graph in the making, whose boxes and scores stand row by row; with `bins` of a DFL, or distances."""

    def __init__(self, classes: int, bins: int = 0, corners=False, unit=(1.0, 1.0), sigmoid=True, points=None):
        self.rng, self.corners, self.points, self.unit = (
            np.random.default_rng(0),
            corners,
            points,
            np.array(unit, np.float32),
        )
        given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE.height, SIZE.width])
        model = helper.make_model(helper.make_graph([], "head", [given], []), ir_version=8)
        model.opset_import[0].version = 13
        self.graph, boxes, scores = Graph(model), [], []
        for stride in STRIDES:
            stem = self.conv("images", (8, 3, stride, stride), f"stem_{stride}", strides=[stride] * 2)
            features = self.graph.add("Relu", [stem], f"features_{stride}")
            box = self.conv(features, (4 * max(bins, 1), 8, 1, 1), f"reg_{stride}")
            scores.append(self.rows(self.conv(features, (classes, 8, 1, 1), f"cls_{stride}"), classes))
            boxes.append(self.rows(self.mean(box, bins) if bins else box, 4))
        distances, self.scores = (self.graph.add("Concat", parts, name, axis=1)
                                  for parts, name in ((boxes, "distances"), (scores, "logits")))  # fmt: skip
        if sigmoid:
            self.scores = self.graph.add("Sigmoid", [self.scores], "scores")
        self.boxes = self.decoded(distances)

    def conv(self, source, shape, name, **attributes):
        """A convolution of random weights, and its bias."""
        weights = self.rng.normal(0, 1.5 / np.prod(shape[1:]) ** 0.5, shape).astype(np.float32)
        bias = self.rng.normal(0.5, 0.5, shape[0]).astype(np.float32)
        return self.graph.add("Conv", [source, weights, bias], name, kernel_shape=shape[2:], **attributes)

    def mean(self, box: str, bins: int) -> str:
        """A DFL as YOLOv6 writes it: a convolution over the bins."""
        shaped = self.graph.add("Reshape", [box, np.array([1, 4, bins, -1])], f"{box}/sides")
        turned = self.graph.add("Transpose", [shaped], f"{box}/bins", perm=[0, 2, 1, 3])
        shares = self.graph.add("Softmax", [turned], f"{box}/shares", axis=1)
        numbers = np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1)
        return self.graph.add("Conv", [shares, numbers], f"{box}/mean", kernel_shape=[1, 1])

    def rows(self, name: str, channels: int) -> str:
        """[1, n, channels]."""
        flat = self.graph.add("Reshape", [name, np.array([1, channels, -1])], f"{name}/flat")
        return self.graph.add("Transpose", [flat], f"{name}/rows", perm=[0, 2, 1])

    def decoded(self, distances: str) -> str:
        """Boxes [1, N, 4] of distances left, top, right, bottom in strides."""
        points, strides = Distances(STRIDES, corner=self.points).centres(SIZE)
        parts = []
        for first, end in ((0, 2), (2, 4)):
            bounds = (np.array([bound]) for bound in (first, end, 2))
            parts.append(self.graph.add("Slice", [distances, *bounds], f"part_{first}"))
        low, high = (self.graph.add(how, [points[None], part], how) for how, part in zip(("Sub", "Add"), parts))
        if not self.corners:
            middle = self.graph.add("Mul", [self.graph.add("Add", [low, high], "sum"), np.array(0.5, np.float32)], "xy")
            low, high = middle, self.graph.add("Sub", [high, low], "wh")
        joined = self.graph.add("Concat", [low, high], "in_strides", axis=2)
        return self.graph.add("Mul", [joined, (strides / np.tile(self.unit, 2))[None]], "boxes")

    def joined(self, ones=False) -> str:
        """[1, N, 4+C], or with a column of ones [1, N, 5+C]."""
        column = [np.ones((1, self.graph_rows(), 1), np.float32)] if ones else []
        return self.graph.add("Concat", [self.boxes, *column, self.scores], "outputs", axis=2)

    def graph_rows(self) -> int:
        """N."""
        return Distances(STRIDES).points(SIZE)

    def finish(self, *outputs: str) -> onnx.ModelProto:
        """The model with these outputs."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        self.graph.model.graph.output.extend(infos)
        return onnx.shape_inference.infer_shapes(self.graph.model)


def check(model, family: Sides, classes: int, head: str, of_rows):
    """`model` is recognized, and predicts after surgery what `of_rows` makes of its outputs."""
    frame = letterbox(image(7), SIZE)[0]
    raw = infer(open_session(model.SerializeToString()), to_tensor(frame))
    expected = of_rows(*(output.reshape(-1, output.shape[-1]) for output in raw))
    assert expected.std(axis=0).min() > 1e-3
    form = output_form_of(model)
    assert form.spec == OutputSpec(SIZE, EXPORTED, family, classes)
    assert np.abs(form.predictions(raw) - expected).max() < 1e-3
    after, record = adapt(simplify(model, [frame], 0)[0], head, [frame], seed=0)
    assert record["box_px"] < 2e-3 and record["score"] < 1e-5
    if head == SINGLE:
        expected[:, :4] = np.clip(expected[:, :4], 0, [*SIZE, *SIZE])
    predictions = output_spec_of(after).predictions(infer(open_session(after.SerializeToString()), to_tensor(frame)))
    assert np.abs(predictions - expected).max() < 2e-3


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("classes", [1, 4, 5])
@pytest.mark.parametrize("bins", [0, 17])
def test_yolov6_has_a_column_of_ones(bins, classes, head):
    maker = RowHead(classes, bins)
    family = Dfl(STRIDES, bins) if bins else Distances(STRIDES)
    check(maker.finish(maker.joined(ones=True)), family, classes, head, lambda rows: np.delete(rows, 4, axis=1))


@pytest.mark.parametrize("bins", [0, 16])
def test_rows_without_it(bins):
    maker = RowHead(3, bins)
    check(maker.finish(maker.joined()), Dfl(STRIDES, 16) if bins else Distances(STRIDES), 3, "split", np.array)


def of_corners(rows):
    """Predictions of rows x1, y1, x2, y2, scores."""
    low, high = rows[:, :2], rows[:, 2:4]
    return np.concatenate([(low + high) / 2, high - low, rows[:, 4:]], axis=1)


def test_corners_divided_by_the_size_and_logits():
    maker = RowHead(3, corners=True, unit=tuple(SIZE), sigmoid=False)

    def predictions(rows):
        pixels = of_corners(rows[:, :4] * np.array([*SIZE, *SIZE]))
        return np.concatenate([pixels, 1 / (1 + np.exp(-rows[:, 4:]))], axis=1)

    check(maker.finish(maker.joined()), Distances(STRIDES), 3, "split", predictions)


def test_boxes_beside_scores():
    maker = RowHead(3, corners=True)
    model = maker.finish(maker.boxes, maker.scores)
    check(model, Distances(STRIDES), 3, "split", lambda boxes, scores: of_corners(np.concatenate([boxes, scores], 1)))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("bins", [0, 16])
def test_points_at_the_corners_of_cells_are_found_by_running_the_graph(bins, head):
    maker = RowHead(3, bins, corners=True, points=True)
    family = Dfl(STRIDES, bins, corner=True) if bins else Distances(STRIDES, corner=True)
    check(maker.finish(maker.joined()), family, 3, head, of_corners)
