"""Recognizing the anchor-free head of YOLOv8 and its kin by the graph's structure, never by node names."""

from dataclasses import dataclass

import onnx

from lib.errors import UserError
from lib.surgery.graph import Graph, attribute

SIDES = 4
_RESHAPING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Flatten")
FIRST_OPSET = 13  # before it Softmax flattens everything behind its axis
_EXPECTED = "a YOLOv8-style detector with one output [1, 4+classes, N] is expected"


@dataclass(frozen=True)
class Detector:
    """Names of the tensors that surgery cuts at.

    feature map ─ Conv ─ box map  ─ Reshape ─┐
                         (a stride each)     Concat ─ DFL ─ … ─ boxes ──┐
                  Conv ─ class map ─ Reshape ─┐                         Concat ─ output [1, 4+C, N]
                         (a stride each)      Concat ─ Sigmoid ─ scores ┘
    """

    boxes: str
    scores: str
    box_maps: tuple[str, ...]
    class_maps: tuple[str, ...]
    sigmoids: int


def find_detector(graph: Graph) -> Detector:
    """The head of `graph`, found from its output backwards. Raises UserError saying what was expected and found."""
    if graph.opset < FIRST_OPSET:
        raise UserError(
            f"the model has opset {graph.opset}; its DFL with two Transposes is not handled; export with 13 or above"
        )
    output = graph.producer(graph.output)
    if (
        output is None
        or output.op_type != "Concat"
        or len(output.input) != 2
        or attribute(output, "axis") not in (1, -2)
    ):
        found = "nothing" if output is None else f"{output.op_type} of {len(output.input)}"
        raise UserError(f"the output '{graph.output}' is no Concat of boxes and scores (found: {found}); {_EXPECTED}")
    boxes, scores = output.input
    if graph.shape(boxes)[1:2] != (SIDES,):
        raise UserError(f"the first part of the output has shape {graph.shape(boxes)}, not [1, 4, N]; {_EXPECTED}")
    class_concat, sigmoids = _walk_to_concat(graph, scores)
    return Detector(boxes, scores, _maps(graph, _dfl_input(graph, boxes)), _maps(graph, class_concat), sigmoids)


def _walk_to_concat(graph: Graph, tensor: str) -> tuple[onnx.NodeProto, int]:
    """From `tensor` up through reshaping nodes and sigmoids to the Concat over strides; counts the sigmoids."""
    sigmoids = 0
    while (node := graph.producer(tensor)) is not None:
        if node.op_type == "Concat":
            return node, sigmoids
        if node.op_type == "Sigmoid":
            sigmoids += 1
        elif node.op_type not in _RESHAPING:
            raise UserError(f"{node.op_type} '{node.name}' stands where the strides should be joined; {_EXPECTED}")
        tensor = node.input[0]
    raise UserError(f"'{tensor}' leads to no Concat over the strides; {_EXPECTED}")


def _dfl_input(graph: Graph, boxes: str) -> onnx.NodeProto:
    """The Concat over strides that feeds the softmax of the DFL."""
    softmaxes, waiting, seen = [], [boxes], set()
    while waiting:
        node = graph.producer(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Softmax":
            softmaxes.append(node)
        else:
            waiting.extend(node.input)
    if len(softmaxes) != 1:
        raise UserError(f"the boxes come from {len(softmaxes)} Softmax nodes, not from the one of a DFL; {_EXPECTED}")
    return _walk_to_concat(graph, softmaxes[0].input[0])[0]


def _maps(graph: Graph, concat: onnx.NodeProto) -> tuple[str, ...]:
    """The 4-D feature map behind each input of the Concat over strides, largest first."""
    maps = []
    for tensor in concat.input:
        while len(graph.shape(tensor)) != 4:
            node = graph.producer(tensor)
            if node is None or node.op_type not in _RESHAPING:
                raise UserError(f"'{tensor}' is no reshaped feature map; {_EXPECTED}")
            tensor = node.input[0]
        maps.append(tensor)
    return tuple(sorted(maps, key=lambda name: -graph.shape(name)[2]))
