"""How predictions leave a graph, on the way from its exported form to a head."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lib.data.input_form import InputForm
from lib.detector.head import EXPORTED
from lib.detector.output_spec import OutputSpec


@dataclass(frozen=True)
class OutputForm:
    """What undoes the transforms of a graph's outputs.

    spec: what the outputs mean but for the rest. transposed: they are [1, N, 4+C]. sigmoid: the scores have passed it.
    clipped: centres of boxes lie in the image, and no box is larger. names: those of the outputs in the head's order,
    where the graph has another. read: makes predictions of raw outputs that have the shapes of no head, by a spec that
    says the rest; the spec's head then only says that they are as exported. input: the form that the model's makers
    give images in, None for the house's default.
    """

    spec: OutputSpec
    transposed: bool = False
    sigmoid: bool = True
    clipped: bool = False
    names: tuple[str, ...] | None = None
    read: Callable[[OutputSpec, list[np.ndarray]], np.ndarray] | None = None
    input: InputForm | None = None

    def with_head(self, head: str, **changes) -> "OutputForm":
        """The form with the outputs of another head, and other `changes`."""
        return replace(self, spec=replace(self.spec, head=head), read=None, **changes)

    @property
    def is_plain(self) -> bool:
        """Whether raw outputs, in their order, are what the spec says."""
        return self.sigmoid and not self.transposed and self.read is None

    @property
    def plain_spec(self) -> OutputSpec:
        """What outputs mean that went through `plain`."""
        return self.spec if self.is_plain else replace(self.spec, head=EXPORTED)

    def plain(self, raw: list[np.ndarray]) -> list[np.ndarray]:
        """Raw outputs, in the head's order, as `plain_spec` reads them."""
        return raw if self.is_plain else [self.predictions(raw).T[None]]

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """The transforms undone: float32 [N, 4+C], boxes in pixels, scores in 0..1."""
        if self.read:
            return self.spec.family.limited(self.read(self.spec, raw), self.spec.imgsz)
        if self.transposed:
            raw = [output.transpose(0, 2, 1) for output in raw]
        predictions = self.spec.predictions(raw)
        if not self.sigmoid:
            # tanh does not overflow where exp would.
            predictions[:, 4:] = 0.5 * (1 + np.tanh(predictions[:, 4:] / 2))
        return predictions
