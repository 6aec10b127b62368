"""What the raw outputs of a detector mean, and what it detects by them."""

import json
from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.data.letterbox import Letterbox
from lib.detector.families import Family, OutputMap
from lib.detector.head import EXPORTED, SELECTED, SINGLE, SPLIT, decode_joined, decode_selected
from lib.detector.instances import Instances
from lib.detector.nms import CONFIDENCE, IOU, MOST, detect
from lib.step.errors import UserError
from lib.step.typed_json import JsonRecord, from_metadata

METADATA_KEY = "rv1106.outputs"  # of an ONNX's metadata, which holds an OutputSpec as JSON


@dataclass(frozen=True)
class OutputSpec(JsonRecord):
    """All that decoding takes.

    head: whose shapes the outputs have (lib.detector.head). family: how maps become boxes and scores. task: what
    belongs to an instance besides. end2end: the predictions come from a one-to-one head and need no NMS. extras: the
    task's own maps, behind the outputs that the family decodes.
    """

    imgsz: ImageSize
    head: str
    family: Family
    classes: int
    task: str = "detect"
    end2end: bool = False
    extras: tuple[OutputMap, ...] = ()

    def __post_init__(self):
        if self.head not in (EXPORTED, SELECTED, SINGLE, SPLIT):
            raise ValueError(f"'{self.head}' is no head")
        if self.classes < 1:
            raise ValueError(f"{self.classes} classes are too few")

    def maps(self) -> tuple[OutputMap, ...]:
        """The outputs of the head `split`, in their order."""
        return (*self.family.maps(self.classes), *self.extras)

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C] of one image: cx, cy, w, h in input pixels, then class scores.

        raw: the model's outputs in their order. Raises UserError when their shapes are not the head's.
        """
        of_family = raw[: len(raw) - len(self.extras)]
        if self.head == SELECTED:
            return decode_selected(of_family, self.classes)
        if self.head == SPLIT:
            self._require_maps(raw)
            predictions = self.family.decode_maps(of_family, self.imgsz)
        else:
            points = self.family.points(self.imgsz)
            predictions = decode_joined(of_family, self.head, self.imgsz, points, self.classes)
        # The head `single` is limited in the model.
        return predictions if self.head == SINGLE else self.family.limited(predictions, self.imgsz)

    def instances(
        self,
        raw: list[np.ndarray],
        fit: Letterbox,
        confidence: float = CONFIDENCE,
        iou: float = IOU,
        most: int = MOST,
    ) -> Instances:
        """What raw outputs detect in an image that was letterboxed by `fit`."""
        return detect(self.predictions(raw), fit, confidence, None if self.end2end else iou, most)

    def to_metadata(self) -> dict[str, str]:
        """The spec as an ONNX's metadata."""
        return {METADATA_KEY: json.dumps(self.to_json())}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> "OutputSpec | None":
        """The spec that an ONNX's metadata holds, or None. Raises UserError when it is damaged."""
        return from_metadata(cls, metadata, METADATA_KEY)

    def _require_maps(self, raw: list[np.ndarray]) -> None:
        shapes, expected = [output.shape for output in raw], [output.shape(self.imgsz) for output in self.maps()]
        if shapes != expected:
            raise UserError(f"outputs {shapes} are not the 'split' head of {self.imgsz}: {expected} are expected")
