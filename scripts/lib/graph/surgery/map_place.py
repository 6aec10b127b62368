"""Where a family's maps lie in the outputs of a graph whose maker flattened, joined or transposed them."""

from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import OutputMap
from lib.detector.head import BOX
from lib.detector.output_spec import OutputSpec


@dataclass(frozen=True)
class MapPlace:
    """A map [1, channels, H/s, W/s] as a part of an output.

    output: its number among the graph's outputs. axis: the output's axis of channels; all other axes together are
    cells, in their order. channel, cell: the first of the map's, where others stand before it. logits: the values of
    the map are probabilities, and those of the output have yet to pass the sigmoid.
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
    """As the `read` of an OutputForm: the maps of the head `split` lie at `places`, and are decoded outside."""

    places: tuple[MapPlace, ...]

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C]."""
        maps = zip(self.places, spec.maps(), strict=True)
        return spec.family.decode_maps([place.taken(raw, output, spec.imgsz) for place, output in maps], spec.imgsz)


@dataclass(frozen=True)
class WithObjectness:
    """As the `read` of an OutputForm: one output [1, N, 5+C], decoded; with the `axis` of channels 1, [1, 5+C, N]."""

    axis: int = 2

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C], the objectness a factor of all scores."""
        [joined] = raw
        box, objectness, scores = np.split(np.moveaxis(joined[0], self.axis - 1, 1), (BOX, BOX + 1), axis=1)
        return np.concatenate([box, objectness * scores], axis=1).astype(np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The sigmoid of logits, in float32. tanh does not overflow where exp would."""
    return 0.5 * (1 + np.tanh(logits.astype(np.float32) / 2))
