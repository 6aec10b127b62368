"""What the raw outputs of a detector mean, and what it detects by them."""

from dataclasses import dataclass

import numpy as np

from lib.data.imgsz import ImageSize
from lib.data.letterbox import Letterbox
from lib.detector.anchors import YoloLayer, from_metadata
from lib.detector.head import END2END_KEY, EXPORTED, HEAD_KEY, SELECTED, SIDES, class_count, decode
from lib.detector.instances import Instances
from lib.detector.nms import CONFIDENCE, IOU, MOST, detect
from lib.step.errors import UserError


@dataclass(frozen=True)
class OutputSpec:
    """What decoding takes: input size, head, number of classes, [yolo] layers of a Darknet model.

    end2end: the predictions come from a one-to-one head and need no NMS. task: a folder's name in lib.tasks.
    """

    imgsz: ImageSize
    head: str
    classes: int
    darknet: tuple[YoloLayer, ...] = ()
    end2end: bool = False
    task: str = "detect"

    def predictions(self, raw: list[np.ndarray]) -> np.ndarray:
        """Predictions float32 [N, 4+C] of raw outputs: cx, cy, w, h in input pixels, scores. As `decode`."""
        return decode(raw, self.head, self.imgsz, self.darknet, self.classes)

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


def outputs_by_metadata(metadata: dict[str, str], shapes: list, imgsz: ImageSize, names: list[str]) -> OutputSpec:
    """What an ONNX's `metadata`, shapes of outputs and class `names`, if it tells some, say of its outputs.

    Raises UserError when the outputs are no detector's.
    """
    darknet, end2end = from_metadata(metadata), is_end2end(metadata)
    selected = end2end and len(shapes) == 1 and list(shapes[0][2:]) == [SIDES + 2]
    head = metadata.get(HEAD_KEY, SELECTED if selected else EXPORTED)
    if head != SELECTED:
        return OutputSpec(imgsz, head, class_count(shapes, head, darknet), darknet, end2end)
    if not names:
        raise UserError("the model is end-to-end, and its metadata names no classes; export it by Ultralytics")
    return OutputSpec(imgsz, head, len(names), end2end=True)


def is_end2end(metadata: dict[str, str]) -> bool:
    """Whether an ONNX's metadata says that its head is one-to-one: our surgery writes it, and Ultralytics' export."""
    return END2END_KEY in metadata or metadata.get("end2end") == "True"
