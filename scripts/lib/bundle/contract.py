"""The contract of a bundle, model.json: everything that a program needs to use the model."""

from dataclasses import dataclass
from pathlib import Path

from lib import tasks
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.detector import families
from lib.detector.families import OutputMap
from lib.detector.head import SINGLE
from lib.detector.nms import CONFIDENCE
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnTensor
from lib.npu.verdict import Verdict
from lib.results.sweep import Variant
from lib.step.errors import UserError
from lib.step.typed_json import JsonRecord, omitted_if_none

CONTRACT = "model.json"
PREDICTIONS = "predictions"  # the role of the only output of the head `single`


@dataclass(frozen=True)
class LetterboxSpec(JsonRecord):
    """How an image is fitted into the input: the grey around it, and formulas for its size and position.

    fill: one value per channel. place: `top_left`, `stretch` or `crop` if the image is not centred.
    """

    fill: tuple[int, ...]
    scale: str
    resized: str
    left: str
    top: str
    place: str | None = omitted_if_none()


@dataclass(frozen=True)
class InputSpec(JsonRecord):
    """The model's input: size in pixels, layout and type, and the normalization that the model does itself."""

    name: str
    width: int
    height: int
    shape: tuple[int, int, int, int]
    layout: str
    dtype: str
    colour_order: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalization: str
    letterbox: LetterboxSpec

    def __post_init__(self):
        if len(self.letterbox.fill) != self.form.depth or self.shape != (1, self.height, self.width, self.form.depth):
            raise ValueError(
                f"an input of shape {self.shape}, filled with {self.letterbox.fill}, does not fit {self.colour_order}"
            )

    @property
    def form(self) -> InputForm:
        """The input form of the model, which normalizes pixels 0..255 itself."""
        fitting = self.letterbox
        channels, place = self.colour_order.lower(), fitting.place or InputForm.letterbox
        return InputForm(channels, 1, self.mean, self.std, place, fitting.fill[0])

    @property
    def imgsz(self) -> ImageSize:
        """The input's size."""
        return ImageSize(self.width, self.height)


@dataclass(frozen=True)
class OutputTensor(JsonRecord):
    """One output as it is in memory: `real = (stored - zero_point) * scale`.

    shape: [batch, channel, height, width]. native_shape: NC1HWC2, [batch, C1, height, width, C2], with
    `padding_channels` unused channels. channels: range of channels (`first to last`) → what they hold. The box map of
    an anchor-based family also has its anchors: width and height in input pixels. role: for a map of the task, its
    name in the task.
    """

    index: int
    name: str
    shape: tuple[int, int, int, int]
    layout: str
    native_shape: tuple[int, int, int, int, int]
    padding_channels: int
    bytes: int
    dtype: str
    scale: float
    zero_point: int
    strides: tuple[int, ...]
    channels: dict[str, str]
    anchors: tuple[tuple[float, float], ...] | None = omitted_if_none()
    scale_x_y: float | None = omitted_if_none()
    new_coords: bool | None = omitted_if_none()
    role: str | None = omitted_if_none()

    def tensor(self) -> RknnTensor:
        """The output in the form that a `.rknn` describes it."""
        return RknnTensor(self.name, self.shape, self.native_shape, self.dtype, self.scale, self.zero_point)


@dataclass(frozen=True)
class Thresholds(JsonRecord):
    """The suggested thresholds for score and IoU, 0..1, and the reasons for them. If `iou` is None there is no NMS."""

    confidence: float
    confidence_why: str
    iou: float | None
    iou_why: str
    most_detections: int


@dataclass(frozen=True)
class Accuracy(JsonRecord):
    """The mAP of the model, 0..1, or the top-1 and top-5 of a classifier, and the images that it was measured on."""

    images: int
    map50_95_fp32: float | None = omitted_if_none(kw_only=True)
    map50_fp32: float | None = omitted_if_none(kw_only=True)
    map50_95_int8: float | None = omitted_if_none(kw_only=True)
    map50_int8: float | None = omitted_if_none(kw_only=True)
    top1_fp32: float | None = omitted_if_none(kw_only=True)
    top5_fp32: float | None = omitted_if_none(kw_only=True)
    top1_int8: float | None = omitted_if_none(kw_only=True)
    top5_int8: float | None = omitted_if_none(kw_only=True)
    part: str  # heldout or all

    def __post_init__(self):
        maps = (self.map50_95_fp32, self.map50_fp32, self.map50_95_int8, self.map50_int8)
        tops = (self.top1_fp32, self.top5_fp32, self.top1_int8, self.top5_int8)
        if None in maps and None in tops:
            raise ValueError("it has neither mAP50-95 and mAP50 nor top-1 and top-5, each in FP32 and INT8")

    @property
    def int8(self) -> float:
        """mAP50-95 in INT8, or top-1 of a classifier."""
        return self.map50_95_int8 if self.top1_int8 is None else self.top1_int8


@dataclass(frozen=True)
class Proof(JsonRecord):
    """C compared with Python: images, detections, largest difference in pixels and in score, mAP50-95 or top-1 of C.

    extras: the largest difference of the task's values, in the task's unit.
    """

    images: int
    detections: int
    box_px: float
    score: float
    map50_95: float | None = omitted_if_none()
    extras: float | None = omitted_if_none()
    top1: float | None = omitted_if_none()

    def in_words(self) -> str:
        """The result, for the terminal."""
        if not self.detections:
            return (
                f"not proven, because no detection could be compared: in {self.images} images, neither C nor Python "
                f"detects anything above a score of {CONFIDENCE}"
            )
        if self.top1 is not None:
            return f"C classifies {self.images} images as Python does, top-1 {self.top1:.4f}"
        return (
            f"C decodes {self.images} images as Python does, {self.detections} detections, boxes to {self.box_px:.1g} "
            f"px, mAP50-95 {self.map50_95:.4f}"
        )


@dataclass(frozen=True)
class Contract(JsonRecord):
    """model.json of a bundle. While the bundle is being made, `proof` is None and `files` is empty.

    files: name → SHA-256. task: None if a detection has only a box. metadata: further entries of the ONNX about the
    outputs. decode: the steps from stored bytes to detections, one sentence per step.
    """

    variant: Variant
    family: str
    task: str | None = omitted_if_none(kw_only=True)
    end2end: bool
    platform: str
    toolkit: str
    input: InputSpec
    outputs: tuple[OutputTensor, ...]
    classes: tuple[str, ...]
    thresholds: Thresholds
    metadata: dict[str, str]
    decode: tuple[str, ...]
    accuracy: Accuracy
    verdict: Verdict
    proof: Proof | None
    files: dict[str, str]

    def __post_init__(self):
        if self.family not in families.names():
            raise ValueError(f"there is no family '{self.family}'; the families are {', '.join(families.names())}")
        if self.task and self.task not in tasks.names():
            raise ValueError(f"there is no task '{self.task}'; the tasks are {', '.join(tasks.names())}")
        try:
            roles = self.roles()
        except (UserError, ValueError) as error:
            raise ValueError(f"the outputs cannot be decoded: {str(error).partition(';')[0]}") from None
        if len(self.outputs) != len(roles):
            raise ValueError(f"{len(self.outputs)} outputs, but the head and family have {len(roles)}")

    @classmethod
    def of_bundle(cls, folder: Path) -> "Contract":
        """The contract of the bundle in `folder`. Raises UserError, naming file and key, when it is damaged."""
        return cls.read(folder / CONTRACT)

    def output_spec(self) -> OutputSpec:
        """The OutputSpec for decoding in Python."""
        of_family = [output for output in self.outputs if not output.role]
        shapes = [output.shape for output in of_family]
        strides = tuple(dict.fromkeys(stride for output in of_family for stride in output.strides))
        family = families.get(self.family).from_contract(shapes, strides, self.metadata)
        extras = (OutputMap(each.role, each.strides[0], each.shape[1]) for each in self.outputs[len(of_family) :])
        task = self.task or tasks.DEFAULT
        return OutputSpec(
            self.input.imgsz, self.variant.head, family, len(self.classes), task, self.end2end, tuple(extras)
        )

    def roles(self) -> tuple[str, ...]:
        """The role of each output: predictions (box and scores together), box, scores, objectness, or a task's own."""
        spec = self.output_spec()
        return (PREDICTIONS,) if spec.head == SINGLE else tuple(output.role for output in spec.maps())

    def tensors(self) -> list[RknnTensor]:
        """The outputs in the form that a `.rknn` describes them."""
        return [output.tensor() for output in self.outputs]
