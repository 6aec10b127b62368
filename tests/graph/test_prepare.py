"""A model as it came is made ready to be recognized, and computes the same; or one sentence says why not."""

import numpy as np
import onnx
import pytest
from conftest import image, slim
from onnx import TensorProto, helper, numpy_helper

from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.detector.head import HEADS
from lib.graph import families
from lib.graph.input_convention import settle_input_form
from lib.graph.input_form import input_form_of, set_input_form
from lib.graph.onnx_file import load
from lib.graph.onnx_session import infer, infer_image, open_session, to_tensor
from lib.graph.surgery.anchor_maps import head_maps
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.simplify import simplify
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)
IMAGE = letterbox(image(3), SIZE)[0]
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture(scope="module")
def exported(export):
    return export()[1]


def copy_of(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def outputs_of(model, tensor=None):
    """The outputs for IMAGE as the model takes it, or for a tensor."""
    session = open_session(model.SerializeToString())
    return infer_image(session, IMAGE) if tensor is None else infer(session, tensor)


def with_front(model, operators, shape, kind=TensorProto.FLOAT):
    """The model behind `operators`, (name, constants, attributes) each, and an input `raw` of that shape and kind."""
    changed = copy_of(model)
    graph, name = changed.graph, changed.graph.input[0].name
    nodes, tensor = [], "raw"
    for number, (operator, constants, attributes) in enumerate(operators):
        names = [f"front{number}/{place}" for place in range(len(constants))]
        graph.initializer.extend(numpy_helper.from_array(np.asarray(c), n) for c, n in zip(constants, names))
        nodes.append(helper.make_node(operator, [tensor, *names], [f"front{number}"], **attributes))
        tensor = nodes[-1].output[0]
    nodes[-1].output[0] = name
    nodes.extend(graph.node)
    del graph.node[:], graph.input[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("raw", kind, shape))
    onnx.checker.check_model(changed)
    return changed


CAST = ("Cast", [], {"to": TensorProto.FLOAT})
TO_FIRST = ("Transpose", [], {"perm": [0, 3, 1, 2]})
DIV_255 = ("Div", [np.float32(255)], {})
NCHW, NHWC = (1, 3, 64, 96), (1, 64, 96, 3)
TURN = ("Slice", [np.array([-1]), np.array([-(2**63)]), np.array([3]), np.array([-1])], {})
NORMALIZED = InputForm(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
OF_PIXELS = InputForm("bgr", 1, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@pytest.mark.parametrize(
    ("operators", "shape", "kind", "form"),
    [
        ([CAST, TO_FIRST, DIV_255], NHWC, TensorProto.UINT8, InputForm()),
        ([DIV_255], NCHW, TensorProto.FLOAT, InputForm()),
        ([CAST], NCHW, TensorProto.UINT8, InputForm(scale=1)),
        ([TO_FIRST], NHWC, TensorProto.FLOAT, InputForm()),
        (
            [("Sub", [MEAN.reshape(1, 3, 1, 1)], {}), ("Div", [STD.reshape(3, 1, 1)], {})],
            NCHW,
            TensorProto.FLOAT,
            NORMALIZED,
        ),
        ([TURN, ("Sub", [MEAN * 255], {}), ("Mul", [1 / STD / 255], {}), TO_FIRST], NHWC, TensorProto.FLOAT, OF_PIXELS),
        (
            [("DequantizeLinear", [np.float32(1 / 255), np.uint8(0)], {})],
            NCHW,
            TensorProto.UINT8,
            InputForm(),
        ),
    ],
)
def test_what_precedes_the_network_becomes_its_input_form(exported, operators, shape, kind, form):
    model = with_front(exported, operators, shape, kind)
    fixed, size = fix_size(model, None)
    assert (size, input_form_of(fixed)) == (SIZE, form)
    [given] = fixed.graph.input
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 3, 64, 96]
    assert given.type.tensor_type.elem_type == TensorProto.FLOAT
    assert len(fixed.graph.node) <= len(exported.graph.node)
    # The network's weights know nothing of the front: they give what they gave for the same values.
    [expected] = outputs_of(exported, to_tensor(IMAGE, form))
    np.testing.assert_allclose(outputs_of(fixed)[0], expected, atol=1e-3)


def test_a_stated_form_is_the_one_that_the_graph_takes(exported):
    model = with_front(exported, [("Sub", [np.float32(0.5)], {})], NCHW)
    set_input_form(model, InputForm("bgr", 1, (10.0,), (2.0,)))
    # (pixel - 10) / 2 - 0.5 = (pixel - 11) / 2
    assert input_form_of(fix_size(model, None)[0]) == InputForm("bgr", 1, (11.0,), (2.0,))


@pytest.mark.parametrize(
    ("operators", "shape", "kind", "sentence"),
    [
        ([DIV_255], NHWC, TensorProto.FLOAT, r"channels last, but no Transpose"),
        ([("Cast", [], {"to": TensorProto.INT32}), CAST], (1, 3, 64, 96, 1), TensorProto.UINT8, r"one input \[1, 3"),
    ],
)
def test_other_inputs_are_one_sentence(operators, shape, kind, sentence):
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    model = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y]), ir_version=8)
    with pytest.raises(UserError, match=sentence):
        fix_size(with_front(model, operators, shape, kind), None)


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo11n"])
def test_a_batch_becomes_one_image(export, architecture):
    model = export(architecture, batch=4)[1]
    fixed, _ = fix_size(model, None)
    images = np.concatenate([to_tensor(letterbox(image(seed), SIZE)[0]) for seed in range(4)])
    [expected] = outputs_of(model, images)
    for number in range(4):
        np.testing.assert_allclose(outputs_of(fixed, images[number : number + 1])[0][0], expected[number], atol=1e-3)
    after, _ = adapt(simplify(fixed, [], 0)[0], "split", [IMAGE], seed=0)
    assert {output.type.tensor_type.shape.dim[0].dim_value for output in after.graph.output} == {1}


def test_a_batch_that_cannot_be_taken_apart_is_one_sentence():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 64, 96])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 64, 96])
    mixed = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1)
    nodes = [mixed, helper.make_node("Sub", ["x", "mean"], ["y"])]
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opset, ir_version=8)
    with pytest.raises(UserError, match="making one image of a batch changes what the model computes"):
        fix_size(model, None)


def test_old_files_list_weights_among_the_inputs(export):
    model = copy_of(export(opset=11)[1])
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    fixed, _ = fix_size(model, None)
    assert len(fixed.graph.input) == 1
    after, _ = adapt(simplify(fixed, [], 0)[0], "split", [IMAGE], seed=0)
    assert len(after.graph.input) == 1


@pytest.mark.parametrize("version", [3, 4, 7, 11])
def test_every_ir_version_is_read(export, tmp_path, version):
    model = copy_of(export(opset=11)[1])
    if version == 3:
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = version
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    fixed, size = fix_size(load(tmp_path / "m.onnx"), None)
    assert size == SIZE and families.recognize(Graph(simplify(fixed, [], 0)[0])).spec.classes == 4


@pytest.mark.parametrize(("ir", "opset", "newer"), [(13, 17, "IR version 13; .*up to 11"), (10, 99, "opset 99; ")])
def test_a_file_that_is_newer_than_the_reader_is_one_sentence(exported, tmp_path, ir, opset, newer):
    model = copy_of(exported)
    model.ir_version, model.opset_import[0].version = ir, opset
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=f"{newer}.*export it with onnx 1.18.0 or older, and opset 19 or below"):
        load(tmp_path / "m.onnx")


def test_operators_of_an_unknown_domain_are_one_sentence():
    """Shapes behind them are unknown, which the search for maps must bear too."""
    nodes = [
        helper.make_node("MultiThreshold", ["images"], ["steps"], domain="finn.custom_op.general"),
        helper.make_node("Conv", ["steps", "weights"], ["map"]),
        helper.make_node("Mul", ["map", "factor"], ["output"]),
    ]
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    made = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    constants = {"weights": np.ones((16, 3, 1, 1), np.float32), "factor": np.ones((16, 1, 1), np.float32)}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("finn.custom_op.general", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "finn", [given], [made], tensors), opset_imports=imports, ir_version=8
    )
    assert head_maps(Graph(model)) == ()
    with pytest.raises(UserError, match=r"MultiThreshold of the domain finn\.custom_op\.general \(1 of them\)"):
        fix_size(model, None)


def test_functions_are_inlined(exported):
    """As torch's dynamo exporter writes them: a function for each operator, names with `::` in them."""
    model = copy_of(exported)
    body = [
        helper.make_node("Sigmoid", ["self"], ["tmp"]),
        helper.make_node("Mul", ["self", "tmp"], ["return_val"]),
    ]
    opset = [helper.make_opsetid("", model.opset_import[0].version)]
    model.functions.append(helper.make_function("pkg.torch", "aten_silu::x", ["self"], ["return_val"], body, opset))
    model.opset_import.append(helper.make_opsetid("pkg.torch", 1))
    silu = {node.output[0]: node for node in model.graph.node if node.op_type == "Sigmoid"}
    for node in model.graph.node:
        if node.op_type == "Mul" and node.input[1] in silu and silu[node.input[1]].input[0] == node.input[0]:
            node.op_type, node.domain = "aten_silu::x", "pkg.torch"
            del node.input[1]
    assert sum(node.domain == "pkg.torch" for node in model.graph.node) > 20
    fixed, _ = fix_size(model, None)
    assert not fixed.functions
    after, _ = adapt(simplify(fixed, [], 0)[0], "split", [IMAGE], seed=0)
    assert not {node.domain for node in after.graph.node} - {"", "ai.onnx"}
    # What no node is of any more stops the toolkit, which converts to opset 19 by itself.
    assert [entry.domain for entry in after.opset_import] == [""]


def test_bfloat16_is_widened_without_a_change(exported):
    model = copy_of(exported)
    constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    resized = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:]}
    kept = [node.attribute[0].t for node in model.graph.node if node.output[0] in resized]
    for tensor in (*model.graph.initializer, *(tensor for tensor in constants if tensor not in kept)):
        if tensor.data_type == TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor)
            narrow = (wide.view(np.uint32) >> 16).astype(np.uint16)
            tensor.data_type, tensor.raw_data = TensorProto.BFLOAT16, narrow.tobytes()
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.elem_type = TensorProto.BFLOAT16
    fixed, _ = fix_size(model, None)
    assert {tensor.data_type for tensor in fixed.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in exported.graph.initializer}
    for tensor in fixed.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name in weights:
            now = numpy_helper.to_array(tensor)
            assert (now.view(np.uint32) == weights[tensor.name].view(np.uint32) & 0xFFFF0000).all()
    np.testing.assert_allclose(outputs_of(fixed)[0], outputs_of(exported)[0], atol=0.05 * 96)


@pytest.mark.parametrize(
    ("operators", "shape", "given", "form"),
    [
        # What a person says is of the model as it came: it takes 0..255 and divides by 255 itself.
        ([DIV_255], NCHW, {"scale": 1}, InputForm()),
        ([DIV_255], NCHW, {"channels": "bgr"}, InputForm("bgr")),
        ([DIV_255], NCHW, {"letterbox": "top_left", "fill": 0}, InputForm(letterbox="top_left", fill=0)),
        ([TO_FIRST, DIV_255], NHWC, {}, InputForm()),
        ([TURN, TO_FIRST], NHWC, {"channels": "bgr"}, InputForm()),
    ],
)
def test_what_is_given_is_of_the_graph_as_it_came(exported, operators, shape, given, form):
    model = with_front(exported, operators, shape)
    settled, origin = settle_input_form(fix_size(model, None, given)[0], given, model)
    assert settled == form and origin.endswith("the normalization found in the graph")


def test_channels_last_alone_leave_the_form_open(exported):
    for given, form in (({}, InputForm()), ({"channels": "bgr", "scale": 1}, InputForm("bgr", 1))):
        model = with_front(exported, [TO_FIRST], NHWC)
        settled, origin = settle_input_form(fix_size(model, None, given)[0], given, model)
        assert settled == form and origin.endswith("the default")


@pytest.mark.parametrize("head", HEADS)
def test_tensors_that_are_called_as_ours_are_no_matter(exported, head):
    """Outputs named `box_8` or `scores_8` in the user's own graph, and tensors inside it."""
    model = slim(exported)
    convolutions = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    names = dict(zip(convolutions, ["box_8", "scores_16", "box_32/decoded", "predictions", "objectness_8"]))
    names[model.graph.output[0].name] = "scores_8"
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for place, name in enumerate(tensors):
                tensors[place] = names.get(name, name)
    model.graph.output[0].name = "scores_8"
    del model.graph.value_info[:]
    after, record = adapt(model, head, [IMAGE], seed=0)
    expected, _ = adapt(slim(exported), head, [IMAGE], seed=0)
    assert record["box_px"] < 1e-3
    assert [output.name for output in after.graph.output] == [output.name for output in expected.graph.output]
    for now, before in zip(outputs_of(after), outputs_of(expected)):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("head", HEADS)
def test_maps_that_are_called_each_other_as_ours(exported, head):
    """A model that came split, its box maps named as our score maps, and the other way round."""
    model, _ = adapt(slim(exported), "split", [IMAGE], seed=0)
    swapped = {f"{one}_{stride}": f"{other}_{stride}" for stride in (8, 16, 32)
               for one, other in (("box", "scores"), ("scores", "box"))}  # fmt: skip
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = swapped.get(name, name)
    for output in model.graph.output:
        output.name = swapped[output.name]
    del model.metadata_props[:]
    del model.graph.value_info[:]
    after, _ = adapt(model, head, [IMAGE], seed=0)
    expected, _ = adapt(slim(exported), head, [IMAGE], seed=0)
    for now, before in zip(outputs_of(after), outputs_of(expected)):
        np.testing.assert_allclose(now, before, atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("operator", "opset"), [("Upsample", 9), ("Resize", 10)])
def test_resizing_of_old_opsets_samples_as_before(operator, opset, mode):
    """onnx's converter leaves opset 11's default, which samples at half pixels."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 96])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    scales = numpy_helper.from_array(np.array([1, 1, 1.5, 1.5], np.float32), "scales")
    nodes = [helper.make_node(operator, ["x", "scales"], ["y"], mode=mode)]
    graph = helper.make_graph(nodes, "g", [x], [y], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=5)
    fixed, _ = fix_size(model, None)
    assert fixed.opset_import[0].version == 11
    np.testing.assert_allclose(outputs_of(fixed)[0], outputs_of(model)[0], atol=1e-6)
