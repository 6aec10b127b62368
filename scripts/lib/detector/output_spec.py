"""The meaning of a detector's raw outputs, and the predictions in them."""

import json
from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import Family, OutputMap, cells_first
from lib.detector.head import AS_IS, BOX, EXPORTED, SELECTED, SINGLE, SPLIT, decode_joined, decode_selected
from lib.step.errors import UserError
from lib.step.typed_json import JsonRecord, from_metadata

METADATA_KEY = "rv1106.outputs"  # the key in an ONNX's metadata that holds an OutputSpec as JSON


@dataclass(frozen=True)
class OutputSpec(JsonRecord):
    """Everything that decoding needs.

    head: says which shapes the outputs have (lib.detector.head); `as_is` only for a classifier. family: how maps become
    boxes and scores. task: what an instance has besides. end2end: whether the predictions come from a one-to-one head
    and need no NMS. extras: the task's own maps of the head `split`, role by role, after those of the family. A role
    with a map for every stride belongs to each prediction; a map that all predictions share comes last.
    """

    imgsz: ImageSize
    head: str
    family: Family
    classes: int
    task: str = "detect"
    end2end: bool = False
    extras: tuple[OutputMap, ...] = ()

    def __post_init__(self):
        if self.head not in (EXPORTED, SELECTED, SINGLE, SPLIT, AS_IS):
            raise ValueError(f"'{self.head}' is not a head")
        if self.classes < 1:
            raise ValueError(f"{self.classes} classes are too few")

    def maps(self) -> tuple[OutputMap, ...]:
        """The outputs of the heads `split` and `as_is`, in their order."""
        return (*self.family.maps(self.classes), *self.extras)

    @property
    def shared_maps(self) -> tuple[OutputMap, ...]:
        """The maps in `extras` that all predictions share."""
        strides = self.family.strides
        return tuple(
            output
            for output in self.extras
            if {other.stride for other in self.extras if other.role == output.role} != set(strides)
        )

    @property
    def columns(self) -> int:
        """E, how many numbers of the task follow the scores of a prediction in the head `exported`."""
        own = [output for output in self.extras if output not in self.shared_maps and not output.is_finer]
        return sum(output.channels for output in own) // len(self.family.strides)

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C] of one image: cx, cy, w, h in input pixels, then class scores.

        raw: the model's outputs in their order. Raises UserError when their shapes do not fit the head.
        """
        if self.head in (SPLIT, AS_IS):
            self._require_maps(raw)
            predictions = self.family.decode_maps(raw[: len(raw) - len(self.extras)], self.imgsz)
        else:
            self._require_shared(raw)
            if self.head == SELECTED:
                return decode_selected(raw[:1], self.classes, self.columns)
            points = self.family.points(self.imgsz)
            predictions = decode_joined(raw[:1], self.head, self.imgsz, points, self.classes, self.columns)
        # The head `single` is limited inside the model.
        return predictions if self.head == SINGLE else self.family.limited(predictions, self.imgsz)

    def joined_columns(self, raw: list[np.ndarray]) -> np.ndarray:
        """The task's numbers after the scores in the heads `exported` and `selected`, float32 [N, E]."""
        if self.head == SELECTED:
            return raw[0][0, :, BOX + 2 :].astype(np.float32)
        return raw[0].reshape(-1, raw[0].shape[2])[BOX + self.classes :].T.astype(np.float32)

    def cell_values(self, raw: list[np.ndarray], role: str) -> np.ndarray:
        """The values of a task's maps of `role` for each prediction, float32 [N, channels], in the head `split`.

        Raises KeyError when the model has no such maps.
        """
        maps = dict(zip(self.maps(), raw, strict=True))
        of_role = [values for output, values in maps.items() if output.role == role]
        if not of_role:
            raise KeyError(role)
        return cells_first(of_role)

    def shared(self, raw: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The raw outputs that all predictions share, for any head."""
        return tuple(raw[len(raw) - len(self.shared_maps) :])

    def to_metadata(self) -> dict[str, str]:
        """The spec as an ONNX's metadata."""
        return {METADATA_KEY: json.dumps(self.to_json())}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> "OutputSpec | None":
        """The spec that an ONNX's metadata holds, or None. Raises UserError when it is damaged."""
        return from_metadata(cls, metadata, METADATA_KEY)

    def _require_shared(self, raw: list[np.ndarray]) -> None:
        """Raise UserError unless the outputs after the joined predictions are the maps that all predictions share."""
        shapes, expected = (
            [output.shape for output in raw[1:]],
            [output.shape(self.imgsz) for output in self.shared_maps],
        )
        if shapes != expected:
            raise UserError(f"outputs {shapes} after the predictions are not those of '{self.task}': {expected}")

    def _require_maps(self, raw: list[np.ndarray]) -> None:
        shapes, expected = [output.shape for output in raw], [output.shape(self.imgsz) for output in self.maps()]
        if shapes != expected:
            raise UserError(f"outputs {shapes} are not the '{self.head}' head of {self.imgsz}: {expected} are expected")
