"""The head `single` of a model from Darknet: [yolo] decoded with what the NPU has, boxes divided by the input's size.

box_S, objectness_S, scores_S ─ decoding ─ output [1, 4+C, N]

                                 →  the same maps ─ decoding for the NPU ─ Reshape ─ output [1, 4+C, N, 1]
"""

import numpy as np

from lib.detector.anchors import from_metadata
from lib.graph.onnx_file import metadata
from lib.graph.surgery import darknet_split
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.proof import input_size
from lib.graph.surgery.yolo_nodes import add_predictions


def needed(graph: Graph) -> bool:
    """Whether the output has no fourth axis yet."""
    return len(graph.shape(graph.output)) == 3


def rewrite(graph: Graph) -> None:
    """Decode anew from the maps. Raises UserError when the graph lacks one."""
    layers, output = from_metadata(metadata(graph.model)), graph.output
    imgsz = input_size(graph.model)
    darknet_split.rewrite(graph)
    graph.tidy()
    predictions = add_predictions(graph, layers, imgsz, for_npu=True)
    shape = (1, 4 + layers[0].classes, sum(layer.predictions(imgsz) for layer in layers), 1)
    graph.add("Reshape", [predictions, np.array(shape, np.int64)], output)
    graph.set_outputs({output: shape})
