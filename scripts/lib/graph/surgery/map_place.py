"""Where a family's map lies in the outputs of a graph whose maker flattened, joined or transposed the maps."""

from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import OutputMap
from lib.detector.output_spec import OutputSpec


@dataclass(frozen=True)
class MapPlace:
    """A map [1, channels, H/s, W/s] as a part of an output.

    output: its number among the graph's outputs. channels_last: the output is [1, cells, K], [cells, K] or
    [1, H, W, K], rather than [1, K, cells] or [1, K, H, W]. channel, cell: the first of the map's, where others stand
    before it. logits: the values of the map are probabilities, and those of the output have yet to pass the sigmoid.
    """

    output: int
    channels_last: bool = False
    channel: int = 0
    cell: int = 0
    logits: bool = False

    def taken(self, outputs: list[np.ndarray], output: OutputMap, imgsz: ImageSize) -> np.ndarray:
        """The map `output` of the raw outputs of a model for `imgsz`."""
        values = outputs[self.output]
        if values.ndim == 2:
            values = values[None]
        if self.channels_last:
            values = np.moveaxis(values, -1, 1)
        values = values.reshape(1, values.shape[1], -1)
        _, _, height, width = shape = output.shape(imgsz)
        part = values[:, self.channel : self.channel + output.channels, self.cell : self.cell + height * width]
        return probabilities(part.reshape(shape)) if self.logits else part.reshape(shape)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The sigmoid of logits, in float32. tanh does not overflow where exp would."""
    return 0.5 * (1 + np.tanh(logits.astype(np.float32) / 2))


@dataclass(frozen=True)
class PlacedMaps:
    """As the `read` of an OutputForm: the maps of the head `split` lie at `places`, and are decoded outside."""

    places: tuple[MapPlace, ...]

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C]."""
        maps = zip(self.places, spec.maps(), strict=True)
        return spec.family.decode_maps([place.taken(raw, output, spec.imgsz) for place, output in maps], spec.imgsz)
