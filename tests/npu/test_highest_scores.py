"""How high a score each stride of an INT8 model can report, how high its calibration images went, and what is said."""

import onnx
import pytest
from onnx import helper

from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.npu.highest_scores import highest_scores, score_lines
from lib.npu.rknn_file import read_rknn, read_scales
from lib.npu.score_ranges import surest_scores, with_whole_scores
from lib.npu.twin.structure import Structure
from lib.step.errors import UserError


def test_the_highest_score_of_a_stride_is_where_its_scale_ends(quantized, split_onnx):
    rknn = quantized / "model.rknn"
    outputs = {output.name: output for output in read_rknn(rknn).outputs}
    highest = highest_scores(rknn, output_spec_of(load(split_onnx)))
    assert list(highest) == [8, 16, 32]
    for stride, most in highest.items():
        output = outputs[f"scores_{stride}"]
        assert most == pytest.approx(min(1.0, (127 - output.zero_point) * output.scale))
        assert (output.scale, output.zero_point) == (pytest.approx(1 / 255), -128)  # whatever calibration saw
        assert read_scales(rknn)[output.name] == (output.scale, output.zero_point)


def test_a_file_that_is_no_rknn_has_no_scales(tmp_path):
    path = tmp_path / "model.rknn"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"is not a \.rknn"):
        read_scales(path)


def test_scores_and_their_copies_reach_1_and_the_rest_stays(split_onnx):
    """A score that is shaped and joined anew in the head `single`, and a box map that is not."""
    nodes = [
        helper.make_node("Sigmoid", ["logits"], ["scores_8"]),
        helper.make_node("Reshape", ["scores_8", "shape"], ["flat"]),
        helper.make_node("Concat", ["box_8", "flat"], ["predictions"], axis=1),
        helper.make_node("Mul", ["box_8", "flat"], ["product"]),
        helper.make_node("Sigmoid", ["other"], ["scores_16_int8"]),
        helper.make_node("exDataConvert", ["scores_16_int8"], ["scores_16"]),
    ]
    inputs = [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, None)]
    structure = Structure(helper.make_model(helper.make_graph(nodes, "small", inputs, [])), {})
    ranges = {"logits": (-7.0, -1.4), "scores_8": (0.0, 0.5), "flat": (0.0, 0.5), "box_8": (-0.5, 0.9),
              "predictions": (-0.5, 1.2), "product": (-0.1, 0.3), "other": (-9.0, 0.0),
              "scores_16_int8": (0.0, 0.5)}  # fmt: skip
    spec = output_spec_of(load(split_onnx))
    whole = with_whole_scores(structure, ranges, spec)
    assert whole == ranges | {"scores_8": (0.0, 1.0), "flat": (0.0, 1.0), "scores_16_int8": (0.0, 1.0)}
    assert surest_scores(structure, whole, spec) == {8: pytest.approx(0.198, abs=1e-3), 16: 0.5}


def test_what_is_said_of_the_highest_scores():
    assert score_lines({}, {}) == []
    assert score_lines({8: 0.95, 16: 1.0}, {8: 0.9, 16: 0.3}) == [
        "scores     at most 0.95 at stride 8, 1.00 at stride 16"
    ]
    first, low, nothing = score_lines({8: 0.671, 16: 0.92, 32: 1.0}, {8: 0.8, 16: 0.9, 32: 0.2})
    assert first == "scores     at most 0.67 at stride 8, 0.92 at stride 16, 1.00 at stride 32"
    assert low.startswith("WARNING: stride 8 reports no score above 0.67")
    assert nothing.startswith("unseen     stride 32 detected nothing in the calibration images")
    assert len(score_lines({8: 1.0, 16: 1.0, 32: 1.0}, {8: 0.8, 16: 0.1, 32: 0.2})) == 2
