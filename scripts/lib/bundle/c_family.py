"""What the C code of a model's family wants to know: its header, its levels, and details of each level."""

from typing import NamedTuple

import numpy as np

from lib.detector.anchors import YoloLayer
from lib.detector.head import ANCHORS, DFL, DISTANCES, STRIDES
from lib.detector.output_spec import OutputSpec

HEADERS = {DFL: "dfl.h", DISTANCES: "distances.h", ANCHORS: "anchors.h"}


class Level(NamedTuple):
    """The maps of one stride, or of one [yolo] layer: input pixels a cell, predictions in each cell."""

    stride: int
    per_cell: int


class CFamily(NamedTuple):
    """A family's header in this folder, a model's levels, and the initializers of their details, if there are some."""

    header: str
    levels: tuple[Level, ...]
    details: tuple[str, ...]


def c_family(family: str, spec: OutputSpec) -> CFamily:
    """What model.h tells of a model's family."""
    levels = tuple(Level(layer.stride, len(layer.anchors)) for layer in spec.darknet)
    return CFamily(
        HEADERS[family],
        levels or tuple(Level(stride, 1) for stride in STRIDES),
        tuple(map(_details, spec.darknet)),
    )


def c_number(value: float) -> str:
    """A float constant that reads back as the same float32."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _details(layer: YoloLayer) -> str:
    # decode.h multiplies by the float32 that Python multiplies by.
    sides = ", ".join("{" + ", ".join(c_number(np.float32(side)) for side in anchor) + "}" for anchor in layer.anchors)
    return f"{{{int(layer.new_coords)}, {float(layer.scale_x_y)!r}, {{{sides}}}}}"
