"""How high a score each stride of an INT8 model can report, and what is said where that is low."""

import pytest

from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.npu.highest_scores import highest_scores, score_lines
from lib.npu.rknn_file import read_rknn, read_scales
from lib.step.errors import UserError


def test_the_highest_score_of_a_stride_is_where_its_scale_ends(quantized, split_onnx):
    rknn = quantized / "model.rknn"
    outputs = {output.name: output for output in read_rknn(rknn).outputs}
    highest = highest_scores(rknn, output_spec_of(load(split_onnx)))
    assert list(highest) == [8, 16, 32]
    for stride, most in highest.items():
        output = outputs[f"scores_{stride}"]
        assert most == pytest.approx(min(1.0, (127 - output.zero_point) * output.scale))
        assert read_scales(rknn)[output.name] == (output.scale, output.zero_point)


def test_a_file_that_is_no_rknn_has_no_scales(tmp_path):
    path = tmp_path / "model.rknn"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"is no \.rknn"):
        read_scales(path)


def test_what_is_said_of_the_highest_scores():
    assert score_lines({}) == []
    assert score_lines({8: 0.95, 16: 1.0}) == ["scores     at most 0.95 at stride 8, 1.00 at stride 16"]
    first, low, nothing = score_lines({8: 0.671, 16: 0.92, 32: 0.2})
    assert first == "scores     at most 0.67 at stride 8, 0.92 at stride 16, 0.20 at stride 32"
    assert low.startswith("WARNING: stride 8 reports no score above 0.67")
    assert nothing == "WARNING: stride 32 saw no object in the calibration images; its scale is a guess"
