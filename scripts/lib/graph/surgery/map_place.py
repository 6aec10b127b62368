"""Where a family's maps are in the outputs of a graph whose author flattened, joined or transposed them."""

from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import OutputMap
from lib.detector.head import BOX
from lib.detector.output_spec import OutputSpec


@dataclass(frozen=True)
class MapPlace:
    """A map [1, channels, H/s, W/s] as a part of an output.

    output: its index among the graph's outputs. axis: the output's axis of channels; all other axes together are cells,
    in their order. channel, cell: where the map begins. logits: the map's values are probabilities, but the output's
    still need the sigmoid.
    """

    output: int
    axis: int
    channel: int = 0
    cell: int = 0
    logits: bool = False

    def taken(self, outputs: list[np.ndarray], output: OutputMap, imgsz: ImageSize) -> np.ndarray:
        """The map `output` of the raw outputs of a model for `imgsz`."""
        values = np.moveaxis(outputs[self.output], self.axis, 0)
        values = values.reshape(len(values), -1)
        _, _, height, width = shape = output.shape(imgsz)
        part = values[self.channel : self.channel + output.channels, self.cell : self.cell + height * width]
        return probabilities(part.reshape(shape)) if self.logits else part.reshape(shape)


@dataclass(frozen=True)
class PlacedMaps:
    """An OutputForm's `read`: the maps of the head `split` are at `places`, and are decoded outside."""

    places: tuple[MapPlace, ...]

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C]."""
        return spec.family.decode_maps(self.taken(spec, raw), spec.imgsz)

    def taken(self, spec: OutputSpec, raw: list[np.ndarray]) -> list[np.ndarray]:
        """The maps, [1, channels, H/s, W/s] each, in the order of the head `split`."""
        maps = zip(self.places, spec.maps(), strict=True)
        return [place.taken(raw, output, spec.imgsz) for place, output in maps]


@dataclass(frozen=True)
class WithObjectness:
    """An OutputForm's `read`: one decoded output [1, N, 5+C], or [1, 5+C, N] if the `axis` of channels is 1."""

    axis: int = 2

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C]; the scores are multiplied by the objectness."""
        [joined] = raw
        box, objectness, scores = np.split(np.moveaxis(joined[0], self.axis - 1, 1), (BOX, BOX + 1), axis=1)
        return np.concatenate([box, objectness * scores], axis=1).astype(np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The sigmoid of logits, in float32, by tanh, which does not overflow as exp would."""
    return 0.5 * (1 + np.tanh(logits.astype(np.float32) / 2))
