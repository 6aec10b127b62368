"""Masks: coefficients for each prediction, and the prototypes that they weight.

Conv M ─ Reshape ─ Concat ─ …            →            Conv M ─ coefficients_S          [1, M, H/S, W/S]
… ─ Conv ─ … ─ output                    →            … ─ Conv ─ … ─ prototypes_4      [1, M, H/4, W/4], once
"""

from lib.detector.families import OutputMap
from lib.detector.families.sides import Sides
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.moved_maps import Part
from lib.graph.surgery.passes.cut_maps import own_tensor
from lib.graph.tasks import GraphTask, Reading, prototypes_map, register
from lib.tasks.segment.decoding import COEFFICIENTS

NAME = "segment"


def recognize(reading: Reading) -> tuple[OutputMap, ...] | None:
    """The maps of coefficients, and the same number of prototypes; None for other columns."""
    if reading.prototypes is None or not reading.is_made_by(reading.noise):
        return None
    channels = reading.noise.shape[1]
    if reading.prototypes.channels != channels:
        return None
    return (*reading.of_strides(COEFFICIENTS, channels), reading.prototypes)


def of_split(graph: Graph, masks: list[str], family: Sides) -> tuple[OutputMap, ...]:
    """The maps of a graph that was already split: `masks` are its coefficients and prototypes."""
    prototypes = prototypes_map(graph, masks[-1])
    return (*(OutputMap(COEFFICIENTS, stride, prototypes.channels) for stride in family.strides), prototypes)


def cut(graph: Graph, reading: Reading, prototypes: str) -> None:
    """Make coefficients_S and the prototypes."""
    for stride, source in zip(reading.strides, reading.maps):
        own_tensor(graph, Part(source, 0, reading.noise.shape[1], 0), f"{COEFFICIENTS}_{stride}")
    graph.rename(prototypes, reading.prototypes.name)


register(GraphTask(NAME, recognize, cut))
