"""Oriented boxes: an angle for each prediction.

Conv 1 ─ Reshape ─ Concat ─ Sigmoid ─ Sub 0.25 ─ Mul pi ─ …     →     Conv 1 ─ Sigmoid ─ turn_S      [1, 1, H/S, W/S]
Conv 1 ─ Reshape ─ Concat ─ …                                   →     Conv 1 ─ angle_S               [1, 1, H/S, W/S]

The first is YOLOv8's and 11's: its turn is 0 to 1, the angle (turn - 0.25) pi. The second is YOLO26's, in radians.
Source: Ultralytics, nn/modules/head.py, OBB.forward_head and OBB26.forward_head.
"""

import numpy as np

from lib.detector.families import OutputMap
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import probabilities
from lib.graph.surgery.moved_maps import Part
from lib.graph.surgery.passes.cut_maps import own_tensor
from lib.graph.tasks import GraphTask, Reading, register
from lib.tasks.obb.maps import ANGLE, TURN


def recognize(reading: Reading) -> tuple[OutputMap, ...] | None:
    """Maps of an angle."""
    if reading.noise.shape[1] != 1 or reading.prototypes:
        return None
    if reading.is_made_by(reading.noise):
        return reading.of_strides(ANGLE, 1)
    turned = (probabilities(reading.noise) - 0.25) * np.float32(np.pi)
    return reading.of_strides(TURN, 1) if reading.is_made_by(turned) else None


def cut(graph: Graph, reading: Reading, prototypes: str | None) -> None:
    """Make turn_S or angle_S."""
    role = recognize(reading)[0].role
    for stride, source in zip(reading.strides, reading.maps):
        part = Part(source, 0, 1, 0)
        if role == ANGLE:
            own_tensor(graph, part, f"{ANGLE}_{stride}")
        else:
            own_tensor(graph, part, f"{TURN}_{stride}/logits")
            graph.add("Sigmoid", [f"{TURN}_{stride}/logits"], f"{TURN}_{stride}")


register(GraphTask("obb", recognize, cut))
