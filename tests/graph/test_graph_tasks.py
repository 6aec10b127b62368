"""Keypoints, masks and oriented boxes are recognized in an export, and cut out of it."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import yaml
from conftest import slim

from lib.detector.head import SINGLE, SPLIT
from lib.graph.families import recognize
from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.prepare.behind_input import prepare
from lib.graph.surgery.simplify import simplify
from lib.step.errors import UserError

STRIDES = (8, 16, 32)
ROLES = {
    "pose": [("keypoints", 34), ("keypoints_fine", 34), ("visibility", 17)],
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
    return lambda name, **options: recognize(Graph(slim(export(name, **options)[1])))


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


def p2(folder, task, last):
    """YOLO26n's architecture with a head at strides 4 to 32 whose last layer is `last`; its path without `.yaml`."""
    from ultralytics.nn.tasks import yaml_model_load

    architecture = yaml_model_load("yolo26n-p2.yaml")
    architecture["head"][-1][2:] = last
    path = folder / f"yolo26n-p2-{task}.yaml"
    path.write_text(yaml.safe_dump(architecture))
    return str(path.with_suffix(""))


@pytest.mark.parametrize(("kind", "first"), [("seg", 8), ("obb26", 4)])
def test_heads_of_four_strides_are_cut_too(export, tmp_path, kind, first):
    """P6 as Ultralytics has it, and P2, whose finest map is of stride 4."""
    name = p2(tmp_path, "obb", ["OBB26", ["nc", 1]]) if first == 4 else f"yolov8n-{kind}-p6"
    after, record = adapt(slim(export(name, width=128)[1]), SPLIT, [], seed=0)
    strides = tuple(first * 2**number for number in range(4))
    assert record["extra"] < 1e-5
    spec = output_spec_of(after)
    assert spec.family.strides == strides
    maps = [(role, stride, channels) for role, channels in ROLES[kind] for stride in strides]
    prototypes = [("prototypes", 4, 32)] if kind == "seg" else []
    assert [(each.role, each.stride, each.channels) for each in spec.extras] == maps + prototypes


def test_strides_that_do_not_follow_one_another_are_refused(export):
    """An output of strides 8, 16 and 64 is of nobody's."""
    graph = Graph(slim(export("yolov8n-pose")[1]))
    detector = find_detector(graph)
    *_, coarsest = (graph.shape(name) for name in detector.box_maps)
    with pytest.raises(UserError, match=r"consecutive strides, such as \(8, 16, 32\)"):
        replace(detector, box_maps=(*detector.box_maps[:1], *detector.box_maps[2:])).strides(graph)
    assert coarsest[2:] == (2, 3) and detector.strides(graph) == STRIDES


def test_boxes_and_scores_that_were_joined_before_are_found(export):
    """As Ultralytics exported until 8.3: what the task adds is joined with the two, joined already."""
    graph = Graph(slim(export("yolov8n-pose")[1]))
    joined = graph.producer(graph.output)
    boxes, scores, keypoints = joined.input
    inner = graph.add("Concat", [boxes, scores], "boxes_and_scores", before=joined, axis=1)
    del joined.input[:]
    joined.input.extend([inner, keypoints])
    graph.tidy()
    assert recognize(graph).spec.task == "pose"


def test_prototypes_may_come_first(export):
    model = slim(export("yolov8n-seg")[1])
    predictions, prototypes = model.graph.output
    model.graph.output.extend([prototypes, predictions])
    del model.graph.output[:2]
    form = recognize(Graph(model))
    assert form.spec.task == "segment" and form.names == (predictions.name, prototypes.name)


@pytest.mark.parametrize("kind", ["yolov8n", "yolov8n-seg", "yolov8n-pose", "yolo26n"])
def test_outputs_that_the_predictions_come_from_are_ignored(export, kind):
    """PyTorch's own exporter keeps all that Ultralytics' models return: maps and, for a task, what it adds."""
    model = slim(export(kind)[1])
    expected, _ = adapt(model, SPLIT, [], seed=0)
    graph = Graph(model)
    detector = find_detector(graph)
    passed = [*detector.box_maps, *filter(None, [detector.columns]), *detector.class_maps]
    infos = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, graph.shape(name)) for name in passed]
    outputs = [*infos[:2], *model.graph.output, *infos[2:]]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    after, _ = adapt(model, SPLIT, [], seed=0)
    assert [each.name for each in after.graph.output] == [each.name for each in expected.graph.output]
    assert output_spec_of(after) == output_spec_of(expected)


@pytest.mark.parametrize(
    ("kind", "task", "end2end"),
    [("yolo26n-pose", "pose", True), ("yolo26n-seg", "segment", False), ("yolov10n", "detect", True)],
)
def test_a_second_head_among_the_outputs_is_ignored(tmp_path, kind, task, end2end):
    """PyTorch's own exporter keeps the maps of both heads; the predictions come from either."""
    torch, ultralytics = pytest.importorskip("torch"), pytest.importorskip("ultralytics")
    network = ultralytics.YOLO(f"{kind}.yaml").model.eval()
    network.model[-1].end2end = end2end
    torch.onnx.export(network, torch.zeros(1, 3, 64, 64), str(tmp_path / "whole.onnx"), opset_version=17)
    whole, _ = fix_size(load(tmp_path / "whole.onnx"), None)
    assert len(whole.graph.output) > 10
    spec = recognize(Graph(simplify(whole, [], 0)[0])).spec
    assert (spec.task, spec.end2end) == (
        {"pose": "pose", "seg": "segment"}.get(kind.partition("-")[2], "detect"),
        end2end,
    )


def test_columns_that_no_task_has_are_refused_in_one_sentence(export):
    """Keypoints whose places are thrice v: no formula that anybody has published."""
    graph = Graph(slim(export("yolov8n-pose")[1]))
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
    with pytest.raises(UserError, match="51 numbers after the scores that are neither keypoints") as refused:
        recognize(graph)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("kind", "width", "sums"), [("seg", 96, False), ("seg", 96, True), ("seg-p6", 128, True)])
def test_segmenter_that_came_split_as_rockchip_exports_it(export, kind, width, sums):
    """Box map, scores, sum of scores?, coefficients of each stride; and the prototypes."""
    before, _ = adapt(slim(export(f"yolov8n-{kind}", width=width)[1]), SPLIT, [], seed=0)
    graph = Graph(before)
    del graph.model.metadata_props[:]
    shapes = {name: graph.shape(name) for name in graph.outputs}
    given = {}
    for stride in output_spec_of(before).family.strides:
        for role in ("box", "scores", "sum", "coefficients"):
            name = f"{role}_{stride}"
            if role == "sum" and sums:
                total = graph.add("ReduceSum", [f"scores_{stride}", np.array([1])], f"{name}/whole", keepdims=1)
                limits = [np.float32(0), np.float32(1)]
                shape = (1, 1, *shapes[f"box_{stride}"][2:])
                given[graph.add("Clip", [total, *map(np.array, limits)], name)] = shape
            elif role != "sum":
                given[name] = shapes[name]
    graph.set_outputs(given | {"prototypes_4": shapes["prototypes_4"]})
    graph.tidy()
    after, record = adapt(graph.model, SPLIT, [], seed=0)
    assert [each["pass"] for each in record["passes"]] == ["split_again"] and record["extra"] < 1e-5
    assert output_spec_of(after) == output_spec_of(before)


@pytest.mark.parametrize("maker", ["yolov8n", "yolo26n"])
@pytest.mark.parametrize("suffix", ["pose", "seg", "obb"])
def test_cut_maps_predict_the_same(export, maker, suffix):
    """The proof is the pipeline's; here that it is not of constants, and that nothing but maps is left."""
    after, record = adapt(slim(export(f"{maker}-{suffix}")[1]), SPLIT, [], seed=0)
    assert record["extra"] < 1e-5
    names = [f"{role}_{stride}" for stride in STRIDES for role in ("box", "scores")]
    kind = "obb26" if (maker, suffix) == ("yolo26n", "obb") else suffix
    names += [f"{role}_{stride}" for role, stride, _ in extras(kind)]
    assert [each.name for each in after.graph.output] == names
    assert not {node.op_type for node in after.graph.node} & {"Sin", "Cos", "TopK", "GatherElements"}


def through_all_steps(path) -> tuple[str, list[str], dict]:
    """What an export becomes: its task, the sentences of its preparation, and the proof of its split head."""
    fixed, _ = fix_size(load(path), None)
    prepared, notes = prepare(fixed, [], seed=0)
    simplified, _ = simplify(prepared, [], seed=0)
    after, record = adapt(simplified, SPLIT, [], seed=0)
    return output_spec_of(after).task, notes, record


@pytest.mark.parametrize(("kind", "task"), [("pose", "pose"), ("seg", "segment")])
def test_nms_behind_a_task_is_cut_off(export, kind, task):
    """Rows of box, score, class and what the task adds; prototypes are an output of their own."""
    path, _ = export(f"yolov8n-{kind}", opset=17, nms=True, conf=1e-4)
    found, [note], record = through_all_steps(path)
    assert found == task and record["extra"] < 1e-5
    rows = int(re.search(r"all (\d+) rows in its output are among the predictions", note)[1])
    assert rows > 1


def test_nms_of_rotated_boxes_does_not_pass_for_a_choice_of_the_best(export):
    """It is a matrix of overlaps and a TopK, without the operator for NMS; as a one-to-one head it would get no NMS."""
    with pytest.raises(UserError, match="the model contains NMS, which the NPU cannot run; export it without NMS"):
        recognize(Graph(slim(export("yolov8n-obb", opset=17, nms=True)[1])))


def test_half_precision_with_casts_at_its_ends(export):
    """Ultralytics' `half=True`: float32 in and out, and nodes that are not in the order of computation."""
    task, _, record = through_all_steps(export("yolov8n-seg", opset=17, half=True)[0])
    assert task == "segment" and record["passes"][0]["pass"] == "float32_weights"
    assert 0 < record["extra"] < 0.1


def test_single_is_refused(export):
    with pytest.raises(UserError, match="a model for 'pose' cannot have the head 'single'; it can have split"):
        adapt(slim(export("yolov8n-pose")[1]), SINGLE, [], seed=0)
