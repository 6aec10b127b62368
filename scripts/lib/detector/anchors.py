"""[yolo], Darknet's anchor-based head: what decoding needs to know of each layer, and predictions from its maps.

YOLOv3, Redmon and Farhadi 2018, https://arxiv.org/abs/1804.02767, section 2.1; `scale_x_y` and `new_coords` as in
https://github.com/AlexeyAB/darknet (src/yolo_layer.c). In cell (i, j) of a layer, for an anchor of width aw:

  cx = (i + (s(tx) - 0.5) * scale_x_y + 0.5) * stride        w = aw * exp(tw)        cy and h likewise
  score of a class = s(objectness) * s(class)                s: sigmoid

With `new_coords` the convolution before applies s to everything, and w = aw * (2 * s(tw))^2. Objectness below 0, which
INT8 can hold, counts as 0.

Of one layer with A anchors and C classes there are three maps, all in this order: first the quantity, then the anchor.

  box         [1, 4*A, H/s, W/s]   tx of every anchor, ty of every anchor, tw, th
  objectness  [1, A,   H/s, W/s]
  scores      [1, C*A, H/s, W/s]   the first class of every anchor, the second …
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.step.errors import UserError

METADATA_KEY = "rv1106.darknet"  # the ONNX metadata that holds the layers, as JSON


@dataclass(frozen=True)
class YoloLayer:
    """One [yolo] layer: its stride and its anchors (width, height) in input pixels, its classes and options."""

    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float
    new_coords: bool

    def cells(self, imgsz: ImageSize) -> tuple[int, int]:
        """Height and width of its maps."""
        return imgsz.height // self.stride, imgsz.width // self.stride

    def predictions(self, imgsz: ImageSize) -> int:
        """How many predictions it makes: one an anchor and cell."""
        height, width = self.cells(imgsz)
        return len(self.anchors) * height * width

    def cell_offsets(self, imgsz: ImageSize) -> np.ndarray:
        """i and j of every prediction, float32 [2, A, H/s, W/s]."""
        height, width = self.cells(imgsz)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        return np.stack([x, y])[:, None].repeat(len(self.anchors), axis=1)

    def anchor_sizes(self) -> np.ndarray:
        """aw and ah of every anchor, float32 [2, A, 1, 1]."""
        return np.array(self.anchors, np.float32).T[:, :, None, None]


def to_metadata(layers: tuple[YoloLayer, ...]) -> dict[str, str]:
    """The layers as ONNX metadata."""
    return {METADATA_KEY: json.dumps([asdict(layer) for layer in layers])}


def from_metadata(metadata: dict[str, str]) -> tuple[YoloLayer, ...]:
    """The layers that `to_metadata` wrote, in their order; none for a model that does not come from Darknet."""
    return tuple(
        YoloLayer(**layer | {"anchors": tuple(map(tuple, layer["anchors"]))})
        for layer in json.loads(metadata.get(METADATA_KEY, "[]"))
    )


def decode_maps(outputs: list[np.ndarray], layers: tuple[YoloLayer, ...], imgsz: ImageSize) -> np.ndarray:
    """Predictions float32 [N, 4+C] (cx, cy, w, h in input pixels, class scores) of the head `split`.

    `outputs` are box, objectness and scores of each layer in turn, the box map as the network gives it, the other two
    after sigmoid. Raises UserError when their shapes are not those of `layers`.
    """
    expected = [
        (1, quantities * len(layer.anchors), *layer.cells(imgsz))
        for layer in layers
        for quantities in (4, 1, layer.classes)
    ]
    if (found := [output.shape for output in outputs]) != expected:
        raise UserError(f"outputs {found} are not the 'split' head of this Darknet model at {imgsz}: {expected} is")
    # exp of a large logit is infinite; `decode` limits sizes to the input's.
    with np.errstate(over="ignore"):
        return np.concatenate(
            [_decode_layer(layer, imgsz, *outputs[3 * i : 3 * i + 3]) for i, layer in enumerate(layers)]
        ).astype(np.float32)


def _decode_layer(layer: YoloLayer, imgsz: ImageSize, box, objectness, scores) -> np.ndarray:
    """Predictions float64 [A*H*W, 4+C]; decode.h, which has another exp, then rounds them to the same float32."""
    box, objectness, scores = (
        each.reshape(-1, len(layer.anchors), *layer.cells(imgsz)).astype(np.float64)
        for each in (box, objectness, scores)
    )
    if layer.new_coords:
        shift, size = box[:2], (2 * box[2:]) ** 2
    else:
        shift, size = 1 / (1 + np.exp(-box[:2])), np.exp(box[2:])
    centre = (layer.cell_offsets(imgsz) + ((shift - 0.5) * layer.scale_x_y + 0.5)) * layer.stride
    quantities = np.concatenate([centre, size * layer.anchor_sizes(), np.maximum(objectness, 0) * scores])
    return quantities.reshape(len(quantities), -1).T
