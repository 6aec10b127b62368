"""Adds the decoding of anchors as ONNX nodes, from the maps of every layer to one tensor of predictions.

box        ─ Reshape [1, 4, n] ┬ Slice ─ centres ─┐
                               └ Slice ─ sizes ───┴ Concat [1, 4, n] ┐
objectness ─ Reshape [1, 1, n] ┐                                     (Concat over layers) ─ Concat [1, 4+C, N]
scores     ─ Reshape [1, C, n] ┴ Mul ────────────────── [1, C, n] ───┘

The formulas, and the order of the maps, which makes a Transpose unnecessary, are in lib.detector.families.anchors.
"""

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.graph.surgery.graph import Graph

SMALLEST_EXPONENT = -20  # the toolkit needs a Clip with two limits; a box of e^-20 of the image is practically empty


def add_predictions(
    graph: Graph, family: Anchors, classes: int, imgsz: ImageSize, for_npu: bool, output: str = "predictions"
) -> str:
    """Append the nodes that compute the tensor `output` [1, 4+C, N] from the maps of all layers; return `output`.

    Boxes are cx, cy, w, h in input pixels. With `for_npu` they are divided by the input's width and height, sizes are
    limited to 1, and the exponential, which the RV1106 lacks, is built from Elu: e^u = elu(u) + 1 for u <= 0.
    """
    unit = np.array(imgsz if for_npu else (1, 1), np.float32).reshape(1, 2, 1)
    boxes, scores = [], []
    for layer in family.layers:
        count, names = layer.points(imgsz), (output.name for output in layer.maps(classes))
        box, objectness, probabilities = (
            graph.add("Reshape", [name, np.array([1, quantities, count], np.int64)], f"{name}/flat")
            for name, quantities in zip(names, (4, 1, classes))
        )
        centres = _centres(graph, layer, imgsz, _part(graph, box, 0, 2), unit)
        sizes = (_npu_sizes if for_npu else _sizes)(graph, layer, imgsz, _part(graph, box, 2, 4), unit)
        boxes.append(graph.add("Concat", [centres, sizes], f"{box}/pixels", axis=1))
        scores.append(graph.add("Mul", [probabilities, objectness], f"{probabilities}/product"))
    parts = [
        graph.add("Concat", parts, f"{output}/{name}", axis=2) for name, parts in (("boxes", boxes), ("scores", scores))
    ]
    return graph.add("Concat", parts, output, axis=1)


def _part(graph: Graph, box: str, first: int, end: int) -> str:
    """Quantities first..end-1 of a flat box map."""
    bounds = (np.array([bound], np.int64) for bound in (first, end, 1))
    return graph.add("Slice", [box, *bounds], f"{box}/{first}")


def _flat(values: np.ndarray, layer: AnchorLayer, imgsz: ImageSize) -> np.ndarray:
    """Values that broadcast to [2, A, H/s, W/s], as float32 [1, 2, n]."""
    shape = (2, len(layer.anchors), *layer.cells(imgsz))
    return np.broadcast_to(values, shape).reshape(1, 2, -1).astype(np.float32)


def _centres(graph: Graph, layer: AnchorLayer, imgsz: ImageSize, shift: str, unit: np.ndarray) -> str:
    if not layer.new_coords:
        shift = graph.add("Sigmoid", [shift], f"{shift}/sigmoid")
    scale = layer.scale_x_y
    offset = _flat(layer.cell_offsets(imgsz) + (1 - scale) / 2, layer, imgsz) * (layer.stride / unit)
    scaled = graph.add("Mul", [shift, np.float32(scale * layer.stride) / unit], f"{shift}/scaled")
    return graph.add("Add", [scaled, offset], f"{shift}/centre")


def _sizes(graph: Graph, layer: AnchorLayer, imgsz: ImageSize, logits: str, unit: np.ndarray) -> str:
    if layer.new_coords:
        factor, anchors = graph.add("Mul", [logits, logits], f"{logits}/square"), 4 * layer.anchor_sizes()
    else:
        factor, anchors = graph.add("Exp", [logits], f"{logits}/exp"), layer.anchor_sizes()
    return graph.add("Mul", [factor, _flat(anchors, layer, imgsz) / unit], f"{logits}/size")


def _npu_sizes(graph: Graph, layer: AnchorLayer, imgsz: ImageSize, logits: str, unit: np.ndarray) -> str:
    if layer.new_coords:
        sizes = _sizes(graph, layer, imgsz, logits, unit)
        return _clip(graph, sizes, 0, 1)
    # aw * e^tw = e^u of the image's width.
    offset = np.log(_flat(layer.anchor_sizes(), layer, imgsz) / unit)
    exponent = graph.add("Add", [logits, offset], f"{logits}/exponent")
    elu = graph.add("Elu", [_clip(graph, exponent, SMALLEST_EXPONENT, 0)], f"{logits}/elu", alpha=1.0)
    return graph.add("Add", [elu, np.ones((1, 1, 1), np.float32)], f"{logits}/size")


def _clip(graph: Graph, tensor: str, low: float, high: float) -> str:
    limits = (np.array(limit, np.float32) for limit in (low, high))
    return graph.add("Clip", [tensor, *limits], f"{tensor}/limited")
