"""Recognizes the anchor-free head of YOLOv8 and its successors by the graph's structure, never by node names."""

from dataclasses import dataclass

import onnx

from lib.detector.families import cells
from lib.detector.families.sides import SIDES, STRIDES
from lib.detector.head import BOX
from lib.graph.surgery.graph import Graph, attribute
from lib.step.errors import UserError

MAP_STRIDES = (4, 8, 16, 32, 64)  # P2 to P6; a head has some of them
PROTOTYPE_STRIDES = (2, 4, 8)  # in Ultralytics' models, half of the finest stride
EXPECTED = "a YOLO detector with one output [1, 4+classes, N] or [1, 300, 6] is expected"


@dataclass(frozen=True)
class Detector:
    """Names of the tensors that surgery cuts at.

    feature map ─ Conv ─ box map   ─ Reshape ─┐
                         (a stride each)      Concat ─ DFL? ─ … ─ boxes ───────┐
                  Conv ─ class map ─ Reshape ─┐                                Concat ─ Transpose? ─ output
                         (a stride each)      Concat ─ Sigmoid? ─ scores ──────┤        └ TopK, Gather … ─ output
                  Conv ─ task's map ─ Reshape ─┐                               │
                         (a stride each)      Concat ─ … ─ columns? ───────────┘
    … ─ Conv ─ … ─ prototypes? [1, M, H/4, W/4] ─ output

    The Concats over strides may be a single one followed by a Split; centres and sizes may be joined with the scores
    separately; and what a task adds may be joined with boxes and scores that were joined before. bins: R of a DFL (a
    Softmax over the bins of a side), 0 if the box map holds the sides' distances. boxes: [1, 4, N], or its first part.
    scores: [1, C, N]. columns: what a task adds, [1, E, N], or None. joined: their Concat, [1, 4+C+E, N]. box_maps:
    [1, 4*R, H, W], or [1, 4, H, W], largest first. class_maps: [1, C, H, W] likewise, before any sigmoid. sigmoids:
    their number on the class scores. transposed: the output is [1, N, 4+C+E]. end2end: the output is [1, K, 6+E], the
    K best predictions of a one-to-one head, which needs no NMS. prototypes: the output that masks are computed from.
    """

    bins: int
    boxes: str
    scores: str
    columns: str | None
    joined: str
    box_maps: tuple[str, ...]
    class_maps: tuple[str, ...]
    sigmoids: int
    transposed: bool
    end2end: bool
    prototypes: str | None

    def classes(self, graph: Graph) -> int:
        """The number of classes."""
        return graph.shape(self.scores)[1]

    def strides(self, graph: Graph) -> tuple[int, ...]:
        """The strides of the box maps, the finest first.

        Raises UserError when they are not consecutive strides, or the class maps have other ones.
        """
        strides = consecutive_strides(graph, self.box_maps)
        _require_cells(graph, self.class_maps, strides)
        return strides


def find_detector(graph: Graph) -> Detector:
    """The head of `graph`, found backwards from its output. Raises UserError with what is expected and found."""
    end2end, output = selects(graph), predictions_output(graph)
    joined, transposed = (_before_selection(graph, output), False) if end2end else _before_transpose(graph, output)
    node = graph.producer(joined)
    parts = None if node is None else _joined_parts(graph, node)
    if not parts:
        maker = "an input" if node is None else f"{node.op_type} of {len(node.input)}"
        raise UserError(
            f"the output is not a Concat of boxes and scores but {maker}{_resembles(graph, node, output)}; {EXPECTED}"
        )
    boxes, scores, columns = parts
    if sum(graph.shape(part)[1] for part in boxes) != BOX:
        raise UserError(
            f"the first part of the output has shape {list(graph.shape(boxes[0]))}, not [1, 4, N]; {EXPECTED}"
        )
    softmax = _dfl_softmax(graph, boxes)
    sides = _before_bins(graph, softmax.input[0]) if softmax else _before_corners(graph, boxes)
    box_maps = _sources(graph, sides, 0, graph.shape(sides)[1])
    class_maps = _sources(graph, scores, 0, graph.shape(scores)[1])
    passed = {sigmoids for _, sigmoids in class_maps}
    if len(passed) != 1:
        raise UserError(f"the class scores of the strides have different numbers of sigmoids: {sorted(passed)}")
    box_maps = _largest_first(graph, box_maps)
    return Detector(
        graph.shape(box_maps[0])[1] // len(SIDES) if softmax else 0,
        boxes[0],
        scores,
        columns,
        joined,
        box_maps,
        _largest_first(graph, class_maps),
        passed.pop(),
        transposed,
        end2end,
        next((name for name in _ends(graph) if name != output), None),
    )


def consecutive_strides(graph: Graph, maps) -> tuple[int, ...]:
    """The strides of feature `maps`, largest first. Raises UserError when they are not consecutive strides."""
    sizes = [graph.shape(name)[2:] for name in maps]
    for first in range(len(MAP_STRIDES) - len(sizes) + 1):
        strides = MAP_STRIDES[first : first + len(sizes)]
        if len(sizes) > 1 and sizes == _cells(graph, strides):
            return strides
    raise UserError(
        f"the outputs come from feature maps of {sizes} cells; consecutive strides, such as {STRIDES}, are expected"
    )


def require_strides(graph: Graph, maps) -> None:
    """Raise UserError unless `maps`, largest first, have strides 8, 16 and 32."""
    _require_cells(graph, maps, STRIDES)


def _require_cells(graph: Graph, maps, strides: tuple[int, ...]) -> None:
    """Raise UserError unless `maps`, largest first, have the `strides`."""
    expected, actual = _cells(graph, strides), [graph.shape(name)[2:] for name in maps]
    if actual != expected:
        raise UserError(
            f"the outputs come from feature maps of {actual} cells; strides {strides} would give {expected}"
        )


def predictions_output(graph: Graph) -> str:
    """The output with predictions: the only end, or the one besides prototypes. Raises UserError for other outputs."""
    return _beside_prototypes(graph) or _only_end(graph) or graph.output


def _ends(graph: Graph) -> list[str]:
    """The outputs that no other one is computed from, without those of a second head.

    Ultralytics' models also return what the predictions come from, such as maps, and YOLOv10 and 26 return it for both
    of their heads. Their own export leaves it out, PyTorch's does not.
    """
    inner = {graph.shape(name) for name in graph.outputs if graph.consumers(name)}
    return [name for name in graph.outputs if not graph.consumers(name) and graph.shape(name) not in inner]


def _only_end(graph: Graph) -> str | None:
    """The output that all others lead to, if it may be predictions; else None."""
    ends = _ends(graph)
    return ends[0] if len(ends) == 1 and len(graph.shape(ends[0])) == 3 else None


def _beside_prototypes(graph: Graph) -> str | None:
    """The output with predictions [1, N, K] or [1, K, N], if the other one is prototypes; else None."""
    shapes = {name: graph.shape(name) for name in _ends(graph)}
    if sorted(map(len, shapes.values())) != [3, 4]:
        return None
    predictions, prototypes = sorted(shapes, key=lambda name: len(shapes[name]))
    _, masks, height, width = shapes[prototypes]
    stride = graph.imgsz.height // height if height else 0
    is_map = stride in PROTOTYPE_STRIDES and cells(graph.imgsz, stride) == (height, width)
    return predictions if is_map and 0 < masks < max(shapes[predictions][1:]) else None


def selects(graph: Graph) -> bool:
    """Whether the output is the K best predictions, [1, K, 6+E], of an end-to-end head.

    Raises UserError for a graph that contains NMS, whose output looks the same.
    """
    output = graph.output if len(graph.outputs) == 1 else _beside_prototypes(graph) or _only_end(graph)
    if output is None or len(graph.shape(output)) != 3 or graph.shape(output)[2] < BOX + 2:
        return False
    kinds = {node.op_type for node in graph.upwards([output], lambda node: node.op_type == "Conv")}
    # A choice of the best has a fixed number of rows. Ultralytics' NMS of rotated boxes is a matrix of overlaps.
    if kinds & {"NonMaxSuppression", "NonZero", "Trilu"}:
        raise UserError("the model contains NMS, which the NPU cannot run; export it without NMS (nms=None)")
    return "TopK" in kinds


def _before_selection(graph: Graph, output: str) -> str:
    """What an end-to-end head selects from: its Concat [1, 4+C+E, N] of boxes and scores; without one, the output."""
    for node in graph.upwards([output], lambda node: node.op_type == "Conv"):
        parts = _joined_parts(graph, node)
        if parts and graph.shape(parts[0][0])[1:2] == (BOX,):
            return node.output[0]
    return output


def selected_from(graph: Graph) -> str | None:
    """The tensor [1, 4+C+E, N] that an end-to-end head selects from; None for another model, also one with NMS."""
    try:
        if not selects(graph):
            return None
    except UserError:
        return None
    output = predictions_output(graph)
    joined = _before_selection(graph, output)
    return None if joined == output else joined


def has_relative_boxes(graph: Graph, detector: Detector) -> bool:
    """Whether boxes are divided by the image's width and height: the graph multiplies by strides below 1."""
    points = graph.shape(detector.scores)[2]
    for node in graph.upwards([detector.boxes], lambda node: _is_feature_map(graph, node)):
        values = [graph.constant(name) for name in node.input] if node.op_type == "Mul" else []
        strides = [value for value in values if value is not None and value.shape[-1:] == (points,)]
        if strides:
            return bool(strides[0].max() < 1)
    return False


def _joined_parts(graph: Graph, node: onnx.NodeProto) -> tuple[list[str], str, str | None] | None:
    """What a Concat joins: boxes or their parts, scores, and what a task adds. None for any other Concat."""
    parts = _flat_parts(graph, node)
    channels = [graph.shape(part)[1:2] for part in parts]
    boxes = 2 if channels[:2] == [(BOX // 2,)] * 2 else 1
    if len(parts) - boxes not in (1, 2) or (len(parts) - boxes == 2 and boxes == 1 and channels[0] != (BOX,)):
        return None
    scores, *columns = parts[boxes:]
    return parts[:boxes], scores, columns[0] if columns else None


def _flat_parts(graph: Graph, node: onnx.NodeProto) -> list[str]:
    """The parts that a Concat of channels joins; a first part of boxes already joined with scores counts as two."""
    if node.op_type != "Concat" or _axis(graph, node) != 1:
        return []
    first, *others = node.input
    inner = graph.producer(first)
    if len(others) == 1 and inner is not None and graph.shape(first)[1:2] > (BOX,):
        return [*(_flat_parts(graph, inner) or [first]), *others]
    return [first, *others]


def _before_transpose(graph: Graph, tensor: str) -> tuple[str, bool]:
    """The tensor before a final Transpose to [1, N, 4+C], and whether there is such a Transpose."""
    node = graph.producer(tensor)
    if node is not None and node.op_type == "Transpose" and attribute(node, "perm") == [0, 2, 1]:
        return node.input[0], True
    return tensor, False


def _axis(graph: Graph, node: onnx.NodeProto) -> int:
    axis = attribute(node, "axis", 0)
    return axis if axis >= 0 else axis + len(graph.shape(node.output[0]))


def _resembles(graph: Graph, node: onnx.NodeProto | None, output: str) -> str:
    """The kind of network that such an output is known from, for a message."""
    shape = graph.shape(output)
    known = ""
    if len(shape) == 2:
        known = ", as classifiers have"
    elif len(shape) == 3 and shape[1] > shape[2] > 5 and shape[1] % 3 == 0:  # three anchors per cell
        known = ", as YOLOv5 with anchors has"
    return f" of shape {list(shape)}{known}"


def _dfl_softmax(graph: Graph, boxes: list[str]) -> onnx.NodeProto | None:
    """The Softmax of the DFL between the box maps and the boxes; None if there is none.

    Attention has Softmax nodes too, but before the box maps.
    """
    softmaxes = [
        node for node in graph.upwards(boxes, lambda node: _is_feature_map(graph, node)) if node.op_type == "Softmax"
    ]
    if len(softmaxes) > 1:
        raise UserError(f"the boxes come from {len(softmaxes)} Softmax nodes, not from a DFL's single one; {EXPECTED}")
    return softmaxes[0] if softmaxes else None


def _is_feature_map(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node makes a map of the cells of a stride. Decoding has no such tensors, because N is larger."""
    return graph.shape(node.output[0])[2:] in _cells(graph, MAP_STRIDES)


def _cells(graph: Graph, strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of the maps of each stride."""
    return [cells(graph.imgsz, stride) for stride in strides]


def _before_corners(graph: Graph, boxes: list[str]) -> str:
    """The distances [1, 4, N] of all strides from which a head without DFL computes its boxes."""
    for node in graph.upwards(boxes, lambda node: _is_feature_map(graph, node)):
        for tensor in node.input:
            if graph.shape(tensor)[1:2] == (BOX,) and _holds_strides(graph, tensor):
                return tensor
    raise UserError(f"the boxes come neither from a DFL nor from distances [1, 4, N]; {EXPECTED}")


def _holds_strides(graph: Graph, tensor: str) -> bool:
    """Whether `tensor` [1, K, N] is feature maps of several strides side by side, or some channels of that."""
    node = graph.producer(tensor)
    if node is None or len(graph.shape(tensor)) != 3:
        return False
    if node.op_type in ("Split", "Slice"):
        return _first_channel(graph, node, tensor) is not None and _holds_strides(graph, node.input[0])
    return node.op_type == "Concat" and _axis(graph, node) == 2


def _before_bins(graph: Graph, tensor: str) -> str:
    """The box logits [1, 4*R, N] before the Reshape and Transpose in front of the DFL's softmax."""
    while len(graph.shape(tensor)) != 3:
        node = graph.producer(tensor)
        if node is None or node.op_type not in ("Reshape", "Transpose"):
            maker = "an input" if node is None else node.op_type
            raise UserError(f"the DFL's Softmax reads {maker}, not reshaped box logits [1, 4*R, N]; {EXPECTED}")
        tensor = node.input[0]
    return tensor


def _sources(graph: Graph, tensor: str, first: int, count: int) -> list[tuple[str, int]]:
    """The 4-D feature maps with channels first … first+count-1 of `tensor`, and the number of sigmoids after each.

    Follows the channels up through Reshape, Concat (of strides or of channels), Split, Slice and Sigmoid.
    """
    node, shape = graph.producer(tensor), graph.shape(tensor)
    kind = "" if node is None else node.op_type
    if kind == "Sigmoid":
        return [(name, sigmoids + 1) for name, sigmoids in _sources(graph, node.input[0], first, count)]
    if kind == "Concat" and _axis(graph, node) == 2 and len(shape) == 3:
        return [source for name in node.input for source in _sources(graph, name, first, count)]
    if kind == "Concat" and _axis(graph, node) == 1:
        for name in node.input:
            channels = graph.shape(name)[1]
            if first >= 0 and first + count <= channels:
                return _sources(graph, name, first, count)
            first -= channels
    if kind in ("Split", "Slice") and (start := _first_channel(graph, node, tensor)) is not None:
        return _sources(graph, node.input[0], first + start, count)
    if kind == "Reshape" and len(shape) == 3 and graph.shape(node.input[0])[1:2] == shape[1:2]:
        return _sources(graph, node.input[0], first, count)
    if len(shape) == 4 and (first, count) == (0, shape[1]):
        return [(tensor, 0)]
    maker = f"{kind} '{node.name}'" if node else "an input"
    raise UserError(f"{maker} is where the feature maps of the strides should be joined; {EXPECTED}")


def _first_channel(graph: Graph, node: onnx.NodeProto, tensor: str) -> int | None:
    """The channel of a Split's or Slice's input at which `tensor` begins; None if it cuts along another axis."""
    if node.op_type == "Split":
        place = list(node.output).index(tensor)
        return sum(graph.shape(name)[1] for name in node.output[:place]) if _axis(graph, node) == 1 else None
    starts, axes = graph.constant(node.input[1]), graph.constant(node.input[3]) if len(node.input) > 3 else None
    if starts is None or axes is None or axes.tolist() != [1]:
        return None
    return int(starts[0])


def _largest_first(graph: Graph, maps: list[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(sorted((name for name, _ in maps), key=lambda name: -graph.shape(name)[2]))
