"""Cuts a model before the NMS in it, because the NPU cannot run NMS; as for every other model, NMS is done outside.

predictions [1, 4+C, N] ─ Transpose, Slice, Greater, GatherND … ─ NonMaxSuppression ─ … ─ [1, 300, 6]
                                                  →        predictions [1, 4+C, N]
boxes [1, N, 4], scores [1, N, C] ─ EfficientNMS_TRT     →      predictions [1, 4+C, N], joined here

The cut is at the last tensor that boxes and scores both come from and that a family of detectors recognizes. Proof:
each row that the graph itself outputs is among the predictions there, and the best prediction is among the rows. A
TensorRT plugin cannot run here, so the inputs of the plugin are compared instead of its rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper

from lib.detector.head import BOX
from lib.graph import families
from lib.graph.onnx_file import metadata
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.map_place import probabilities
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import float32_weights
from lib.graph.surgery.proof import HALF_TOLERANCE, TOLERANCE, Tolerance, noise_image
from lib.step.errors import UserError

OPERATOR = "NonMaxSuppression"
PLUGINS = ("EfficientNMS_TRT", "EfficientNMSX_TRT", "BatchedNMS_TRT", "BatchedNMSDynamic_TRT")
METADATA_KEY = "rv1106.nms"  # a key in a model's metadata between the two cuts for a plugin
MOST_CUTS, MOST_ROWS = 12, 100
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True)
class Nms:
    """The inputs of an NMS. boxes: a tensor [1, N, 4] of corners or, with `centres`, of cx, cy, w, h.

    scores: a tensor [1, C, N], for a plugin [1, N, C]. sigmoid: whether the plugin applies one to them.
    """

    operator: str
    boxes: str
    scores: str
    centres: bool
    sigmoid: bool = False

    @property
    def of_plugin(self) -> bool:
        """Whether the operator is a plugin, which onnxruntime cannot run."""
        return self.operator != OPERATOR


def before_plugin(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with an NMS plugin, changed to output the plugin's inputs; any other model unchanged."""
    node = next((node for node in model.graph.node if node.op_type in PLUGINS), None)
    if node is None:
        return model
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    # YOLOv7's export writes these attributes as lists of one number.
    centres, sigmoid = (bool(np.ravel(attribute(node, name, 0))[0] == 1) for name in ("box_coding", "score_activation"))
    nms = Nms(node.op_type, node.input[0], node.input[1], centres, sigmoid)
    del cut.graph.output[:]
    for name in (nms.boxes, nms.scores):
        cut.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    graph = Graph(cut)
    helper.set_model_props(graph.model, metadata(model) | {METADATA_KEY: json.dumps(vars(nms))})
    return graph.model


def nms_of(model: onnx.ModelProto) -> Nms | None:
    """The NMS in a model, or that of a plugin that was cut off; None if there is none."""
    if METADATA_KEY in metadata(model):
        return Nms(**json.loads(metadata(model)[METADATA_KEY]))
    node = next((node for node in model.graph.node if node.op_type == OPERATOR), None)
    if node is None:
        return None
    return Nms(OPERATOR, node.input[0], node.input[1], attribute(node, "center_point_box", 0) == 1)


def before_nms(model: onnx.ModelProto, nms: Nms, images: list[np.ndarray], seed: int) -> tuple[onnx.ModelProto, str]:
    """A copy of `model` whose output is the predictions that its NMS chooses from, and a sentence for the user.

    images: uint8 [H, W, C] in its InputForm, for the proof, besides noise. If no family recognizes any of the cuts, the
    outputs are boxes and scores. Raises UserError when a family recognizes one but the rows contradict it.
    """
    graph = Graph(model)
    images = [*images, noise_image(graph.imgsz, seed, graph.shape(graph.input)[1])]
    rows = [_rows(outputs, nms) for outputs in _given(graph, nms, images)]
    expected = rows if nms.centres else [_centred(each) for each in rows]
    tolerance = HALF_TOLERANCE if float32_weights.holds(model, float32_weights.HALF) else TOLERANCE
    objection = None
    for cut in _cuts(graph, nms):
        form = _recognized(cut)
        if form is None:
            continue
        try:
            _demand_rows(cut, form, expected, images, tolerance)
        except UserError as error:
            objection = objection or error
            continue
        count, what = sum(map(len, expected)), "boxes in its input" if nms.of_plugin else "rows in its output"
        compared = f"all {count} {what} are among the predictions" if count else f"there are no {what} to compare with"
        note = f"its NMS ({nms.operator}) is removed and done outside; {compared}"
        return _without_mark(cut), note
    if objection:
        raise objection
    _put_out(graph, (nms.boxes, nms.scores))
    note = f"its NMS ({nms.operator}) is removed: the outputs are the boxes and the scores in its input"
    return _without_mark(graph.model), note


def _given(graph: Graph, nms: Nms, images: list[np.ndarray]):
    """For each image, the outputs that show the predictions: rows, or the inputs of the NMS."""
    model, rows = graph.model, None if nms.of_plugin else _rows_output(graph)
    if not nms.of_plugin and rows is None:
        inside = Graph(model)
        _put_out(inside, (nms.boxes, nms.scores))
        model = inside.model
    session = open_session(model.SerializeToString())
    return [infer_image(session, image, rows and (rows,)) for image in images]


def _prototypes(graph: Graph) -> tuple[str, ...]:
    """The outputs that are maps: the prototypes of masks."""
    return tuple(name for name in graph.outputs if len(graph.shape(name)) == 4)


def _rows_output(graph: Graph) -> str | None:
    """The only output besides prototypes, if it is rows; None otherwise.

    Rows hold box, score, class and what a task adds or, as in YOLOv7, image, box, class and score.
    """
    names = [name for name in graph.outputs if name not in _prototypes(graph)]
    columns = graph.shape(names[0])[-1:] if len(names) == 1 else (0,)
    return names[0] if columns and columns[0] >= BOX + 2 else None


def _rows(outputs: list[np.ndarray], nms: Nms) -> np.ndarray:
    """Rows [K, 6] of box, score and class with a score above 0; from boxes and scores, the MOST_ROWS best."""
    if len(outputs) == 1:
        rows = outputs[0].reshape(-1, outputs[0].shape[-1]).astype(np.float32)
        if rows.shape[1] == BOX + 3:
            rows = rows[:, [1, 2, 3, 4, 6, 5]]
        return rows[rows[:, BOX] > 0, : BOX + 2]
    boxes, scores = outputs[0].reshape(-1, BOX), outputs[1]
    if not len(boxes):  # no score of a prediction was high enough to become an input of the NMS
        return np.zeros((0, BOX + 2), np.float32)
    scores = scores.reshape(len(boxes), -1) if nms.of_plugin else scores.reshape(-1, len(boxes)).T
    scores = probabilities(scores) if nms.sigmoid else scores
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    rows = np.concatenate([boxes, best[:, None], classes[:, None]], axis=1).astype(np.float32)
    return rows[np.argsort(-best)[:MOST_ROWS]]


def _cuts(graph: Graph, nms: Nms):
    """Yield models that output a tensor from which both boxes and scores come, the last first; then both joined."""
    order = {name: place for place, node in enumerate(graph.model.graph.node) for name in node.output}
    common = _ancestors(graph, nms.boxes) & _ancestors(graph, nms.scores) & set(order)
    shaped = [
        name
        for name in common
        if len(graph.shape(name)) == 3 and min(graph.shape(name)[1:]) > BOX and graph.dtype(name) in FLOATS
    ]
    for name in sorted(shaped, key=order.get, reverse=True)[:MOST_CUTS]:
        cut = Graph(graph.model)
        _put_out(cut, (name, *_prototypes(graph)))
        yield cut.model
        node = graph.producer(name)
        if node.op_type == "Concat" and len(node.input) in (2, 3) and graph.shape(node.input[0])[1:2] == (BOX,):
            boxes, scores, *columns = node.input
            yield _joined(graph, boxes, scores, False, columns)
    yield _joined(graph, nms.boxes, nms.scores, nms.centres)


def _joined(graph: Graph, boxes: str, scores: str, centres: bool, columns: Sequence[str] = ()) -> onnx.ModelProto:
    """A model that outputs predictions [1, 4+C+E, N] from boxes, as corners or centre and size, and scores.

    Either may have its channels last. columns: what a task adds, [1, E, N]; prototypes remain outputs.
    """
    cut = Graph(graph.model)
    points = max(graph.shape(boxes)[1:], default=0)
    boxes, scores = (_channels_first(cut, name, points) for name in (boxes, scores))
    parts = [boxes]
    if not centres:
        low, high = (
            cut.add(
                "Slice", [boxes, *(np.array([at], np.int64) for at in (first, first + 2, 1))], f"nms/corner_{first}"
            )
            for first in (0, 2)
        )
        both = cut.add("Add", [low, high], "nms/both")
        centre = cut.add("Mul", [both, np.array(0.5, np.float32)], "nms/centre")
        parts = [centre, cut.add("Sub", [high, low], "nms/size")]
    predictions = cut.add("Concat", [*parts, scores, *columns], "nms/predictions", axis=1)
    prototypes = _prototypes(graph) if columns else ()
    cut.set_outputs({predictions: None} | {name: graph.shape(name) for name in prototypes})
    cut.tidy()
    return cut.model


def _channels_first(graph: Graph, tensor: str, points: int) -> str:
    """A tensor [1, K, N], or one of shape [1, N, K] before or after a Transpose."""
    if graph.shape(tensor)[1:2] != (points,):
        return tensor
    node = graph.producer(tensor)
    if node is not None and node.op_type == "Transpose" and attribute(node, "perm") == [0, 2, 1]:
        return node.input[0]
    return graph.add("Transpose", [tensor], f"{tensor}/channels_first", perm=[0, 2, 1])


def _ancestors(graph: Graph, tensor: str) -> set[str]:
    """A tensor and all tensors that it is computed from."""
    return {tensor, *(name for node in graph.upwards([tensor]) for name in node.input)}


def _recognized(cut: onnx.ModelProto) -> OutputForm | None:
    """The form that the families recognize in a simplified cut; None if none does."""
    # Imported here: the import takes seconds, and most graphs have no NMS.
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(cut)
    try:
        return families.recognize(Graph(onnxslim.slim(copy)))
    except Exception:  # onnxslim has no error class of its own, and the reason does not matter here
        return None


def _demand_rows(
    cut: onnx.ModelProto, form: OutputForm, expected: list[np.ndarray], images: list[np.ndarray], tolerance: Tolerance
) -> None:
    """Raise UserError unless each row of `expected` is among its image's predictions, and the best of these is a row.

    Boxes of rows are centre and size, in pixels or divided by width and height.
    """
    session = open_session(cut.SerializeToString())
    predictions = [form.predictions(infer_image(session, image)) for image in images]
    unit = np.array([*form.spec.imgsz, *form.spec.imgsz, 1, 1], np.float32)
    # Predictions are limited to the bounds of their family; the graph's outputs may not be.
    limited = partial(form.spec.family.limited, imgsz=form.spec.imgsz)
    apart = min(
        max(_apart(predicted, limited(rows * scale), tolerance.score) for predicted, rows in zip(predictions, expected))
        for scale in (np.ones(BOX + 2, np.float32), unit)
    )
    best = max(
        (
            abs(predicted[:, BOX:].max() - rows[:, BOX].max())
            for predicted, rows in zip(predictions, expected)
            if len(rows)
        ),
        default=0.0,
    )
    if not (apart <= tolerance.box * max(form.spec.imgsz) and best <= tolerance.score):
        raise UserError(
            f"the model's predictions before its NMS differ from the NMS's output: boxes by up to {apart:.3g}"
            f" px, the best score by {best:.3g}; export it without NMS"
        )


def _apart(predicted: np.ndarray, rows: np.ndarray, rounding: float) -> float:
    """The largest distance, in pixels, of a row's box from the nearest prediction of its score and class."""
    worst = 0.0
    for *box, score, class_id in rows:
        if not 0 <= class_id < predicted.shape[1] - BOX:
            return np.inf
        alike = np.abs(predicted[:, BOX + int(class_id)] - score) <= rounding
        worst = max(worst, float(np.abs(predicted[alike, :BOX] - box).max(axis=1).min(initial=np.inf)))
    return worst


def _centred(rows: np.ndarray) -> np.ndarray:
    """Rows with corners as rows with centre and size."""
    low, high = rows[:, :2], rows[:, 2:BOX]
    return np.concatenate([(low + high) / 2, high - low, rows[:, BOX:]], axis=1)


def _put_out(graph: Graph, names: tuple[str, ...]) -> None:
    """Make tensors the outputs, and drop what they do not need."""
    graph.set_outputs({name: graph.shape(name) for name in names})
    graph.tidy()


def _without_mark(model: onnx.ModelProto) -> onnx.ModelProto:
    others = {key: value for key, value in metadata(model).items() if key != METADATA_KEY}
    helper.set_model_props(model, others)
    return model
