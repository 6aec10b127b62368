"""RTMDet of MMDetection: box maps times their strides are cut before the Mul, with points at the corners of cells."""

import numpy as np
import onnx
import pytest
from conftest import image
from onnx import TensorProto, helper
from test_came_split import SIZE, STRIDES, split_model, times
from test_side_outputs import RowHead

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.families.distances import Distances
from lib.detector.head import HEADS, SINGLE, SPLIT
from lib.graph import families
from lib.graph.input_convention import settle_input_form
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.prepare.behind_input import prepare
from lib.graph.surgery.rtmdet import INPUT
from lib.graph.surgery.simplify import simplify

FRAME = letterbox(image(7), ImageSize(SIZE, SIZE))[0]
IN_PIXELS = times(lambda stride: stride)


def predicted(model, classes_first: bool) -> np.ndarray:
    """cx, cy, w, h in pixels and scores [N, 4+C] of a model with maps, decoded as mmdet's distance2bbox does."""
    rows, outputs = [], infer_image(open_session(model.SerializeToString()), FRAME)
    for stride, pair in zip(STRIDES, zip(outputs[0::2], outputs[1::2], strict=True), strict=True):
        classes, sides = (
            values[0].reshape(values.shape[1], -1).T for values in (pair if classes_first else pair[::-1])
        )
        side = SIZE // stride
        x, y = (stride * values.ravel() for values in np.meshgrid(np.arange(side), np.arange(side)))
        low, high = np.stack([x, y], 1) - sides[:, :2], np.stack([x, y], 1) + sides[:, 2:]
        rows.append(np.concatenate([(low + high) / 2, high - low, 1 / (1 + np.exp(-classes))], axis=1))
    return np.concatenate(rows)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("classes", "classes_first"), [(1, True), (4, True), (4, False), (80, False)])
def test_maps_in_pixels_are_decoded_as_mmdet_does(head, classes, classes_first):
    model = split_model(IN_PIXELS, classes, classes_first)
    form, origin = settle_input_form(model, {})
    assert (form, origin) == (INPUT, "the convention of its makers")
    expected = predicted(model, classes_first)
    recognized = families.recognize(Graph(model))
    assert recognized.spec.family == Distances(STRIDES, corner=True)
    after, record = adapt(model, head, [FRAME], seed=0)
    assert record["passes"][0]["pass"] == "cut_maps" and record["box_px"] < 2e-3
    spec = families.recognize(Graph(after)).spec
    assert spec.family == Distances(STRIDES, corner=True)
    found = spec.predictions(infer_image(open_session(after.SerializeToString()), FRAME))
    if head == SINGLE:
        expected[:, :4] = np.clip(expected[:, :4], 0, SIZE)
    assert np.abs(found - expected).max() < 2e-3
    if head == SPLIT:
        boxes = [node.op_type for node in after.graph.node if node.output[0].startswith("box_")]
        assert boxes == ["Conv"] * 3, "the Mul is cut off"


def test_a_whole_export_shows_its_points():
    maker = RowHead(3, corners=True, points=True)
    model = maker.finish(maker.boxes, maker.scores)
    assert families.recognize(Graph(model)).spec.family.corner and settle_input_form(model, {})[0] == INPUT
    maker = RowHead(3, corners=True)
    model = maker.finish(maker.boxes, maker.scores)
    assert families.recognize(Graph(model)).spec.family.corner is None and settle_input_form(model, {})[0] != INPUT


def test_nms_as_mmdeploy_writes_it_is_cut_off():
    """Outputs dets [1, K, 5] and labels [1, K], picked from boxes and scores that were never joined."""
    maker = RowHead(3, corners=True, points=True)
    graph, limits = maker.graph, [np.array([50]), np.array([0.5], np.float32), np.array([0.05], np.float32)]
    scores = graph.add("Transpose", [maker.scores], "classes_first", perm=[0, 2, 1])
    chosen = graph.add("NonMaxSuppression", [maker.boxes, scores, *limits], "chosen")
    place, kind, row = (graph.add("Gather", [chosen, np.array([at])], f"column_{at}", axis=1) for at in range(3))
    boxes = graph.add("GatherND", [maker.boxes, graph.add("Concat", [place, row], "where", axis=1)], "picked")
    best = graph.add("GatherND", [scores, graph.add("Concat", [place, kind, row], "which", axis=1)], "best")
    rows = graph.add("Concat", [boxes, graph.add("Unsqueeze", [best, np.array([1])], "column")], "rows", axis=1)
    graph.add("Unsqueeze", [rows, np.array([0])], "dets")
    graph.add("Transpose", [kind], "labels", perm=[1, 0])
    outputs = ("dets", TensorProto.FLOAT, [1, "k", 5]), ("labels", TensorProto.INT64, [1, "k"])
    graph.model.graph.output.extend(helper.make_tensor_value_info(*output) for output in outputs)
    prepared, [note] = prepare(onnx.shape_inference.infer_shapes(graph.model), [image(0, 96, 64)], 0)
    assert "its NMS (NonMaxSuppression) is removed" in note and "rows in its output are among the predictions" in note
    assert families.recognize(Graph(simplify(prepared, [], 0)[0])).spec.family == Distances(STRIDES, corner=True)


def test_the_input_can_be_given():
    model = split_model(IN_PIXELS)
    form, _ = settle_input_form(model, {"letterbox": "stretch", "channels": "rgb"})
    assert (form.letterbox, form.channels, form.mean) == ("stretch", "rgb", INPUT.mean)
