"""Models with anchors from PyTorch: every form that people export is read rightly, cut, and decoded as it decodes."""

import re
import shutil

import numpy as np
import onnx
import pytest
from anchor_heads import ANCHORS, SIZE, AnchorHead
from conftest import image
from onnx import helper
from test_surgery import half

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.families.distances import Distances
from lib.detector.head import HEADS, SPLIT
from lib.graph import families
from lib.graph.anchor_option import METADATA_KEY, anchor_layers, demand_anchors_used, parse_anchors, with_anchors
from lib.graph.onnx_file import load, metadata, save
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import output_form_of, output_spec_of
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.prepare import dequantize
from lib.graph.surgery.simplify import simplify
from lib.step.errors import Incomplete, UserError

P6 = (*ANCHORS, ((436, 615), (739, 380), (925, 792)))
ONE_ANCHOR, TWO_ANCHORS = (tuple(level[:count] for level in ANCHORS) for count in (1, 2))


def rows_of(model, tensor) -> np.ndarray:
    """The one output [1, N, 5+C]."""
    return infer(open_session(model.SerializeToString()), tensor)[0][0]


def check(model, head, decoded, unit=(1, 1)):
    """`model`, after surgery, predicts what YOLOv5's own code makes of the rows that the model `decoded` gives."""
    frame = letterbox(image(7), output_spec_of(model).imgsz)[0]
    tensor = to_tensor(frame)
    rows = rows_of(decoded, tensor)
    expected = np.concatenate([rows[:, :4] * np.array([*unit, *unit]), rows[:, 4:5] * rows[:, 5:]], axis=1)
    after, record = adapt(simplify(model, [frame], 0)[0], head, [frame], seed=0)
    assert record["box_px"] < 1e-3 and record["score"] < 1e-5
    spec = output_spec_of(after)
    assert (spec.head, spec.classes) == (head, rows.shape[1] - 5)
    predictions = spec.predictions(infer(open_session(after.SerializeToString()), tensor))
    expected[:, 2:4] = np.minimum(expected[:, 2:4], spec.imgsz)
    assert expected.std(axis=0).min() > 1e-3
    assert np.abs(predictions[:, :4] - expected[:, :4]).max() < 2e-5 * max(spec.imgsz)
    assert np.abs(predictions[:, 4:] - expected[:, 4:]).max() < 1e-5
    # The FP32 baseline reads the outputs as they are.
    form = output_form_of(model)
    baseline = form.predictions(infer(open_session(model.SerializeToString()), tensor))
    assert np.abs(baseline - predictions).max() < 2e-5 * max(spec.imgsz)
    return after


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("classes", [1, 3, 80])
def test_yolov5_decoded(head, classes):
    maker = AnchorHead(classes)
    model = maker.finish(maker.joined(maker.decoded()))
    after = check(model, head, model)
    layers = output_spec_of(after).family.layers
    assert tuple(layer.anchors for layer in layers) == ANCHORS
    assert {(layer.scale_x_y, layer.new_coords) for layer in layers} == {(2.0, True)}
    if head == SPLIT:
        assert [output.name for output in after.graph.output][:3] == ["box_8", "objectness_8", "scores_8"]


@pytest.mark.parametrize(
    ("anchors", "strides", "size"),
    [
        (P6, (8, 16, 32, 64), ImageSize(128, 128)),
        (ANCHORS[1:], (16, 32), SIZE),
        (ONE_ANCHOR, (8, 16, 32), SIZE),
        (TWO_ANCHORS, (4, 8, 16), ImageSize(64, 96)),
        (((4.37891, 5.125), (9.25, 7.0)), (8, 16), SIZE),
    ],
)
def test_strides_and_anchors_are_read_off_the_graph(anchors, strides, size):
    anchors = anchors if isinstance(anchors[0][0], tuple) else tuple((anchor,) for anchor in anchors)
    maker = AnchorHead(4, anchors, strides, size)
    model = maker.finish(maker.joined(maker.decoded()))
    layers = output_spec_of(check(model, SPLIT, model)).family.layers
    assert tuple(layer.stride for layer in layers) == strides
    assert tuple(layer.anchors for layer in layers) == anchors


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("scale", [1.0, 1.2])
def test_exponential_sizes_of_yolov3_and_v4(head, scale):
    maker = AnchorHead(3)
    model = maker.finish(maker.joined(maker.decoded(exponential=True, scale=scale)))
    layers = output_spec_of(check(model, head, model)).family.layers
    assert {(layer.scale_x_y, layer.new_coords) for layer in layers} == {(scale, False)}


@pytest.mark.parametrize("head", HEADS)
def test_grids_and_anchors_of_a_quantized_graph_are_on_its_steps(head):
    """The boxes get exact cells again. Without the note that it was quantized, the graph is refused."""
    maker = AnchorHead(3)
    model = maker.finish(maker.joined(maker.decoded()))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 5:
            step = np.float32((max(values.max(), 0) - min(values.min(), 0)) / 255)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.rint(values / step) * step, tensor.name))
    with pytest.raises(UserError, match="neither those of its last convolutions"):
        output_form_of(model)
    helper.set_model_props(model, {dequantize.METADATA_KEY: "258"})
    after, record = adapt(model, head, [letterbox(image(7), SIZE)[0]], seed=0)
    layers = output_spec_of(after).family.layers
    for layer, exact in zip(layers, ANCHORS, strict=True):
        np.testing.assert_allclose(layer.anchors, exact, rtol=1e-2)
        assert (layer.scale_x_y, layer.new_coords) == (2.0, True)
    demand_anchors_used("yolov5", output_spec_of(after).family)
    assert 0.1 < record["box_px"] < 0.02 * max(SIZE)


def test_training_maps_beside_the_output_do_not_count():
    maker = AnchorHead(3)
    model = maker.finish(maker.joined(maker.decoded()), *maker.views("training"))
    assert len(check(model, SPLIT, model).graph.output) == 9


def test_factors_behind_the_convolutions_go_into_them():
    maker = AnchorHead(3)
    maker.with_implicit_knowledge()
    model = maker.finish(maker.joined(maker.decoded()))
    assert "Mul" not in {node.op_type for node in check(model, SPLIT, model).graph.node}


def test_one_scale_and_a_bias_behind_the_convolutions_go_into_them():
    """As a model that was quantized dynamically has them once its weights are in float again."""
    maker = AnchorHead(3)
    for place, name in enumerate(maker.maps):
        bias = maker.rng.normal(0, 0.5, (maker.graph_channels(place), 1, 1)).astype(np.float32)
        scaled = maker.graph.add("Mul", [name, np.array([0.7], np.float32)], f"{name}/scaled")
        maker.maps[place] = maker.graph.add("Add", [scaled, bias], f"{name}/bias")
    model = maker.finish(maker.joined(maker.decoded()))
    assert not {node.op_type for node in check(model, SPLIT, model).graph.node} & {"Mul", "Add"}


def test_boxes_divided_by_the_size_of_the_input():
    maker = AnchorHead(3)
    model = maker.finish(maker.joined(maker.decoded(unit=tuple(SIZE))))
    check(model, SPLIT, model, unit=tuple(SIZE))


def test_other_orders_of_strides_and_axes():
    maker = AnchorHead(3)
    rows = maker.joined(maker.decoded())
    columns = maker.graph.add("Transpose", [rows], "columns", perm=[0, 2, 1])
    other = AnchorHead(3)
    check(maker.finish(columns), SPLIT, other.finish(other.joined(other.decoded())))
    coarse_first = AnchorHead(3)
    model = coarse_first.finish(coarse_first.joined(coarse_first.decoded()[::-1]))
    form = output_form_of(model)
    assert form.read.arrangement.coarsest_first and [layer.stride for layer in form.spec.family.layers] == [8, 16, 32]


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_decoded_output_per_stride(channels_last):
    maker, decoding = AnchorHead(3), AnchorHead(3)
    outputs = maker.decoded(exponential=True, scale=1.1)
    if channels_last:
        outputs = [maker.graph.add("Transpose", [name], f"{name}/t", perm=[0, 2, 3, 1, 4]) for name in outputs]
    expected = decoding.joined(decoding.decoded(exponential=True, scale=1.1))
    check(maker.finish(*outputs), SPLIT, decoding.finish(expected))


@pytest.mark.parametrize("exponential", [True, False])
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("classes", [1, 3])
def test_boxes_beside_scores(corners, exponential, classes):
    maker, decoding = AnchorHead(classes), AnchorHead(classes)
    unit, options = (tuple(SIZE), {"exponential": True, "scale": 1.2}) if exponential else ((1.0, 1.0), {})
    model = maker.finish(*maker.apart(maker.joined(maker.decoded(unit=unit, **options)), corners))
    check(model, SPLIT, decoding.finish(decoding.joined(decoding.decoded(**options))))


def test_landmarks_beside_boxes_are_one_sentence():
    maker = AnchorHead(11)
    changed = [maker.graph.add("Tanh", [name], f"{name}/tanh") for name in maker.decoded()]
    with pytest.raises(UserError, match=r"3 anchors per cell, but its outputs \[1, 504, 16\] are neither"):
        families.recognize(Graph(maker.finish(maker.joined(changed))))


def undecoded(kind: str, classes: int):
    """A model that does not decode, of `kind`."""
    maker = AnchorHead(classes)
    if kind == "rows after sigmoid":
        return maker.finish(maker.joined(maker.sigmoids(maker.views())))
    if kind == "rows":
        return maker.finish(maker.joined(maker.views()))
    if kind == "maps":
        return maker.finish(*maker.maps)
    if kind == "maps after sigmoid":
        return maker.finish(*maker.sigmoids(maker.maps))
    if kind == "maps, channels last":
        return maker.finish(
            *(maker.graph.add("Transpose", [name], f"{name}/t", perm=[0, 2, 3, 1]) for name in maker.maps)
        )
    if kind == "views, coarsest first":
        return maker.finish(*maker.views()[::-1])
    return maker.finish(*maker.sigmoids(maker.views()))


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(
    "kind",
    ["rows", "rows after sigmoid", "maps", "maps after sigmoid", "maps, channels last", "views after sigmoid",
     "views, coarsest first"],
)  # fmt: skip
def test_undecoded_needs_anchors_and_decodes_by_them(kind, classes):
    model = undecoded(kind, classes)
    with pytest.raises(UserError, match="does not contain its anchors; say which with --anchors"):
        families.recognize(Graph(model))
    decoding = AnchorHead(classes)
    check(with_anchors(model, "yolov5"), SPLIT, decoding.finish(decoding.joined(decoding.decoded())))


@pytest.mark.parametrize(("kind", "guess"), [("views after sigmoid", ""), ("maps", " if it has 3 anchors per cell")])
def test_the_question_for_anchors_says_how_many_classes_there_are(kind, guess):
    with pytest.raises(Incomplete, match=rf"boxes \(7 classes{guess}\) are not decoded"):
        families.recognize(Graph(undecoded(kind, 7)))


@pytest.mark.parametrize("kind", ["rows", "maps", "views after sigmoid"])
@pytest.mark.parametrize("anchors", [None, "yolov5"])
def test_landmarks_of_yolov5_face_are_not_taken_for_classes(kind, anchors):
    model = with_anchors(undecoded(kind, 11), anchors)
    with pytest.raises(Incomplete, match=r"16 values per anchor, as YOLOv5-face has.*landmarks are not supported"):
        families.recognize(Graph(model))
    helper.set_model_props(model, metadata(model) | {"names": "{0: 'face'}"})
    with pytest.raises(UserError):
        families.recognize(Graph(model))
    names = str({number: f"class {number}" for number in range(11)})
    model = with_anchors(undecoded(kind, 11), "yolov5")
    helper.set_model_props(model, metadata(model) | {"names": names})
    assert families.recognize(Graph(model)).spec.classes == 11


def test_undecoded_yolov3_has_exponentials():
    maker, decoding = AnchorHead(2), AnchorHead(2)
    decoded = decoding.finish(decoding.joined(decoding.decoded(exponential=True, scale=1.0)))
    check(with_anchors(maker.finish(*maker.views()), "yolov3"), SPLIT, decoded)
    with pytest.raises(UserError, match="sigmoids of its sizes"):
        families.recognize(Graph(with_anchors(undecoded("maps after sigmoid", 2), "yolov3")))


def test_class_names_tell_how_many_anchors_there_are():
    model = undecoded("maps", 2)
    helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog'}"})
    with pytest.raises(UserError, match="1 anchors per stride were given, but the model has 3"):
        families.recognize(Graph(with_anchors(model, parse_anchors("1,2,3,4,5,6"))))


@pytest.mark.parametrize("text", ["10 13 16 30", "10,13, 16,30", "[[10, 13], [16, 30]]", "10,13;16,30"])
def test_numbers_are_written_in_any_way(text):
    layers = anchor_layers(with_anchors(AnchorHead(1).finish(), parse_anchors(text)), (8, 16))
    assert [(layer.stride, layer.anchors) for layer in layers] == [(8, ((10, 13),)), (16, ((16, 30),))]


def test_a_yaml_of_yolov5_holds_anchors(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("nc: 3\nanchors:\n  - [10,13, 16,30]\n  - [30,61, 62,45]\n")
    layers = anchor_layers(with_anchors(AnchorHead(1).finish(), parse_anchors(str(path))), (8, 16))
    assert layers[1].anchors == ((30, 61), (62, 45)) and layers[1].new_coords
    path.write_text("nc: 3\nanchors: 3\n")
    with pytest.raises(UserError, match="has no 'anchors' with a list"):
        parse_anchors(str(path))
    with pytest.raises(UserError, match="does not exist"):
        parse_anchors(str(tmp_path / "other.yaml"))


@pytest.mark.parametrize("text", ["yolov9", "10,13,16", "0,1", "1,-2", "nan,1", ""])
def test_what_is_no_anchors_is_one_sentence(text):
    with pytest.raises(UserError, match=r"neither numbers, nor a \.yaml file, nor one of yolov3, yolov5, yolov7"):
        parse_anchors(text)


def test_anchors_that_do_not_fit_the_strides_are_one_sentence():
    model = undecoded("maps", 2)
    with pytest.raises(UserError, match="4 anchors cannot be divided evenly over the model's 3 strides"):
        families.recognize(Graph(with_anchors(model, parse_anchors("1,2,3,4,5,6,7,8"))))
    four = AnchorHead(2, P6, (8, 16, 32, 64), ImageSize(128, 128)).finish()
    with pytest.raises(UserError, match="the anchors of yolov3 are for 3 strides, but the model has 4"):
        anchor_layers(with_anchors(four, "yolov3"), (8, 16, 32, 64))
    assert anchor_layers(with_anchors(four, "yolov5"), (8, 16, 32, 64))[3].anchors[0] == (436, 615)


def test_something_else_with_a_map_a_stride_is_not_taken_for_it():
    for change in ("Tanh", "Exp"):
        maker = AnchorHead(3)
        changed = [maker.graph.add(change, [name], f"{name}/{change}") for name in maker.maps]
        with pytest.raises(UserError) as refused:
            families.recognize(Graph(maker.finish(*changed)))
        assert "anchors" not in str(refused.value)


def test_feature_maps_of_a_backbone_are_not_taken_for_anchors():
    maker = AnchorHead(27, ONE_ANCHOR)
    with pytest.raises(UserError) as refused:
        families.recognize(Graph(maker.finish(*maker.maps)))
    assert not isinstance(refused.value, Incomplete)


@pytest.mark.parametrize("head", HEADS)
def test_half_precision(head):
    maker = AnchorHead(3)
    model = half(maker.finish(maker.joined(maker.decoded())))
    after, record = adapt(model, head, [], seed=0)
    assert tuple(layer.anchors for layer in output_spec_of(after).family.layers) == ANCHORS
    assert record["score"] < 2e-2


def test_commands_take_anchors(step, tmp_path, pool):
    model = AnchorHead(3, size=ImageSize(96, 64))
    path = tmp_path / "maps.onnx"
    save(model.finish(*model.maps), path)
    refused = step("inspect_onnx", path)
    assert refused.returncode == 2 and "say which with --anchors" in refused.stderr
    shown = step("inspect_onnx", path, "--anchors", "yolov5")
    assert "strides 8, 16, 32, not decoded, before the sigmoid" in shown.stdout
    assert "10x13 16x30 33x23; 30x61" in shown.stdout and "split     anchors_maps" in shown.stdout
    done = step("graph_surgery", "--onnx", path, "--head", "split", "--images", pool, "--anchors", "yolov5",
                "--output", tmp_path / "split.onnx", "--proof", tmp_path / "proof.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    wrong = step("inspect_onnx", path, "--anchors", "yolov9")
    assert wrong.returncode == 2 and "neither numbers" in wrong.stderr and "Traceback" not in wrong.stderr


def test_anchors_without_effect_are_refused(step, tmp_path, pool):
    """The model's own anchors are no other ones."""
    maker, path, folder = AnchorHead(3, size=ImageSize(96, 64)), tmp_path / "decoded.onnx", tmp_path / "theirs"
    save(maker.finish(maker.joined(maker.decoded())), path)
    assert step("inspect_onnx", path, "--anchors", "yolov5").returncode == 0
    outputs = [tmp_path / "split.onnx", tmp_path / "proof.json"]
    made = ["--head", "split", "--images", pool, "--output", outputs[0], "--proof", outputs[1]]
    assert step("download_weights", "--onnx", path, "--anchors", "yolov7", "--output", folder).returncode == 0
    exported = ["--imgsz", "96x64", "--opset", "19", "--output", outputs[0]]
    for done, name in (
        (step("inspect_onnx", path, "--anchors", "yolov7"), "--anchors"),
        (step("graph_surgery", "--onnx", path, *made, "--anchors", "yolov7"), "--anchors"),
        (step("export_onnx", "--weights", folder, *exported), "models.theirs.anchors"),
    ):
        assert done.returncode == 2 and "Traceback" not in done.stderr
        own = "10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326"
        said = f"error: {name} would have no effect, because the model has its own anchors, {own}; leave it out"
        assert done.stderr.splitlines()[-1] == said
    assert not any(output.exists() for output in outputs)


@pytest.mark.parametrize("anchors", ["yolov5", "10,13"])
def test_anchors_of_a_model_without_any_are_refused(anchors):
    anchors = parse_anchors(anchors)
    with pytest.raises(UserError, match=r"--anchors would have no effect, because the model's boxes do not come from"):
        demand_anchors_used(anchors, Distances((8, 16, 32)))
    with pytest.raises(UserError, match=r"because the model's outputs are not decoded \(no Conv\); leave it out"):
        demand_anchors_used(anchors, None, "no Conv")
    demand_anchors_used(None, None)


def test_config_says_the_anchors_of_an_export(step, tmp_path):
    model = AnchorHead(3, size=ImageSize(96, 64))
    save(model.finish(*model.maps), tmp_path / "maps.onnx")
    folder, numbers = tmp_path / "weights" / "theirs", [str(n) for level in ANCHORS for pair in level for n in pair]
    done = step("download_weights", "--onnx", tmp_path / "maps.onnx", "--anchors", *numbers, "--output", folder)
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "exported.onnx"
    done = step("export_onnx", "--weights", folder, "--imgsz", "96x64", "--opset", "19", "--output", exported)
    assert done.returncode == 0, done.stderr
    assert METADATA_KEY in metadata(onnx.load(exported))
    assert tuple(layer.anchors for layer in output_spec_of(onnx.load(exported)).family.layers) == ANCHORS


# Strangers' exports, what they need besides, and the least that INT8 keeps of FP32's mAP50-95 on 78 images. Means of
# several draws are 0.98 and 0.97; one draw is off by 0.02.
PUBLISHED = {
    "yolov5n-320": ((), 0.96),
    "yolov5lite-e-320-undecoded": (("--anchors", "yolov5"), 0.94),
}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request, assets):
    """One of PUBLISHED: its file, what it needs besides, the least that INT8 keeps."""
    path = assets / "onnx" / f"{request.param}.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path, *PUBLISHED[request.param]


@pytest.mark.parametrize("head", HEADS)
def test_published_weights_are_proven(published, head):
    path, options, _ = published
    frame = letterbox(image(7), ImageSize(320, 320))[0]
    model = with_anchors(load(path), *(options[1:] or [None]))
    after, record = adapt(simplify(model, [frame], 0)[0], head, [frame], seed=0)
    assert record["box_px"] < 1e-3 and record["score"] < 1e-5
    assert tuple(layer.anchors for layer in output_spec_of(after).family.layers) == ANCHORS


@pytest.mark.toolkit
def test_published_weights_keep_their_accuracy_in_int8(published, assets, step, tmp_path):
    path, options, least = published
    if not (archive := assets / "datasets" / "coco128-val.zip").is_file():
        pytest.skip(f"needs {archive}")
    shutil.unpack_archive(archive, tmp_path)
    images, labels = (tmp_path / "coco128-val" / kind for kind in ("images", "labels"))
    done = step("onnx_to_rknn", path, *options, "--dataset", images, "--labels", labels, "--max-images", 50,
                "--output", tmp_path / "made.rknn")  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert re.search(r"^verdict +runs", said, re.MULTILINE)
    assert float(re.search(r"\(([\d.]+)% kept", said)[1]) >= 100 * least
