"""A rewritten graph computes what the graph before it did, or nothing is written."""

import cv2
import numpy as np
import onnx
import pytest
from conftest import picture
from onnx import helper

from lib.errors import UserError
from lib.head import EXPORTED, SINGLE, SPLIT, decode
from lib.imgsz import ImageSize
from lib.letterbox import letterbox
from lib.onnx_session import infer, open_session, to_tensor
from lib.surgery import PASSES, adapt, normalize_boxes
from lib.surgery.detector import find_detector
from lib.surgery.graph import Graph
from lib.surgery.proof import input_size, prove

SIZE = ImageSize(96, 64)
PICTURES = [letterbox(picture(seed), SIZE)[0] for seed in range(3)]


def output_shapes(model):
    return [tuple(d.dim_value for d in each.type.tensor_type.shape.dim) for each in model.graph.output]


def test_input_size_is_width_by_height(exported):
    assert input_size(exported[1]) == SIZE


def test_single_is_one_4d_output_in_0_to_1(exported):
    after = adapt(exported[1], SINGLE)
    assert output_shapes(after) == [(1, 8, 126, 1)]
    [output] = infer(open_session(after.SerializeToString()), to_tensor(PICTURES[0]))
    # A box may leave the picture a little, by at most 15.5 strides of 32 pixels to each side.
    assert np.abs(output).max() < 12
    assert 0 <= output[0, 4:].min() < output[0, 4:].max() <= 1
    difference = prove(exported[1], after, SINGLE, PICTURES, seed=0)
    assert difference["inputs"] == 4
    assert difference["box_px"] < 1e-3 and difference["score"] < 1e-6


def test_split_is_six_maps_with_scores_after_one_sigmoid(exported):
    after = adapt(exported[1], SPLIT)
    maps = [shape for h, w in ((8, 12), (4, 6), (2, 3)) for shape in ((1, 64, h, w), (1, 4, h, w))]
    assert output_shapes(after) == maps
    assert [each.name for each in after.graph.output] == [
        "box_8", "scores_8", "box_16", "scores_16", "box_32", "scores_32",
    ]  # fmt: skip
    scores = infer(open_session(after.SerializeToString()), to_tensor(PICTURES[0]))[1::2]
    assert all(each.min() >= 0 and each.max() <= 1 for each in scores)
    # Nothing of the decoding is left on the NPU.
    assert not {"Softmax", "Transpose", "Reshape"} & {node.op_type for node in after.graph.node}
    prove(exported[1], after, SPLIT, PICTURES, seed=0)


def test_the_strides_factor_takes_the_division(exported):
    before, after = (
        sum(n.op_type in ("Mul", "Div") for n in m.graph.node) for m in (exported[1], adapt(exported[1], SINGLE))
    )
    assert after <= before


def test_the_model_given_is_left_alone(exported):
    before = exported[1].SerializeToString()
    for head in PASSES:
        adapt(exported[1], head)
    assert exported[1].SerializeToString() == before


def without_sigmoid(model):
    """The exported model with the sigmoid on its class scores taken out."""
    graph = Graph(model)
    scores = graph.producer(find_detector(graph).scores)
    assert scores.op_type == "Sigmoid"
    concat = graph.producer(graph.output)
    concat.input[1] = scores.input[0]
    graph.tidy()
    return graph.model


@pytest.mark.parametrize("head", [SINGLE, SPLIT])
def test_missing_sigmoid_is_added(exported, head):
    after = adapt(without_sigmoid(exported[1]), head)
    difference = prove(exported[1], after, head, PICTURES, seed=0)
    assert difference["score"] < 1e-6


@pytest.mark.parametrize("head", [SINGLE, SPLIT])
def test_doubled_sigmoid_is_refused(exported, head):
    graph = Graph(exported[1])
    detector = find_detector(graph)
    concat = graph.producer(graph.output)
    concat.input[1] = graph.add("Sigmoid", [detector.scores], "again", before=concat)
    with pytest.raises(UserError, match="2 sigmoids"):
        adapt(graph.model, head)


def leave_out(graph, detector):
    """Boxes stay in pixels."""


def swap_width_and_height(graph, detector):
    concat = graph.producer(graph.output)
    size = np.array([64, 96, 64, 96], np.float32).reshape(1, 4, 1)
    concat.input[0] = graph.add("Div", [detector.boxes, size], "swapped", before=concat)


def shift_by_one_anchor_point(graph, detector):
    normalize_boxes_as_it_is(graph, detector)
    concat = graph.producer(graph.output)
    order = np.roll(np.arange(126), 1)
    concat.input[0] = graph.add("Gather", [concat.input[0], order], "shifted", before=concat, axis=2)


normalize_boxes_as_it_is = normalize_boxes.rewrite


@pytest.mark.parametrize("wrong", [leave_out, swap_width_and_height, shift_by_one_anchor_point])
def test_planted_wrong_pass_is_caught(exported, monkeypatch, wrong):
    monkeypatch.setattr(normalize_boxes, "rewrite", wrong)
    after = adapt(exported[1], SINGLE)
    with pytest.raises(UserError, match="computes something else: boxes differ by up to"):
        prove(exported[1], after, SINGLE, PICTURES, seed=0)


def test_step_writes_nothing_when_the_graphs_differ(step, exported, tmp_path, monkeypatch):
    """The same through the command, with the tolerance as the planted fault."""
    import graph_surgery
    import lib.surgery.proof

    for number, each in enumerate(PICTURES):
        cv2.imwrite(str(tmp_path / f"{number}.png"), each)
    arguments = ["--model", exported[0], "--head", "split", "--images", tmp_path, "--output", tmp_path / "o.onnx",
                 "--proof", tmp_path / "o.json"]  # fmt: skip
    monkeypatch.setattr(lib.surgery.proof, "BOX_TOLERANCE_PX", -1.0)
    with pytest.raises(UserError, match="nothing was written"):
        graph_surgery.main(list(map(str, arguments)))
    assert not (tmp_path / "o.onnx").exists() and not (tmp_path / "o.json").exists()
    assert step("graph_surgery", *arguments).returncode == 0
    assert (tmp_path / "o.onnx").exists() and (tmp_path / "o.json").exists()


def test_opset_below_13_is_refused(exported):
    old = onnx.ModelProto()
    old.CopyFrom(exported[1])
    old.opset_import[0].version = 12
    with pytest.raises(UserError, match=r"opset 12.*13 or above"):
        adapt(old, SINGLE)


def test_other_networks_are_refused_in_one_sentence():
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, 64, 96]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    with pytest.raises(UserError, match=r"no Concat of boxes and scores \(found: Relu of 1\)"):
        adapt(other, SINGLE)


def test_damaged_onnx_is_one_sentence(step, exported, tmp_path):
    (tmp_path / "m.onnx").write_bytes(exported[0].read_bytes()[:5000])
    done = step("graph_surgery", "--model", tmp_path / "m.onnx", "--head", "single", "--images", tmp_path,
                "--output", tmp_path / "o.onnx", "--proof", tmp_path / "o.json")  # fmt: skip
    assert done.returncode == 2
    assert "no valid ONNX" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "o.onnx").exists()


def test_exported_decode_needs_no_transform(exported):
    outputs = infer(open_session(exported[1].SerializeToString()), to_tensor(PICTURES[0]))
    assert decode(outputs, EXPORTED, SIZE).shape == (126, 8)
