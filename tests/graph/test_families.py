"""Heads without a DFL or without NMS, as those of YOLO26 and YOLOv10: found by structure, cut, and decoded rightly."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from conftest import image, slim
from onnx import helper

from lib import tasks
from lib.data.imgsz import ImageSize
from lib.data.letterbox import fit_of, letterbox
from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.head import EXPORTED, HEADS, SELECTED, SINGLE, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import class_names, output_spec_of
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.passes import split_outputs
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.proof import selection_difference
from lib.graph.surgery.simplify import simplify
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)
IMAGES = [letterbox(image(seed), SIZE)[0] for seed in range(2)]
FAMILIES = {"yolo26n": Distances(), "yolov10n": Dfl()}
# Architectures, opsets and numbers of classes. A DFL of the other opsets is in test_surgery.py.
EXPORTS = [
    *(("yolo26n", *export) for export in ((12, 4), (13, 1), (17, 4), (19, 80))),
    *(("yolov10n", *export) for export in ((12, 4), (19, 80))),
]


def run(model, tensor):
    return infer(open_session(model.SerializeToString()), tensor)


def limited(boxes, size):
    """As the head 'single' has them: centres in the image, no side longer than it."""
    return np.clip(boxes, 0, [size.width, size.height] * 2)


def check(model, after, head, size=SIZE):
    """`after` predicts what `model`, as exported, does on another image: all of it, or the rows that it selected."""
    tensor = to_tensor(letterbox(image(7), size)[0])
    outputs = output_spec_of(after)
    assert (outputs.head, outputs.imgsz) == (head, size)
    [before] = run(model, tensor)
    found = outputs.predictions(run(after, tensor))
    if not outputs.end2end:
        expected = OutputSpec(size, EXPORTED, outputs.family, before.shape[1] - 4).predictions([before])
        # Not a comparison of constants with constants: the predictions differ from anchor point to anchor point.
        assert expected.std(axis=0).min() > 1e-4
        if head == SINGLE:
            expected[:, :4] = limited(expected[:, :4], size)
        assert np.abs(expected[:, :4] - found[:, :4]).max() < 1e-5 * max(size)
        assert np.abs(expected[:, 4:] - found[:, 4:]).max() < 1e-5
        return
    rows = before[0]
    assert len(rows) == min(300, len(found))
    detections = tasks.get(tasks.DEFAULT).instances(
        outputs, run(after, tensor), fit_of(size, size), confidence=0, most=len(rows)
    )
    assert len(detections.scores) == len(rows)
    assert np.abs(np.sort(rows[:, 4]) - np.sort(detections.scores)).max() < 1e-6
    low, high = rows[:, :2], rows[:, 2:4]
    boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
    if head == SINGLE:
        boxes = limited(boxes, size)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    inside = np.clip(corners, 0, [size.width, size.height] * 2)
    for box, score, chosen in zip(inside, rows[:, 4], rows[:, 5]):
        same = (detections.classes == chosen) & (np.abs(detections.scores - score) < 1e-6)
        assert np.abs(detections.boxes[same] - box).max(axis=1).min(initial=np.inf) < 1e-5 * max(size)


@pytest.mark.parametrize("end2end", [True, False])
@pytest.mark.parametrize(("architecture", "opset", "classes"), EXPORTS)
def test_every_opset_and_number_of_classes(export, architecture, end2end, opset, classes):
    model = export(architecture, classes, opset, nms=False if end2end else None)[1]
    simplified, _ = simplify(model, IMAGES, seed=0)
    exported = output_spec_of(simplified)
    assert (exported.family, exported.head) == (FAMILIES[architecture], SELECTED if end2end else EXPORTED)
    for head in HEADS:
        after, record = adapt(simplified, head, IMAGES, seed=0)
        assert record["box_px"] < 1e-3 and record["score"] < 1e-5
        assert output_spec_of(after) == replace(exported, head=head)
        assert len(class_names(after)) == classes
        assert not {"TopK", "GatherElements"} & {node.op_type for node in after.graph.node}
        check(model, after, head)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("end2end", [True, False])
def test_416x256(export, end2end, head):
    size = ImageSize(416, 256)
    model = export("yolo26n", 4, 19, 416, 256, nms=False if end2end else None)[1]
    after, _ = adapt(slim(model), head, [letterbox(image(1), size)[0]], seed=0)
    check(model, after, head, size)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ["yolo12n", "yolov9t", "yolo26s"])
def test_other_architectures(export, architecture, head):
    model = export(architecture)[1]
    after, _ = adapt(slim(model), head, IMAGES, seed=0)
    check(model, after, head)


@pytest.mark.parametrize("head", HEADS)
def test_a_dfl_of_another_number_of_bins(export, head):
    """`reg_max` 8: half the bins of a side, as box maps of 32 channels."""
    model = export("yolov8n", reg_max=8)[1]
    after, _ = adapt(slim(model), head, IMAGES, seed=0)
    check(model, after, head)


def test_distances_that_came_split_are_told_from_scores(export):
    """The class map comes first and has 4 channels as the box map has; the sigmoid tells them apart."""
    model = export("yolo26n")[1]
    graph = Graph(slim(model))
    detector = find_detector(graph)
    outputs = {}
    for place, (box, classes) in enumerate(zip(detector.box_maps, detector.class_maps)):
        outputs[graph.add("Sigmoid", [classes], f"cls{place}")] = graph.shape(classes)
        outputs[graph.add("Identity", [box], f"reg{place}")] = graph.shape(box)
    graph.set_outputs(outputs)
    graph.tidy()
    for head, more in ((SPLIT, []), (SINGLE, ["single_output", "limit_boxes"])):
        after, record = adapt(slim(graph.model), head, IMAGES, seed=0)
        assert [each["pass"] for each in record["passes"]] == ["split_again", *more]
        check(model, after, head)


def test_a_wrong_cut_of_an_end_to_end_head_is_caught(export, monkeypatch):
    """The maps of two strides have different sizes; boxes of neighbouring cells differ: a shift by one is seen."""

    def shifted(graph, form):
        split_outputs.rewrite(graph, form)
        [reader] = [node for node in graph.model.graph.node if node.output[0] == "scores_8"]
        order = np.roll(np.arange(12), 1)
        reader.input[0] = graph.add("Gather", [reader.input[0], order], "shifted", before=reader, axis=3)

    monkeypatch.setattr(split_outputs, "PASS", replace(split_outputs.PASS, rewrite=shifted))
    model = slim(export("yolo26n", nms=False)[1])
    with pytest.raises(UserError, match="after pass split_outputs the graph computes something else"):
        adapt(model, SPLIT, IMAGES, seed=0)


def test_nms_in_the_graph_is_refused(export):
    model = export("yolov8n", nms=True)[1]
    with pytest.raises(UserError, match="contains NMS, which the NPU cannot run; export it without"):
        adapt(slim(model), SPLIT, IMAGES, seed=0)


def test_end_to_end_scores_without_sigmoid_are_refused(export):
    graph = Graph(slim(export("yolo26n", nms=False)[1]))
    scores = graph.producer(find_detector(graph).scores)
    assert scores.op_type == "Sigmoid"
    graph.bypass(scores)
    graph.tidy()
    with pytest.raises(UserError, match="selects by logits"):
        adapt(graph.model, SPLIT, IMAGES, seed=0)


def test_number_of_classes_of_an_end_to_end_model_is_the_graphs(export):
    """Neither its output [1, K, 6] nor, here, its metadata tells it."""
    model = onnx.ModelProto()
    model.CopyFrom(export("yolo26n", 3, nms=False)[1])
    helper.set_model_props(model, {})
    spec = output_spec_of(model)
    assert (spec.head, spec.classes, spec.end2end) == (SELECTED, 3, True)
    assert class_names(model) == ["0", "1", "2"]


# Decoding and choosing.


def test_distances_are_strides_from_the_cells_centre():
    maps = [np.zeros((1, channels, *cell), np.float32) for cell in ((4, 4), (2, 2), (1, 1)) for channels in (4, 2)]
    maps[2][0, :, 1, 0] = [0.25, 0.5, 0.75, 1.0]
    maps[3][0, 1, 1, 0] = 0.9
    found = OutputSpec(ImageSize(32, 32), SPLIT, Distances(), 2).predictions(maps)
    assert found.shape == (21, 6)
    # Cell (0, 1) of stride 16: x from 8 - 4 to 8 + 12, y from 24 - 8 to 24 + 16.
    assert found[16 + 2].tolist() == pytest.approx([12, 28, 16, 24, 0, 0.9])


def test_an_end_to_end_model_drops_no_overlapping_box():
    """The best predictions count, by score, then anchor point, then class; also two classes of one anchor point."""
    predictions = np.zeros((4, 6), np.float32)
    predictions[:, :4] = [16, 16, 8, 8]
    predictions[:, 4:] = [[0.5, 0.7], [0.7, 0], [0, 0.9], [0.0005, 0]]
    outputs = [predictions.T[None] * np.array([1, 1, 1, 1, 1, 1], np.float32)[None, :, None]]
    fit = fit_of((32, 32), ImageSize(32, 32))
    padded = np.concatenate([outputs[0], np.zeros((1, 6, 17), np.float32)], axis=2)
    one_to_one, one_to_many = (
        OutputSpec(ImageSize(32, 32), EXPORTED, Dfl(), 2, end2end=end2end) for end2end in (True, False)
    )
    instances = tasks.get(tasks.DEFAULT).instances
    found = instances(one_to_one, [padded], fit)
    assert found.classes.tolist() == [1, 1, 0, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.7, 0.5])
    assert instances(one_to_one, [padded], fit, most=2).classes.tolist() == [1, 1]
    assert instances(one_to_many, [padded], fit).scores.tolist() == pytest.approx([0.9, 0.7])


def test_a_selection_is_compared_whatever_its_order():
    rng = np.random.default_rng(0)
    predictions = np.concatenate([rng.uniform(0, 96, (50, 4)), rng.uniform(0.1, 1, (50, 3))], axis=1).astype(np.float32)
    anchors, classes = np.divmod(np.argsort(-predictions[:, 4:].ravel())[:20], 3)
    selected = np.zeros((20, 7), np.float32)
    selected[:, :4] = predictions[anchors, :4]
    selected[np.arange(20), 4 + classes] = predictions[anchors, 4 + classes]
    assert selection_difference(selected[::-1], predictions, 1e-4) == (0, 0)
    moved = selected.copy()
    moved[3, 0] += 0.5
    assert selection_difference(moved, predictions, 1e-4)[0] == pytest.approx(0.5, abs=1e-4)
    other_class = selected.copy()
    other_class[3, 4:] = np.roll(selected[3, 4:], 1)
    assert selection_difference(other_class, predictions, 1e-4)[0] == np.inf
    # Something better was left out: the K best scores are others.
    assert selection_difference(selected[1:], predictions, 1e-4)[1] > 0
