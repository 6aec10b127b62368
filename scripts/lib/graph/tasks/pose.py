"""Keypoints: x and y and, with three values per keypoint, visibility.

Conv 3K ─ Reshape ┬ Slice x, y ─ Mul 2? ─ Add point ─ Mul stride ─┐               Conv 2K ─ keypoints_S
                  └ Slice visibility ─ Sigmoid ───────────────────┴ …      →      Conv 2K ─ keypoints_fine_S
                                                                                  Conv K ─ Sigmoid ─ visibility_S

Places and visibility have a map each because one scale for both costs INT8 accuracy. The fine map holds the same places
divided by REACH (lib.tasks.pose.keypoints). YOLOv8 and 11 place a keypoint at (2 v + cell)
strides, YOLO26 at (v + cell + 0.5): the map holds YOLO26's v. The others' factor 2 and offset -0.5 are folded into the
weights of the convolution.
Source of both formulas: Ultralytics, nn/modules/head.py, Pose.kpts_decode and Pose26.kpts_decode.
"""

import numpy as np

from lib.detector.families import OutputMap
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import probabilities
from lib.graph.surgery.moved_maps import Part
from lib.graph.surgery.passes.cut_maps import own_tensor
from lib.graph.tasks import GraphTask, Reading, register
from lib.tasks.pose.keypoints import FINE, KEYPOINTS, REACH, VISIBILITY

# The factor of v, and the offset: for YOLO26; for YOLOv8 and 11.
_FORMULAS = ((1.0, 0.0), (2.0, -0.5))


def recognize(reading: Reading) -> tuple[OutputMap, ...] | None:
    """The maps of x and y, coarse and fine, and, if the model has it, of visibility; None for other columns."""
    form = _form(reading)
    if form is None:
        return None
    values, _ = form
    count = reading.columns.shape[1] // values
    places = *reading.of_strides(KEYPOINTS, 2 * count), *reading.of_strides(FINE, 2 * count)
    return (*places, *reading.of_strides(VISIBILITY, count)) if values == 3 else places


def cut(graph: Graph, reading: Reading, prototypes: str | None) -> None:
    """Make keypoints_S, keypoints_fine_S and visibility_S."""
    values, (factor, offset) = _form(reading)
    channels = np.arange(reading.columns.shape[1])
    is_place = channels % values < 2
    for stride, source in zip(reading.strides, reading.maps):
        part = Part(source, 0, len(channels), 0)
        if values == 3:
            own_tensor(graph, part, f"{VISIBILITY}_{stride}/logits", channels[~is_place])
            graph.add("Sigmoid", [f"{VISIBILITY}_{stride}/logits"], f"{VISIBILITY}_{stride}")
        fine = factor / REACH, offset / REACH
        own_tensor(graph, part, f"{FINE}_{stride}", channels[is_place], *fine)
        own_tensor(graph, part, f"{KEYPOINTS}_{stride}", channels[is_place], factor, offset)


def _form(reading: Reading) -> tuple[int, tuple[float, float]] | None:
    """The number of values per keypoint, and the formula of its place; None if the columns are not keypoints."""
    count = reading.columns.shape[1]
    for values in (3, 2):
        if reading.noise.shape[1] != count or count % values:
            continue
        for factor, offset in _FORMULAS:
            points = reading.noise.reshape(-1, count // values, values).copy()
            points[..., :2] = (points[..., :2] * factor + offset + reading.points[:, None]) * reading.unit[:, None]
            points[..., 2:] = probabilities(points[..., 2:])
            if reading.is_made_by(points.reshape(-1, count)):
                return values, (factor, offset)
    return None


register(GraphTask("pose", recognize, cut))
