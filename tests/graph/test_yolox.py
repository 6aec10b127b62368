"""YOLOX in every form that people export: recognized by structure, cut at its maps, and decoded rightly."""

import numpy as np
import onnx
import pytest
from conftest import ASSETS, image
from maker_heads import SIZE, STRIDES, Head, grid
from onnx import TensorProto, helper, numpy_helper

from lib.data.imgsz import ImageSize
from lib.detector.families.yolox import Yolox
from lib.detector.head import SINGLE, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.families.yolox import INPUT, LEGACY
from lib.graph.input_convention import settle_input_form
from lib.graph.input_form import set_input_form
from lib.graph.onnx_file import load
from lib.graph.onnx_session import infer, infer_image, open_session
from lib.graph.output_spec import output_form_of, output_spec_of
from lib.graph.surgery.passes import group_channels
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.proof import ReferencePredictions
from lib.graph.surgery.simplify import simplify
from lib.step.errors import UserError

IMAGES = [image(0, *SIZE)]


def by_hand(model):
    """Predictions [N, 4+C] of the model's maps, found by the names that `Head` gives."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [name for s in STRIDES for name in (f"first_{s}", f"second_{s}", f"third_{s}")]
    del probe.graph.output[:]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    probe.graph.output.extend(infos)
    pixels = IMAGES[0].transpose(2, 0, 1)[None].astype(np.float32)
    values = infer(open_session(probe.SerializeToString()), pixels, names)
    box, objectness, scores = (
        np.concatenate([each.reshape(each.shape[1], -1).T for each in values[place::3]]) for place in range(3)
    )
    cells, strides = grid(SIZE)
    product = 1 / (1 + np.exp(-objectness)) / (1 + np.exp(-scores))
    return np.concatenate([(box[:, :2] + cells) * strides, np.exp(box[:, 2:]) * strides, product], axis=1)


def check(model, classes):
    """Recognized as YOLOX, and after surgery with the predictions that the maps give by hand."""
    form = output_form_of(model)
    assert (form.spec.family, form.spec.classes) == (Yolox(STRIDES), classes)
    assert (form.input.channels, form.input.scale, form.input.letterbox) == ("bgr", 1, "top_left")
    set_input_form(model, form.input)
    after, record = adapt(model, SPLIT, IMAGES, seed=0)
    assert record["box_px"] < 1e-3 and record["score"] < 1e-5
    shapes = [tuple(d.dim_value for d in each.type.tensor_type.shape.dim) for each in after.graph.output]
    assert shapes == [output.shape(SIZE) for output in output_spec_of(after).maps()]
    expected = by_hand(model)
    for each in (model, after):
        raw = infer_image(open_session(each.SerializeToString()), IMAGES[0])
        np.testing.assert_allclose(output_form_of(each).predictions(raw), expected, rtol=1e-4, atol=1e-4)
    return after


@pytest.mark.parametrize("classes", [1, 3, 4, 80])
@pytest.mark.parametrize("form", ["rows", "decoded", "columns"])
def test_one_output_of_any_number_of_classes(form, classes):
    head = Head(classes)
    check(head.finish(getattr(head, form)()), classes)


@pytest.mark.parametrize("sigmoids", [True, False])
def test_a_map_a_stride_as_rockchip_exports_them(sigmoids):
    head = Head(3, sigmoids)
    after = check(head.finish(*head.joined()), 3)
    assert [node.op_type for node in after.graph.node].count("Sigmoid") == 6


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_nine_maps_in_any_order(order):
    head = Head(3, sigmoids=False)
    check(head.finish(*(level[place] for place in order for level in reversed(head.maps))), 3)


def test_channels_last():
    head = Head(3)
    names = [head.graph.add("Transpose", [name], f"{name}/last", perm=[0, 2, 3, 1]) for name in head.joined((0, 2, 1))]
    check(head.finish(*names), 3)


def dequantized(model):
    """The model with its first weights stored in eight bits."""
    node = model.graph.node[0]
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    weights = numpy_helper.to_array(stored)
    step = np.float32(np.abs(weights).max() / 127)
    stored.CopyFrom(numpy_helper.from_array(np.rint(weights / step).astype(np.int8), stored.name))
    model.graph.initializer.append(numpy_helper.from_array(step, "step"))
    node.input[1] = "weights"
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", [stored.name, "step"], ["weights"]))
    return model


def normalized_behind(model):
    """The model with its first weights divided by 1000, and a batch normalization that multiplies by as much."""
    node = model.graph.node[0]
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    weights = numpy_helper.to_array(stored)
    stored.CopyFrom(numpy_helper.from_array(weights / 1000, stored.name))
    made = node.output[0]
    node.output[0] = "before"
    values = {"factor": 1000, "shift": 0, "mean": 0, "variance": 1}
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.full(len(weights), value, np.float32), name))
    model.graph.node.insert(1, helper.make_node("BatchNormalization", ["before", *values], [made]))
    return model


@pytest.mark.parametrize("stored", [lambda model: model, dequantized, normalized_behind])
def test_the_first_weights_show_the_input_of_before_release_0_1_1(stored):
    for stem, form, said in ((1, LEGACY, "before release 0.1.1"), (1 / 60, INPUT, "since release 0.1.1")):
        head = Head(3, stem=stem)
        model = stored(head.finish(head.rows()))
        settled, origin = settle_input_form(model, {})
        assert settled == form
        assert origin.startswith(f"the convention of its makers {said}, by the size of its first weights, 0.0")


def test_decoding_otherwise_is_caught():
    """Centres at half a cell, as of other families, are not YOLOX's."""
    head = Head(3)
    shifted = head.graph.add("Add", [head.decoded(), np.eye(8, dtype=np.float32)[:1] * 4], "moved")
    model = head.finish(shifted)
    with pytest.raises(UserError, match="after pass cut_maps the graph computes something else"):
        adapt(model, SPLIT, IMAGES, seed=0)


def moved(model, change):
    """A copy of the model with the weights and biases of the coarsest box map changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    node = next(node for node in copy.graph.node if node.output[0] == "first_32")
    for tensor in copy.graph.initializer:
        if tensor.name in node.input[1:]:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
    return copy


def test_grouping_may_round_an_exponential_but_not_mix_up_channels():
    head = Head(3)
    model = head.finish(head.rows())
    form, allowed = output_form_of(model), group_channels.PASS.tolerance
    reference = ReferencePredictions(model, form, IMAGES, seed=0)
    done = reference.compare(moved(model, lambda values: values * np.float32(1.003)), form, allowed, "wrong")
    assert 2e-4 * max(SIZE) < done["box_px"] < allowed.box * max(SIZE)
    mixed = moved(model, lambda values: np.roll(values, 1, axis=1) if values.ndim > 1 else values)
    with pytest.raises(UserError, match="wrong: boxes differ by up to"):
        reference.compare(mixed, form, allowed, "wrong")


def test_head_single_is_refused_in_a_sentence():
    head = Head(3)
    with pytest.raises(UserError, match="'single' does not support YOLOX"):
        adapt(head.finish(head.rows()), SINGLE, IMAGES, seed=0)


def test_boxes_are_limited_to_twice_the_input_and_negative_objectness_is_none():
    spec = OutputSpec(ImageSize(32, 32), SPLIT, Yolox((32,)), 2)
    box = np.array([0.5, 0.25, 900, -1], np.float32).reshape(1, 4, 1, 1)
    scores = np.array([0.5, 0.25], np.float32).reshape(1, 2, 1, 1)
    [row] = spec.predictions([box, np.full((1, 1, 1, 1), 0.5, np.float32), scores])
    assert row.tolist() == pytest.approx([16, 8, 64, 32 * np.exp(-1), 0.25, 0.125])
    assert spec.predictions([box, np.full((1, 1, 1, 1), -0.1, np.float32), scores])[0, 4:].tolist() == [0, 0]


def test_a_strangers_yolox():
    """Not decoded; the channels before its stem's depthwise convolution reach from 0.2 to 139, and are divided."""
    path = ASSETS / "onnx" / "yolox-nano-416.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    model, _ = simplify(load(path), [], seed=0)
    form = output_form_of(model)
    assert (form.spec.family, form.spec.classes, form.input.channels) == (Yolox(STRIDES), 80, "bgr")
    set_input_form(model, form.input)
    after, record = adapt(model, SPLIT, [image(0, 416, 416)], seed=0)
    assert [each["pass"] for each in record["passes"]] == ["raise_opset", "cut_maps", "group_channels"]
    groups = [node.op_type for node in after.graph.node if node.name.split("/")[-2:-1] == ["groups"]]
    assert groups and set(groups) == {"Concat"}
