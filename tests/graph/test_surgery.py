"""A rewritten graph predicts what the graph before it did, or nothing is written."""

from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from conftest import image, slim
from onnx import TensorProto, helper, numpy_helper

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.families.dfl import Dfl
from lib.detector.head import EXPORTED, HEADS, SINGLE, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import output_spec_of
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.graph import Graph, input_size
from lib.graph.surgery.passes import limit_boxes, single_output, split_outputs, upsample
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.proof import PROVEN, ImageFiles, Tolerance, prove_same_outputs
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)
IMAGES = [letterbox(image(seed), SIZE)[0] for seed in range(3)]


def output_shapes(model):
    return [tuple(d.dim_value for d in each.type.tensor_type.shape.dim) for each in model.graph.output]


def adapted(model, head, images=IMAGES):
    """The model after surgery, held against the original once more, from outside of the surgery's own proof."""
    after, record = adapt(model, head, images, seed=0)
    assert [each["pass"] for each in record["passes"]], "no pass ran"
    return after, record


def same_predictions(before, after, head, size=SIZE, tolerance=1e-5, limited=True):
    """Both graphs, run by onnxruntime on a image, decoded: the largest differences are rounding."""
    tensor = to_tensor(letterbox(image(7), size)[0])
    [exported], outputs = (infer(open_session(model.SerializeToString()), tensor) for model in (before, after))
    expected = OutputSpec(size, EXPORTED, Dfl(), exported.shape[1] - 4).predictions([exported])
    spec = output_spec_of(after)
    assert (spec.head, spec.imgsz, spec.family, spec.end2end) == (head, size, Dfl(), False)
    found = spec.predictions(outputs)
    # Not a comparison of constants with constants: the predictions differ from anchor point to anchor point.
    assert expected.std(axis=0).min() > 1e-4
    if limited and head == SINGLE:
        expected[:, :4] = np.clip(expected[:, :4], 0, [*size, *size])
    assert np.abs(expected[:, :4] - found[:, :4]).max() < tolerance * max(size)
    assert np.abs(expected[:, 4:] - found[:, 4:]).max() < tolerance


def passes(record):
    return [each["pass"] for each in record["passes"]]


def test_only_the_images_that_are_needed_are_read(export):
    read = []

    def drawn(number):
        read.append(number)
        return letterbox(image(number), SIZE)[0]

    files = ImageFiles(list(range(50)), drawn)
    adapt(slim(export()[1]), SPLIT, files, seed=0)
    assert sorted(set(read)) == list(range(PROVEN))
    assert (len(files), len(files[:7]), bool(files[:0])) == (50, 7, False)
    assert [each.shape for each in files[48:]] == [(64, 96, 3)] * 2


def test_input_size_is_width_by_height(exported):
    assert input_size(exported[1]) == SIZE


def test_single_is_one_4d_output_in_0_to_1(exported):
    after, record = adapted(exported[1], SINGLE)
    assert output_shapes(after) == [(1, 8, 126, 1)]
    [output] = infer(open_session(after.SerializeToString()), to_tensor(IMAGES[0]))
    assert output.min() >= 0 and output.max() <= 1
    assert output[0, 4:].min() < output[0, 4:].max()
    assert record["inputs"] == 4
    assert record["box_px"] < 1e-3 and record["score"] < 1e-6
    same_predictions(exported[1], after, SINGLE)


def test_boxes_beyond_the_image_are_decoded_rightly_before_they_are_limited(exported, monkeypatch):
    monkeypatch.setattr(limit_boxes, "PASS", replace(limit_boxes.PASS, needed=lambda graph, form: False))
    after, _ = adapted(exported[1], SINGLE)
    [output] = infer(open_session(after.SerializeToString()), to_tensor(IMAGES[0]))
    assert output[0, 2:4].min() > 1
    same_predictions(exported[1], after, SINGLE, limited=False)


def test_split_is_six_maps_with_scores_after_one_sigmoid(exported):
    after, _ = adapted(exported[1], SPLIT)
    maps = [shape for h, w in ((8, 12), (4, 6), (2, 3)) for shape in ((1, 64, h, w), (1, 4, h, w))]
    assert output_shapes(after) == maps
    assert [each.name for each in after.graph.output] == [
        "box_8", "scores_8", "box_16", "scores_16", "box_32", "scores_32",
    ]  # fmt: skip
    scores = infer(open_session(after.SerializeToString()), to_tensor(IMAGES[0]))[1::2]
    assert all(each.min() >= 0 and each.max() <= 1 for each in scores)
    # Nothing of the decoding is left on the NPU.
    assert not {"Softmax", "Transpose", "Reshape"} & {node.op_type for node in after.graph.node}
    same_predictions(exported[1], after, SPLIT)


# Opsets and families: every form that Ultralytics exports.


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("opset", [11, 12, 13, 15, 17, 20])
@pytest.mark.parametrize("simplified", [True, False])
def test_every_opset(export, opset, head, simplified):
    model = export(opset=opset)[1]
    after, record = adapted(slim(model) if simplified else model, head)
    same_predictions(model, after, head)
    assert ("raise_opset" in passes(record)) == (opset < 13)
    # The newest that the toolkit reads.
    assert after.opset_import[0].version <= 19
    assert "Transpose" not in {node.op_type for node in after.graph.node}


def test_upsampling_by_places_becomes_a_resize(exported):
    """torch 2.4's dynamo exporter writes it so."""
    graph = Graph(exported[1])
    resizes = [node for node in graph.model.graph.node if node.op_type == "Resize"]
    for node in resizes:
        [output], (height, width) = node.output, graph.shape(node.input[0])[2:]
        places = np.stack(np.indices((2 * height, 2 * width)), axis=-1) // 2
        first = graph.add("Transpose", [node.input[0]], f"{output}/first", before=node, perm=[2, 3, 0, 1])
        picked = graph.add("GatherND", [first, places], f"{output}/picked", before=node)
        graph.add("Transpose", [picked], output, before=node, perm=[2, 3, 0, 1])
        graph.model.graph.node.remove(node)
    graph.tidy()
    after, record = adapted(graph.model, SPLIT)
    assert len(resizes) == sum(node.op_type == "Resize" for node in after.graph.node) == 2
    assert "upsample" in passes(record) and "GatherND" not in {node.op_type for node in after.graph.node}
    same_predictions(exported[1], after, SPLIT)
    for tensor in graph.model.graph.initializer:
        if tensor.name.endswith("picked/GatherND_1"):  # the same places, upside down
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1], tensor.name))
    assert not upsample.needed(graph, None)


@pytest.mark.parametrize(
    ("architecture", "classes"), [("yolov8s", 80), ("yolov5n", 1), ("yolo11n", 1), ("yolo11n", 80)]
)
def test_families_and_numbers_of_classes(export, architecture, classes):
    model = export(architecture, classes, opset=12 if classes == 1 else 19)[1]
    for head in HEADS:
        after, _ = adapted(slim(model), head)
        same_predictions(model, after, head)
        assert output_shapes(after)[-1][1] == (4 + classes if head == SINGLE else classes)


def test_416x256(export):
    size = ImageSize(416, 256)
    model = export(width=416, height=256, opset=12)[1]
    for head in HEADS:
        after, _ = adapted(model, head, [letterbox(image(1), size)[0]])
        same_predictions(model, after, head, size)


# Forms that others make of it.


def without_sigmoid(model):
    """The exported model with the sigmoid on its class scores taken out."""
    graph = Graph(model)
    scores = graph.producer(find_detector(graph).scores)
    assert scores.op_type == "Sigmoid"
    graph.bypass(scores)
    graph.tidy()
    return graph.model


def sigmoid_a_stride(model):
    """The sigmoid moved from behind the Concat of the strides to the feature maps."""
    graph = Graph(without_sigmoid(model))
    for place, name in enumerate(find_detector(graph).class_maps):
        [reader] = graph.consumers(name)
        reader.input[0] = graph.add("Sigmoid", [name], f"probability_{place}", before=reader)
    graph.tidy()
    return graph.model


def transposed(model):
    """With output [1, N, 4+C]."""
    graph = Graph(model)
    shape = graph.shape(graph.output)
    flat = graph.rename("output0", "flat")
    graph.add("Transpose", [flat], "output0", perm=[0, 2, 1])
    graph.set_outputs({"output0": (shape[0], shape[2], shape[1])})
    return graph.model


def sort_nodes(graph):
    """Bring nodes into an order in which they can run."""
    known = {"", *(each.name for each in (*graph.input, *graph.initializer))}
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        ordered += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)


def one_concat_then_split(model):
    """As Ultralytics exported until 8.3: boxes and classes of a stride joined, then the strides, then split again."""
    graph = Graph(model)
    detector = find_detector(graph)
    [softmax] = [node for node in graph.model.graph.node if node.op_type == "Softmax"]
    bins = graph.producer(graph.producer(softmax.input[0]).input[0]).input[0]
    logits = graph.producer(detector.scores).input[0]
    first = graph.producer(bins)
    strides = []
    for place, pair in enumerate(zip(detector.box_maps, detector.class_maps)):
        both = graph.add("Concat", list(pair), f"stride_{place}", before=first, axis=1)
        shape = np.array([1, 68, -1], np.int64)
        strides.append(graph.add("Reshape", [both, shape], f"flat_{place}", before=first))
    joined = graph.add("Concat", strides, "strides", before=first, axis=2)
    at = list(graph.model.graph.node).index(first)
    sizes = numpy_helper.from_array(np.array([64, 4], np.int64), "sizes")
    graph.model.graph.initializer.append(sizes)
    graph.model.graph.node.insert(at, helper.make_node("Split", [joined, "sizes"], ["boxes", "classes"], axis=1))
    for old, new in ((bins, "boxes"), (logits, "classes")):
        for reader in graph.consumers(old):
            reader.input[0] = new
    sort_nodes(graph.model.graph)
    graph.tidy()
    return graph.model


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("form", [without_sigmoid, sigmoid_a_stride, transposed, one_concat_then_split])
def test_other_forms(exported, form, head):
    model = form(exported[1])
    after, record = adapted(model, head)
    same_predictions(exported[1], after, head)
    assert ("one_sigmoid" in passes(record)) == (form is without_sigmoid)
    assert len(output_shapes(after)) == (1 if head == SINGLE else 6)


def half(model):
    """All weights and tensors in half precision, as exported with half=True."""
    narrow = onnx.ModelProto()
    narrow.CopyFrom(model)
    for each in narrow.graph.initializer:
        if each.data_type == TensorProto.FLOAT:
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each).astype(np.float16), each.name))
    for node in narrow.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                array = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(array))
    # The scales of Resize are float32 in either precision.
    scales = {node.input[2] for node in narrow.graph.node if node.op_type == "Resize"}
    for node in narrow.graph.node:
        if node.op_type == "Constant" and node.output[0] in scales:
            [value] = node.attribute
            value.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(value.t).astype(np.float32)))
    for each in (*narrow.graph.input, *narrow.graph.output):
        each.type.tensor_type.elem_type = TensorProto.FLOAT16
    del narrow.graph.value_info[:]
    return narrow


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_is_widened(exported, head):
    after, record = adapted(half(exported[1]), head)
    assert passes(record)[0] == "float32_weights"
    assert TensorProto.FLOAT16 not in {each.data_type for each in after.graph.initializer}
    # Each weight was rounded to 11 bits: near to the original, and not the original.
    same_predictions(exported[1], after, head, tolerance=0.02)
    assert 0 < record["box_px"] < 1


def test_dynamic_model_takes_the_size_given(export):
    _, model = export(opset=17, dynamic=True)
    size = ImageSize(160, 96)
    with pytest.raises(UserError, match="dynamic; choose one with --size"):
        fix_size(model, None)
    fixed, found = fix_size(model, size)
    assert found == size
    for head in HEADS:
        after, _ = adapted(slim(fixed), head, [letterbox(image(1), size)[0]])
        same_predictions(model, after, head, size)


def test_fixed_size_cannot_be_changed(exported):
    assert fix_size(exported[1], None)[1] == SIZE
    with pytest.raises(UserError, match="fixed at 96x64; for 320 export it again"):
        fix_size(exported[1], ImageSize(320, 320))


@pytest.mark.parametrize("head", HEADS)
def test_adapted_models_are_left_alone(exported, head):
    once, _ = adapted(exported[1], head)
    twice, record = adapt(once, head, IMAGES, seed=0)
    assert twice == once and record["passes"] == []
    other = SPLIT if head == SINGLE else SINGLE
    with pytest.raises(UserError, match=f"already went through surgery for the head '{head}'"):
        adapt(once, other, IMAGES, seed=0)


def split_elsewhere(model, sigmoid, sums):
    """Split as others split it: stride 32 first, class map before box map, other names, perhaps sums of scores."""
    graph = Graph(model)
    detector = find_detector(graph)
    outputs = {}
    for place, (box, classes) in enumerate(reversed(list(zip(detector.box_maps, detector.class_maps)))):
        shape = graph.shape(classes)
        scores = graph.add("Sigmoid" if sigmoid else "Identity", [classes], f"cls{place}")
        outputs[scores] = shape
        outputs[graph.add("Identity", [box], f"reg{place}")] = graph.shape(box)
        if sums:
            total = graph.add("ReduceSum", [scores, np.array([1], np.int64)], f"total{place}", keepdims=1)
            low, high = np.array(0, np.float32), np.array(1, np.float32)
            outputs[graph.add("Clip", [total, low, high], f"sum{place}")] = (1, 1, *shape[2:])
    graph.set_outputs(outputs)
    graph.tidy()
    return slim(graph.model)


@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("sums", [True, False])
def test_model_that_came_split(exported, sigmoid, sums):
    model = split_elsewhere(exported[1], sigmoid, sums)
    after, record = adapted(model, SPLIT)
    assert passes(record) == ["split_again"]
    assert len(output_shapes(after)) == 6
    same_predictions(exported[1], after, SPLIT)
    after, record = adapted(model, SINGLE)
    assert passes(record) == ["split_again", "single_output", "limit_boxes"]
    assert output_shapes(after) == [(1, 8, 126, 1)]
    same_predictions(exported[1], after, SINGLE)


# What is refused.


@pytest.mark.parametrize("head", HEADS)
def test_doubled_sigmoid_is_refused(exported, head):
    graph = Graph(exported[1])
    detector = find_detector(graph)
    concat = graph.producer(graph.output)
    concat.input[1] = graph.add("Sigmoid", [detector.scores], "again", before=concat)
    with pytest.raises(UserError, match="2 sigmoids"):
        adapt(graph.model, head, IMAGES, seed=0)


@pytest.mark.parametrize("head", HEADS)
def test_boxes_as_corners_are_refused(exported, head):
    graph = Graph(exported[1])
    boxes, concat = find_detector(graph).boxes, graph.producer("output0")
    corners = np.array([[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]], np.float32)
    concat.input[0] = graph.add("MatMul", [corners, boxes], "corners", before=concat)
    graph.tidy()
    with pytest.raises(UserError, match="after pass split_outputs the graph computes something else: boxes differ"):
        adapt(graph.model, head, IMAGES, seed=0)


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        ("yolov8n-cls", "as classifiers have"),
        ("yolo26n-cls", "as classifiers have"),
    ],
)
def test_other_networks_are_refused_in_one_sentence(export, architecture, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        adapt(slim(export(architecture)[1]), SPLIT, IMAGES, seed=0)
    assert "\n" not in str(refused.value)


def test_two_strides_are_as_good_as_three(export):
    after, _ = adapt(slim(export("yolov3-tiny")[1]), SPLIT, IMAGES, seed=0)
    assert output_spec_of(after).family.strides == (16, 32)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((1, 25200, 85), "as YOLOv5 with anchors"), ((1, 300, 6), r"not a Concat of boxes and scores")],
)
def test_heads_of_other_kinds_are_named(shape, sentence):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 96])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    value = numpy_helper.from_array(np.zeros(shape, np.float32))
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["z"], keepdims=0),
        helper.make_node("Constant", [], ["k"], value=value),
        helper.make_node("Add", ["k", "z"], ["y"]),
    ]
    opset = [helper.make_opsetid("", 17)]
    other = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opset, ir_version=8)
    with pytest.raises(UserError, match=sentence):
        adapt(other, SINGLE, IMAGES, seed=0)


def test_opset_below_11_is_refused(export):
    old = onnx.ModelProto()
    old.CopyFrom(export(opset=11)[1])
    old.opset_import[0].version = 10
    with pytest.raises(UserError, match="opset 10; export it with 11 or above"):
        adapt(old, SINGLE, IMAGES, seed=0)


# The proof.


def swap_centre_and_size(monkeypatch):
    monkeypatch.setattr(single_output, "BOX_OF_SIDES", single_output.BOX_OF_SIDES[[2, 3, 0, 1]])


def leave_out_a_side(monkeypatch):
    monkeypatch.setattr(single_output, "BOX_OF_SIDES", single_output.BOX_OF_SIDES * [1, 1, 1, 0])


def shift_by_one_anchor_point(monkeypatch):
    cells = single_output._cells
    monkeypatch.setattr(single_output, "_cells", lambda *args: np.roll(cells(*args), 1, axis=3))


def forget_the_offset(monkeypatch):
    cells = single_output._cells

    def without(stride, size, constant, family):
        return cells(stride, size, 0 * constant, family)

    monkeypatch.setattr(single_output, "_cells", without)


def round_the_offset(monkeypatch):
    monkeypatch.setattr(single_output, "exact_offset", lambda bins: (4.4, 12))


@pytest.mark.parametrize(
    "wrong", [swap_centre_and_size, leave_out_a_side, shift_by_one_anchor_point, forget_the_offset, round_the_offset]
)
def test_planted_wrong_pass_is_caught(exported, monkeypatch, wrong):
    wrong(monkeypatch)
    with pytest.raises(UserError, match="after pass single_output the graph computes something else: boxes differ"):
        adapt(exported[1], SINGLE, IMAGES, seed=0)


def test_weights_of_the_dfl_are_whole_in_int8(exported):
    """The toolkit divides a channel's weights by their largest and multiplies by 127: no weight may be rounded then."""
    graph = Graph(adapted(exported[1], SINGLE)[0])
    convolutions = [node for node in graph.model.graph.node if node.op_type == "Conv" and "decoded" in node.output[0]]
    assert len(convolutions) == 3
    for node in convolutions:
        weight = graph.constant(node.input[1])[:4].reshape(4, 64)
        steps = weight / np.abs(weight).max(axis=1, keepdims=True) * 127
        assert np.abs(steps - np.rint(steps)).max() < 1e-3
        # They differ from bin to bin by the same step, so they are the DFL's and no others.
        assert (np.diff(np.rint(steps[2:]).reshape(2, 4, 16)[:, [0, 2], :], axis=2) >= 0).all()


@pytest.mark.parametrize("bins", [8, 16, 32])
def test_offset_of_the_bins(bins):
    offset, steps = single_output.exact_offset(bins)
    numbers = steps * (np.arange(bins) - offset)
    assert np.abs(numbers - np.rint(numbers)).max() < 1e-6
    assert np.abs(numbers).max() == pytest.approx(127)
    assert 0.2 * bins < offset < 0.4 * bins


def test_the_model_given_is_left_alone(exported):
    before = exported[1].SerializeToString()
    for head in HEADS:
        adapted(exported[1], head)
    assert exported[1].SerializeToString() == before


def test_weights_that_are_no_numbers_are_refused(exported):
    broken = onnx.ModelProto()
    broken.CopyFrom(exported[1])
    weights = next(each for each in broken.graph.initializer if len(each.dims) == 4)
    array = numpy_helper.to_array(weights).copy()
    array.flat[0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(array, weights.name))
    with pytest.raises(UserError, match="some of the model's outputs are not finite; its weights are damaged"):
        adapt(broken, SPLIT, IMAGES, seed=0)


def test_step_writes_nothing_when_the_graphs_differ(step, exported, tmp_path, monkeypatch):
    """The same through the command, with the tolerance as the planted fault."""
    import graph_surgery

    for number, each in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / f"{number}.png"), each)
    arguments = ["--onnx", exported[0], "--head", "split", "--images", tmp_path, "--output", tmp_path / "o.onnx",
                 "--proof", tmp_path / "o.json"]  # fmt: skip
    monkeypatch.setattr(split_outputs, "PASS", replace(split_outputs.PASS, tolerance=Tolerance(-1.0, -1.0)))
    with pytest.raises(UserError, match="nothing was written"):
        graph_surgery.main(list(map(str, arguments)))
    assert not (tmp_path / "o.onnx").exists() and not (tmp_path / "o.json").exists()
    assert step("graph_surgery", *arguments).returncode == 0
    assert (tmp_path / "o.onnx").exists() and (tmp_path / "o.json").exists()


def test_damaged_onnx_is_one_sentence(step, exported, tmp_path):
    (tmp_path / "m.onnx").write_bytes(exported[0].read_bytes()[:5000])
    done = step("graph_surgery", "--onnx", tmp_path / "m.onnx", "--head", "single", "--images", tmp_path,
                "--output", tmp_path / "o.onnx", "--proof", tmp_path / "o.json")  # fmt: skip
    assert done.returncode == 2
    assert "not a valid ONNX" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "o.onnx").exists()


def test_inspect_tells_what_would_be_done(step, export, tmp_path):
    done = step("inspect_onnx", export(opset=12)[0])
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["opset"].startswith("12,") and lines["classes"] == "4" and lines["family"].startswith("dfl")
    assert lines["sigmoid"] == "1 on the class scores"
    assert lines["single"] == "raise_opset → split_outputs → outlier_channels → single_output → limit_boxes"
    assert lines["split"] == "raise_opset → split_outputs → outlier_channels"

    refused = step("inspect_onnx", export("yolov8n-cls")[0])
    assert refused.returncode == 2
    assert "as classifiers have" in refused.stderr and "Traceback" not in refused.stderr
    assert "opset" in refused.stdout

    onnx.save(adapted(export(opset=12)[1], SPLIT)[0], tmp_path / "adapted.onnx")
    assert "already done" in step("inspect_onnx", tmp_path / "adapted.onnx", "--size", "96x64").stdout
    other = step("inspect_onnx", tmp_path / "adapted.onnx", "--size", "128")
    assert other.returncode == 2 and "fixed at 96x64" in other.stderr


def test_images_of_another_size_are_one_sentence(exported):
    wrong = [*IMAGES, letterbox(image(0), ImageSize(64, 64))[0]]
    _, model = exported
    after, _ = adapted(model, SPLIT)
    for attempt in (lambda: adapt(model, SPLIT, wrong, seed=0), lambda: adapt(after, SPLIT, wrong, seed=0),
                    lambda: prove_same_outputs(model, model, wrong, seed=0)):  # fmt: skip
        with pytest.raises(
            UserError, match=r"^the model takes images of 96x64, .* are 64x64; letterbox them to 96x64$"
        ):
            attempt()
