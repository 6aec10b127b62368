"""The head `split` of a model from Darknet: the maps that lib.graph.darknet.convert named become the outputs.

… ─ Conv           ─ box_S        ─┐                     box_S         [1, 4*A, H/S, W/S]
… ─ Conv ─ Sigmoid ─ objectness_S ─┼ … ─ output    →     objectness_S  [1, A,   H/S, W/S]
… ─ Conv ─ Sigmoid ─ scores_S     ─┘                     scores_S      [1, C*A, H/S, W/S]
"""

from lib.detector.anchors import from_metadata
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.yolo_nodes import map_names
from lib.step.errors import UserError


def needed(graph: Graph) -> bool:
    """Whether the maps are not the outputs yet."""
    return len(graph.outputs) == 1


def rewrite(graph: Graph) -> None:
    """Make the maps of every [yolo] layer the outputs. Raises UserError when the graph lacks one."""
    layers = from_metadata(metadata(graph.model))
    maps = {name: graph.shape(name) for layer in layers for name in map_names(layer)}
    if missing := [name for name, shape in maps.items() if len(shape) != 4]:
        raise UserError(f"the graph lacks the maps {', '.join(missing)} that its metadata tells of; convert it anew")
    graph.set_outputs(maps)
