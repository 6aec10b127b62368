"""Keypoints, masks and oriented boxes are recognized in an export, and cut out of it."""

import numpy as np
import onnx
import onnxslim
import pytest

from lib.graph.families import recognize
from lib.graph.surgery.graph import Graph
from lib.step.errors import UserError

STRIDES = (8, 16, 32)
ROLES = {
    "pose": [("keypoints", 34), ("visibility", 17)],
    "seg": [("coefficients", 32)],
    "obb": [("turn", 1)],
    "obb26": [("angle", 1)],
}


def extras(kind):
    """The maps of a task that a model should have: role, stride, channels."""
    maps = [(role, stride, channels) for role, channels in ROLES[kind] for stride in STRIDES]
    return [*maps, ("prototypes", 4, 32)] if kind == "seg" else maps


@pytest.fixture(scope="module")
def recognized(export):
    """A function: architecture → the form of its outputs, simplified."""
    return lambda name, **options: recognize(Graph(onnxslim.slim(export(name, **options)[1])))


@pytest.mark.parametrize("maker", ["yolov8n", "yolo11n", "yolo26n"])
@pytest.mark.parametrize(("suffix", "task"), [("pose", "pose"), ("seg", "segment"), ("obb", "obb")])
def test_task_and_its_maps_are_recognized(recognized, maker, suffix, task):
    spec = recognized(f"{maker}-{suffix}").spec
    assert spec.task == task
    kind = "obb26" if (maker, suffix) == ("yolo26n", "obb") else suffix
    assert [(each.role, each.stride, each.channels) for each in spec.extras] == extras(kind)
    assert spec.columns == {"pose": 51, "seg": 32, "obb": 1}[suffix]


@pytest.mark.parametrize("suffix", ["pose", "seg", "obb"])
def test_end_to_end_head_is_recognized_too(recognized, suffix):
    spec = recognized(f"yolo26n-{suffix}", nms=False).spec
    assert spec.end2end and spec.head == "selected"
    assert [(each.role, each.stride, each.channels) for each in spec.extras] == extras(
        "obb26" if suffix == "obb" else suffix
    )


def test_boxes_and_scores_that_were_joined_before_are_found(export):
    """As Ultralytics exported until 8.3: what the task adds is joined with the two, joined already."""
    graph = Graph(onnxslim.slim(export("yolov8n-pose")[1]))
    joined = graph.producer(graph.output)
    boxes, scores, keypoints = joined.input
    inner = graph.add("Concat", [boxes, scores], "boxes_and_scores", before=joined, axis=1)
    del joined.input[:]
    joined.input.extend([inner, keypoints])
    graph.tidy()
    assert recognize(graph).spec.task == "pose"


def test_prototypes_may_come_first(export):
    model = onnxslim.slim(export("yolov8n-seg")[1])
    predictions, prototypes = model.graph.output
    model.graph.output.extend([prototypes, predictions])
    del model.graph.output[:2]
    form = recognize(Graph(model))
    assert form.spec.task == "segment" and form.names == (predictions.name, prototypes.name)


def test_columns_that_no_task_has_are_refused_in_one_sentence(export):
    """Keypoints whose places are thrice v: no formula that anybody has published."""
    graph = Graph(onnxslim.slim(export("yolov8n-pose")[1]))
    twice = [
        tensor
        for tensor in graph.model.graph.initializer
        if any(node.op_type == "Mul" for node in graph.consumers(tensor.name))
        and onnx.numpy_helper.to_array(tensor).tolist() == 2.0
    ]
    for tensor in twice:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(3), tensor.name))
    assert twice
    graph.tidy()
    with pytest.raises(UserError, match="51 numbers behind the scores that are neither keypoints") as refused:
        recognize(graph)
    assert "\n" not in str(refused.value)
