"""A model with NMS in it is cut before it, and what the NMS chooses from is proven to be its predictions."""

import numpy as np
import onnx
import pytest
from anchor_heads import ANCHORS, AnchorHead
from conftest import image
from onnx import TensorProto, helper, numpy_helper

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.graph import families
from lib.graph.onnx_file import load, metadata
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.pipeline import adapt
from lib.graph.surgery.prepare import before_nms
from lib.graph.surgery.prepare.behind_input import prepare
from lib.graph.surgery.simplify import simplify
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)
IMAGES = [letterbox(image(seed), SIZE)[0] for seed in range(3)]
POINTS, CLASSES = 126, 4
# x1, y1, x2, y2 of cx, cy, w, h, as a matrix from the right.
TO_CORNERS = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)


def taken(model, note):
    """The split head of a model with NMS, through every step; `note` is what is said of it."""
    fixed, _ = fix_size(model, None)
    prepared, notes = prepare(fixed, IMAGES, 0)
    assert notes and note in notes[0]
    assert not {"NonMaxSuppression", "EfficientNMS_TRT"} & {node.op_type for node in prepared.graph.node}
    assert before_nms.METADATA_KEY not in metadata(prepared)
    simplified, _ = simplify(prepared, IMAGES, 0)
    assert families.recognize(Graph(simplified)).spec.classes == CLASSES
    after, record = adapt(simplified, "split", IMAGES, seed=0)
    assert [output.name for output in after.graph.output][:2] == ["box_8", "scores_8"]
    return record


class Head:
    """Nodes behind the output [1, 4+C, N] of an export."""

    def __init__(self, model):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.output = self.model.graph.output[0].name
        del self.model.graph.output[:]

    def add(self, operator, inputs, output, **attributes):
        names = []
        for place, value in enumerate(inputs):
            if not isinstance(value, str):
                self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{output}/{place}"))
                value = f"{output}/{place}"
            names.append(value)
        outputs = [output] if isinstance(output, str) else output
        self.model.graph.node.append(helper.make_node(operator, names, outputs, name=f"nms/{outputs[0]}", **attributes))
        return output

    def boxes_and_scores(self, corners):
        """Boxes [1, N, 4] and scores [1, N, C] of the joined predictions."""
        last = self.add("Transpose", [self.output], "last", perm=[0, 2, 1])
        boxes = self.add("Slice", [last, [0], [4], [2]], "sliced_boxes")
        scores = self.add("Slice", [last, [4], [4 + CLASSES], [2]], "sliced_scores")
        return self.add("MatMul", [boxes, TO_CORNERS], "corners") if corners else boxes, scores

    def apart(self, logits):
        """Boxes [1, N, 4] and scores [1, N, C] that were never joined."""
        nodes = {name: node for node in self.model.graph.node for name in node.output}
        boxes, scores = nodes[self.output].input
        scores = nodes[scores].input[0] if logits else scores
        return [
            self.add("Transpose", [name], f"{place}/last", perm=[0, 2, 1]) for place, name in enumerate((boxes, scores))
        ]

    def plugin(self, boxes, scores, domain, **attributes):
        outputs = {"count": (6, [1, 1]), "boxes": (1, [1, 50, 4]), "scores": (1, [1, 50]), "classes": (6, [1, 50])}
        self.model.graph.node.append(
            helper.make_node("EfficientNMS_TRT", [boxes, scores], [f"det_{name}" for name in outputs], domain=domain,
                             score_threshold=0.25, iou_threshold=0.5, **attributes)
        )  # fmt: skip
        for name, (kind, shape) in outputs.items():
            self.model.graph.output.append(helper.make_tensor_value_info(f"det_{name}", kind, shape))
        if domain:
            self.model.opset_import.append(helper.make_opsetid(domain, 1))
        return self.model

    def rows(self, boxes, scores, shift=0.0):
        """NMS as YOLOv7's exporter writes it: rows of image, corners, class, score. `shift` moves the boxes."""
        first = self.add("Transpose", [scores], "classes_first", perm=[0, 2, 1])
        limits = [np.array([50]), np.array([0.5], np.float32), np.array([0.25], np.float32)]
        chosen = self.add("NonMaxSuppression", [boxes, first, *limits], "chosen")
        place, kind, row = (self.add("Gather", [chosen, [at]], name, axis=1) for at, name in enumerate(("b", "c", "r")))
        where = self.add("Concat", [place, row], "where", axis=1)
        picked = self.add("GatherND", [boxes, where], "picked")
        picked = self.add("Add", [picked, np.float32(shift)], "moved")
        score = self.add("GatherND", [first, self.add("Concat", [place, kind, row], "which", axis=1)], "score")
        score = self.add("Unsqueeze", [score, [1]], "column")
        place, kind = (self.add("Cast", [name], f"{name}/float", to=TensorProto.FLOAT) for name in (place, kind))
        self.add("Concat", [place, picked, kind, score], "rows", axis=1)
        self.model.graph.output.append(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["found", 7]))
        onnx.checker.check_model(self.model)
        return self.model


@pytest.fixture(scope="module")
def exported(export):
    return export(opset=17)[1]


@pytest.mark.parametrize("agnostic", [False, True])
def test_an_export_of_ultralytics_with_nms(export, agnostic):
    model = export(opset=17, nms=True, agnostic_nms=agnostic)[1]
    record = taken(model, "its NMS (NonMaxSuppression) is removed and done outside; all ")
    assert record["box_px"] < 1e-3


def test_rows_as_yolov7_has_them(exported):
    head = Head(exported)
    taken(head.rows(*head.boxes_and_scores(corners=True)), "rows in its output are among the predictions")


def test_rows_that_are_no_predictions_are_one_sentence(exported):
    head = Head(exported)
    model = head.rows(*head.boxes_and_scores(corners=True), shift=1.5)
    with pytest.raises(UserError, match=r"the model's predictions before its NMS differ .*boxes by up to 1.5 px"):
        prepare(model, IMAGES, 0)


@pytest.mark.parametrize("domain", ["TRT", ""])
@pytest.mark.parametrize("corners", [True, False])
def test_a_plugin_of_tensorrt(exported, tmp_path, corners, domain):
    head = Head(exported)
    model = head.plugin(*head.boxes_and_scores(corners), domain, box_coding=int(not corners))
    onnx.save(model, tmp_path / "m.onnx")
    taken(load(tmp_path / "m.onnx"), "its NMS (EfficientNMS_TRT) is removed and done outside; all 400 boxes")


@pytest.mark.parametrize("logits", [True, False])
def test_a_plugin_that_is_given_boxes_and_scores_apart(exported, logits):
    head = Head(exported)
    model = head.plugin(*head.apart(logits), "TRT", box_coding=1, score_activation=int(logits))
    record = taken(model, "its NMS (EfficientNMS_TRT) is removed")
    assert ("one_sigmoid" in [each["pass"] for each in record["passes"]]) == logits


def test_nms_for_several_images_is_one_sentence(export):
    with pytest.raises(UserError, match="NMS for 2 images at once; export it with batch 1, or without NMS"):
        fix_size(export(opset=17, nms=True, batch=2)[1], None)


def test_what_no_family_knows_puts_out_boxes_and_scores():
    """Another network, whose boxes come from one map by a form of their own."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"], strides=[8, 8]),
        helper.make_node("Reshape", ["map", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["last"], perm=[0, 2, 1]),
        helper.make_node("Split", ["last", "sizes"], ["boxes", "scores"], axis=2),
        helper.make_node("Exp", ["boxes"], ["corners"]),
    ]
    weights = np.random.default_rng(0).normal(size=(9, 3, 8, 8)).astype(np.float32) * 0.01
    constants = {"w": weights, "shape": np.array([1, 9, 96]), "sizes": np.array([4, 5])}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 96])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "other", [x], [helper.make_tensor_value_info("y", 1, None)], initializers)
    head = Head(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    fixed, _ = fix_size(head.plugin("corners", "scores", "TRT"), None)
    prepared, [note] = prepare(fixed, IMAGES, 0)
    assert note.endswith("the outputs are the boxes and the scores in its input")
    assert [output.name for output in prepared.graph.output] == ["corners", "scores"]


def test_metadata_that_says_end_to_end_of_all_predictions_is_contradicted(exported):
    """Issue: no NMS at all for a one-to-many head lost half of the mAP."""
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    helper.set_model_props(model, metadata(exported) | {"end2end": "True"})
    prepared, [note] = prepare(model, IMAGES, 0)
    assert "its metadata says end2end, but it outputs all predictions" in note
    assert not families.recognize(Graph(simplify(prepared, [], 0)[0])).spec.end2end


@pytest.mark.parametrize("plugin", [True, False])
def test_nms_behind_anchors(plugin):
    """Boxes larger than the image are within bounds as predictions; YOLOv7's export writes attributes as lists."""
    maker = AnchorHead(CLASSES, size=SIZE)
    rows = maker.joined(maker.decoded())
    boxes, scores = maker.apart(rows, corners=not plugin)
    boxes = maker.graph.add("Reshape", [boxes, np.array([1, -1, 4])], "boxes_of_nms")
    head = Head(maker.finish(rows))
    model = head.plugin(boxes, scores, "TRT", box_coding=[1]) if plugin else head.rows(boxes, scores)
    prepared, notes = prepare(fix_size(model, None)[0], IMAGES, 0)
    assert "is removed" in notes[0]
    form = families.recognize(Graph(simplify(prepared, IMAGES, 0)[0]))
    assert tuple(layer.anchors for layer in form.spec.family.layers) == ANCHORS


def test_nms_that_keeps_nothing_is_no_proof(export):
    model, _ = fix_size(export("yolov8n", opset=17, nms=True, conf=0.99)[1], None)
    _, [note] = prepare(model, [], 0)
    assert note.endswith("is removed and done outside; there are no rows in its output to compare with")
