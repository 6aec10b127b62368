"""How predictions leave a graph, on the way from its exported form to a head."""

from dataclasses import dataclass, replace

import numpy as np

from lib.detector.head import BOX, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.surgery.map_place import MapPlace, probabilities


@dataclass(frozen=True)
class OutputForm:
    """What undoes the transforms of a graph's outputs.

    spec: what the outputs mean but for the rest. transposed: they are [1, N, 4+C]. sigmoid: the scores have passed it.
    clipped: centres of boxes lie in the image, and no box is larger. names: those of the outputs in the head's order,
    where the graph has another. objectness: the one output is [1, 5+C, N], with a factor of all scores behind the box.
    places: where the maps of the head `split` lie in the outputs, where they are not the outputs themselves.
    """

    spec: OutputSpec
    transposed: bool = False
    sigmoid: bool = True
    clipped: bool = False
    names: tuple[str, ...] | None = None
    objectness: bool = False
    places: tuple[MapPlace, ...] | None = None

    def with_head(self, head: str, **changes) -> "OutputForm":
        """The form with the outputs of another head, and other `changes`."""
        return replace(self, spec=replace(self.spec, head=head), **changes)

    def undone(self, raw: list[np.ndarray]) -> list[np.ndarray]:
        """The transforms undone: outputs as `spec` says that they are."""
        if self.transposed:
            raw = [output.transpose(0, 2, 1) for output in raw]
        if self.places is not None:
            maps = zip(self.places, self.spec.maps(), strict=True)
            raw = [place.taken(raw, output, self.spec.imgsz) for place, output in maps]
        if self.objectness:
            [joined] = raw
            factor, scores = joined[:, BOX : BOX + 1], joined[:, BOX + 1 :]
            raw = [np.concatenate([joined[:, :BOX], factor * scores], axis=1)]
        return raw if self.sigmoid else self._with_sigmoid(raw)

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C], boxes in pixels, scores in 0..1."""
        return self.spec.predictions(self.undone(raw))

    def _with_sigmoid(self, raw: list[np.ndarray]) -> list[np.ndarray]:
        if self.spec.head == SPLIT:
            roles = (output.role for output in self.spec.maps())
            return [probabilities(values) if role == "scores" else values for role, values in zip(roles, raw)]
        [joined] = raw
        return [np.concatenate([joined[:, :BOX], probabilities(joined[:, BOX:])], axis=1)]
