"""Yolo-FastestV2: three anchors a cell that share its softmax of scores, channels last; found, cut, decoded rightly."""

from functools import partial

import numpy as np
import onnx
import pytest
from conftest import image
from maker_heads import SIZE, GflHead, SharedHead
from onnx import TensorProto, helper

from lib.detector.families.anchors import Anchors
from lib.detector.head import SINGLE, SPLIT
from lib.graph.anchor_option import parse_anchors, with_anchors
from lib.graph.input_form import set_input_form
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.output_spec import output_form_of, output_spec_of
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.shared_classes import recognize
from lib.step.errors import UserError

IMAGES = [image(0, *SIZE)]
ANCHORS = "12.5,19.5, 38,51, 55,138, 127,78, 131,214, 280,259"


def by_hand(model, head):
    """Predictions of every cell's anchors, cell by cell, with the loops of the maker's demo."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [f"{name}_{stride}" for stride in head.strides for name in ("first", "second", "third")]
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    values = infer_image(open_session(probe.SerializeToString()), IMAGES[0], names)
    sizes = np.array(ANCHORS.split(","), float).reshape(len(head.strides), head.anchors, 2)
    rows = []
    for stride, of_stride, *maps in zip(head.strides, sizes, *(values[place::3] for place in range(3))):
        box, objectness = (1 / (1 + np.exp(-each[0])) for each in maps[:2])
        scores = np.exp(maps[2][0]) / np.exp(maps[2][0]).sum(axis=0)
        for anchor, (width, height) in enumerate(of_stride):
            for y in range(box.shape[1]):
                for x in range(box.shape[2]):
                    tx, ty, tw, th = box[4 * anchor : 4 * anchor + 4, y, x]
                    centre = (2 * tx - 0.5 + x) * stride, (2 * ty - 0.5 + y) * stride
                    size = min((2 * tw) ** 2 * width, SIZE.width), min((2 * th) ** 2 * height, SIZE.height)
                    rows.append([*centre, *size, *(objectness[anchor, y, x] * scores[:, y, x])])
    return np.array(rows)


@pytest.mark.parametrize("wanted", [SPLIT, SINGLE])
@pytest.mark.parametrize(
    ("classes", "maps"),
    [
        (5, SharedHead.maps),
        (5, partial(SharedHead.maps, channels_last=False)),
        (1, SharedHead.maps),
        (12, SharedHead.maps),
        (80, SharedHead.training_maps),
        (12, SharedHead.training_maps),
        (3, SharedHead.training_maps),
    ],
)
def test_found_cut_and_decoded_as_by_hand(classes, maps, wanted):
    head = SharedHead(classes)
    model = with_anchors(head.finish(*maps(head)), parse_anchors(ANCHORS))
    form = output_form_of(model)
    assert isinstance(form.spec.family, Anchors) and form.spec.classes == classes and form.input.letterbox == "stretch"
    set_input_form(model, form.input)
    after, record = adapt(model, wanted, IMAGES, seed=0)
    assert record["box_px"] < 1e-3 and record["score"] < 1e-5
    expected = by_hand(model, head)
    for each in (model, after) if wanted == SPLIT else (model,):
        raw = infer_image(open_session(each.SerializeToString()), IMAGES[0])
        np.testing.assert_allclose(output_form_of(each).predictions(raw), expected, rtol=1e-4, atol=1e-4)
    if wanted == SPLIT:
        shapes = [output.shape(SIZE) for output in output_spec_of(after).maps()]
        assert shapes[2][1] == 3 * classes and shapes[0][1] == 12


def test_anchors_are_asked_for():
    head = SharedHead(5)
    with pytest.raises(UserError, match="does not contain its anchors; say which with --anchors"):
        output_form_of(head.finish(*head.maps()))


def test_another_number_of_anchors_is_refused():
    head = SharedHead(5)
    model = with_anchors(head.finish(*head.maps()), parse_anchors("10,10, 20,20"))
    with pytest.raises(UserError, match="has 3 anchors per stride"):
        output_form_of(model)


def test_maps_without_sigmoids_in_another_order_are_none():
    """Nothing else says which of them are boxes."""
    head = SharedHead(5)
    assert recognize(Graph(head.finish(*head.training_maps()[::-1]))) is None


def test_other_heads_are_none():
    head = GflHead(5)
    assert recognize(Graph(head.finish(head.rows()))) is None
