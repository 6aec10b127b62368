"""The form in which predictions leave a graph, between the exported graph and a head."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lib import tasks
from lib.data.input_form import InputForm
from lib.detector.head import BOX, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph.surgery.map_place import probabilities
from lib.tasks.task import Predicted


@dataclass(frozen=True)
class OutputForm:
    """Describes the transforms of a graph's outputs, and undoes them.

    spec: what the outputs mean, apart from the following. transposed: they are [1, N, 4+C]. relative: boxes are divided
    by the image's width and height. sigmoid: the scores are after the sigmoid. clipped: centres of boxes are inside the
    image, and no box is larger than it. names: the outputs in the head's order, if the graph's order differs. read:
    makes predictions from raw outputs whose shapes fit no head; the spec's head then only says that they are as
    exported. input: the input form of the model's authors, None for the default. input_of: which of their forms it is,
    and how the graph shows it, if they have had several.
    """

    spec: OutputSpec
    transposed: bool = False
    relative: bool = False
    sigmoid: bool = True
    clipped: bool = False
    names: tuple[str, ...] | None = None
    read: Callable[[OutputSpec, list[np.ndarray]], np.ndarray] | None = None
    input: InputForm | None = None
    input_of: str = ""

    def with_head(self, head: str, **changes) -> "OutputForm":
        """The form for the outputs of another head, with other `changes`."""
        return replace(self, spec=replace(self.spec, head=head), read=None, **{"relative": False} | changes)

    def undone(self, raw: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs with the transforms undone, as the spec describes them."""
        if self.read:
            return [self.read(self.spec, raw).T[None]]
        joined, *shared = raw
        if self.transposed:
            joined = joined.transpose(0, 2, 1)
        if self.relative:
            unit = np.array([*self.spec.imgsz, *self.spec.imgsz], np.float32)[:, None]
            joined = np.concatenate([joined[:, :BOX] * unit, joined[:, BOX:]], axis=1)
        raw = [joined, *shared]
        return raw if self.sigmoid else self._with_sigmoid(raw)

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C], boxes in pixels, scores in 0..1."""
        return self.predicted(raw).predictions

    def predicted(self, raw: list[np.ndarray]) -> Predicted:
        """The task's predictions in raw outputs, boxes in pixels, scores in 0..1."""
        return tasks.get(self.spec.task).predict(self.spec, self.undone(raw))

    def _with_sigmoid(self, raw: list[np.ndarray]) -> list[np.ndarray]:
        if self.spec.head == SPLIT:
            roles = (output.role for output in self.spec.maps())
            return [probabilities(values) if role == "scores" else values for role, values in zip(roles, raw)]
        joined, *shared = raw
        boxes, scores, columns = np.split(joined, (BOX, BOX + self.spec.classes), axis=1)
        return [np.concatenate([boxes, probabilities(scores), columns], axis=1), *shared]
