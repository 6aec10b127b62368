"""How predictions leave a graph, on the way from its exported form to a head."""

from dataclasses import dataclass, replace

import numpy as np

from lib.data.input_form import InputForm
from lib.detector.output_spec import OutputSpec


@dataclass(frozen=True)
class OutputForm:
    """What undoes the transforms of a graph's outputs.

    spec: what the outputs mean but for the rest. transposed: they are [1, N, 4+C]. sigmoid: the scores have passed it.
    clipped: centres of boxes lie in the image, and no box is larger. names: those of the outputs in the head's order,
    where the graph has another. input: the form that the model's makers give images in, None for the house's default.
    """

    spec: OutputSpec
    transposed: bool = False
    sigmoid: bool = True
    clipped: bool = False
    names: tuple[str, ...] | None = None
    input: InputForm | None = None

    def with_head(self, head: str, **changes) -> "OutputForm":
        """The form with the outputs of another head, and other `changes`."""
        return replace(self, spec=replace(self.spec, head=head), **changes)

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """The transforms undone: float32 [N, 4+C], boxes in pixels, scores in 0..1."""
        if self.transposed:
            raw = [output.transpose(0, 2, 1) for output in raw]
        predictions = self.spec.predictions(raw)
        if not self.sigmoid:
            # tanh does not overflow where exp would.
            predictions[:, 4:] = 0.5 * (1 + np.tanh(predictions[:, 4:] / 2))
        return predictions
