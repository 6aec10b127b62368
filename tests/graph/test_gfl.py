"""GFL heads as NanoDet, NanoDet-Plus and PicoDet export them: whatever the layout, found, cut, decoded rightly."""

import numpy as np
import onnx
import pytest
from conftest import ASSETS, image
from maker_heads import SIZE, GflHead, cells_of
from onnx import TensorProto, helper

from lib.data.imgsz import ImageSize
from lib.detector.families.dfl import Dfl
from lib.detector.head import SINGLE, SPLIT
from lib.graph.input_form import set_input_form
from lib.graph.onnx_file import load
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.output_spec import output_form_of, output_spec_of
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.simplify import simplify

IMAGES = [image(0, *SIZE)]


def by_hand(head, model, offset):
    """Predictions [N, 4+C] of the logits that `GflHead` names, with the formulas of NanoDet's own demos."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    names = [name for stride in head.strides for name in (f"logits_{stride}", f"class_{stride}")]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    values = infer_image(open_session(probe.SerializeToString()), IMAGES[0], names)
    rows = []
    for stride, logits, scores in zip(head.strides, values[0::2], values[1::2]):
        _, _, height, width = logits.shape
        for y in range(height):
            for x in range(width):
                bins = np.exp(logits[0, :, y, x].reshape(4, -1))
                left, top, right, bottom = (bins / bins.sum(axis=1, keepdims=True)) @ np.arange(head.bins) * stride
                x1, y1 = (x + offset) * stride - left, (y + offset) * stride - top
                x2, y2 = (x + offset) * stride + right, (y + offset) * stride + bottom
                probability = 1 / (1 + np.exp(-scores[0, :, y, x]))
                rows.append([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, *probability])
    return np.array(rows)


def check(head, model, wanted=SPLIT, corner=None):
    """Recognized, and after surgery with the predictions that the logits give by hand."""
    form = output_form_of(model)
    assert form.spec.family == Dfl(head.strides, head.bins, corner=corner) and form.spec.classes == head.classes
    set_input_form(model, form.input)
    after, record = adapt(model, wanted, IMAGES, seed=0)
    assert record["box_px"] < 1e-2 and record["score"] < 1e-4
    expected = by_hand(head, model, 0 if corner else 0.5)
    raw = infer_image(open_session(model.SerializeToString()), IMAGES[0])
    np.testing.assert_allclose(form.predictions(raw), expected, rtol=1e-4, atol=1e-3)
    if wanted == SPLIT:
        assert [each.name for each in after.graph.output] == [each.name for each in output_spec_of(after).maps()]
        raw = infer_image(open_session(after.SerializeToString()), IMAGES[0])
        np.testing.assert_allclose(output_spec_of(after).predictions(raw), expected, rtol=1e-4, atol=1e-3)
    return form, after


@pytest.mark.parametrize("head", [SPLIT, SINGLE])
@pytest.mark.parametrize("joined", [True, False])
def test_rows_of_scores_and_logits_from_one_convolution_or_two(joined, head):
    gfl = GflHead(5, one_convolution=joined)
    form, after = check(gfl, gfl.finish(gfl.rows()), head)
    assert form.input.channels == "bgr" and form.input.letterbox == "stretch"
    assert not [node for node in after.graph.node if node.op_type == "Split" and head == SPLIT]


@pytest.mark.parametrize("rank", [2, 3])
def test_flattened_outputs_in_any_order(rank):
    gfl = GflHead(5)
    names = gfl.flattened(rank)
    check(gfl, gfl.finish(*names[::2][::-1], *names[1::2]))


@pytest.mark.parametrize("sigmoid", [True, False])
def test_maps_of_four_strides_are_nanodet_plus(sigmoid):
    """Its points are the corners of cells; 64 x 96 has 2 x 1 cells of stride 64."""
    gfl = GflHead(5, strides=(8, 16, 32, 64), sigmoid=sigmoid)
    _, after = check(gfl, gfl.finish(*gfl.maps_as_outputs()), corner=True)
    assert output_spec_of(after).maps()[-1].shape(SIZE) == (1, 5, 1, 2)


def test_hard_swish_is_picodet():
    gfl = GflHead(5, strides=(8, 16, 32, 64), activation="HardSwish")
    form, _ = check(gfl, gfl.finish(*gfl.flattened(3)))
    assert (form.input.channels, form.input.scale) == ("rgb", 255)


def test_classes_that_could_be_bins_are_told_by_the_sigmoid():
    gfl = GflHead(32)
    check(gfl, gfl.finish(*gfl.flattened(2)))


def test_initializers_may_be_listed_as_inputs():
    gfl = GflHead(5)
    model = gfl.finish(gfl.rows())
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    simplified, _ = simplify(model, IMAGES, seed=0)
    check(gfl, simplified)


def test_a_strangers_nanodet():
    """Outputs with scrambled names, scores and logits from one convolution."""
    path = ASSETS / "onnx" / "nanodet-320.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    model, _ = simplify(load(path), [], seed=0)
    form = output_form_of(model)
    assert form.spec.family == Dfl((8, 16, 32), 8) and form.spec.classes == 80
    after, record = adapt(model, SPLIT, [image(0, 320, 320)], seed=0)
    assert [each["pass"] for each in record["passes"]] == ["raise_opset", "cut_maps", "equalize"]
    makers = {name: node.op_type for node in after.graph.node for name in node.output}
    assert [makers[each.name] for each in after.graph.output] == ["Conv", "Sigmoid"] * 3


def test_cells_of_a_side_that_a_stride_does_not_divide():
    assert cells_of(ImageSize(416, 416), 64) == (7, 7)
    assert Dfl((8, 16, 32, 64), 8, corner=True).points(ImageSize(416, 416)) == 52**2 + 26**2 + 13**2 + 7**2
