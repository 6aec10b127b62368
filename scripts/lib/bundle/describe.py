"""Makes the contract of a variant from the built `.rknn` and the measurements."""

from typing import NamedTuple

from lib import tasks
from lib.accuracy.metrics import Metrics
from lib.accuracy.operating import Operating, in_words
from lib.bundle.contract import Accuracy, Contract, InputSpec, LetterboxSpec, OutputTensor, Thresholds
from lib.bundle.layout import as_map
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.detector import families
from lib.detector.head import CLASSIFY, SINGLE
from lib.detector.nms import CONFIDENCE as LOWEST
from lib.detector.nms import IOU
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnFile, RknnTensor
from lib.npu.verdict import Verdict
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError

# Ultralytics' default for showing detections; LOWEST is for measuring mAP.
CONFIDENCE = 0.25
_JOINED = [
    "real = (stored - zero_point) * scale; C is the number of classes",
    "cx = real[0, n] * input width; cy = real[1, n] * input height",
    "w = real[2, n] * input width; h = real[3, n] * input height",
    "score of class c = real[4 + c, n], 0 to 1; the model has applied the sigmoid, so apply no sigmoid",
]


class Measured(NamedTuple):
    """The measurements of a variant: its accuracy, and the suggested threshold, or None for the default."""

    accuracy: Accuracy
    operating: Operating | None = None


class Forms(NamedTuple):
    """What a model's ONNX says about its outputs and its input."""

    outputs: OutputSpec
    input: InputForm = InputForm()


def describe(
    model: RknnFile,
    variant: Variant,
    forms: Forms,
    names: list[str],
    measured: Measured,
    verdict: Verdict,
) -> Contract:
    """The contract of a variant, without its proof and the checksums of the bundle's files.

    `verdict` is from judge.py. Raises UserError for outputs that the C decoder does not support: not INT8, or beyond
    one of its limits.
    """
    spec, outputs = forms.outputs, tuple(map(as_map, model.outputs))
    _require_decodable(outputs, spec)
    return Contract(
        variant=variant,
        family=spec.family.name,
        task=None if spec.task == tasks.DEFAULT else spec.task,
        end2end=spec.end2end,
        platform=model.platform,
        toolkit=f"rknn-toolkit2 {model.toolkit}",
        input=_input(model, spec.imgsz, forms.input),
        outputs=tuple(_output(tensor, spec, number) for number, tensor in enumerate(outputs)),
        classes=tuple(names),
        thresholds=_thresholds(spec, measured.operating),
        metadata=spec.family.contract_metadata(spec.classes),
        decode=_decode_lines(spec),
        accuracy=measured.accuracy,
        verdict=verdict,
        proof=None,
        files={},
    )


def accuracy_of(fp32: Metrics, int8: Metrics, part: str) -> Accuracy:
    """The accuracy that evaluate.py measured on the images of `part`, rounded as in the table."""
    names = ("map50_95", "map50") if int8.top1 is None else ("top1", "top5")
    figures = {
        f"{name}_{precision}": round(getattr(metrics, name), MAP_DIGITS)
        for name in names
        for precision, metrics in (("fp32", fp32), ("int8", int8))
    }
    return Accuracy(images=int8.images, part=part, **figures)


def _thresholds(spec: OutputSpec, operating: Operating | None) -> Thresholds:
    task, end2end = tasks.get(spec.task), spec.end2end
    if spec.task == CLASSIFY:
        return Thresholds(
            confidence=task.confidence,
            confidence_why="no threshold is needed to find the best classes; a higher one drops improbable ones",
            iou=None,
            iou_why="there are no boxes",
            most_detections=task.most,
        )
    usual = "the default of Ultralytics for showing detections"
    why = f"measured for {operating.wish}, {in_words(operating)}" if operating else usual
    return Thresholds(
        confidence=operating.point.threshold if operating else CONFIDENCE,
        confidence_why=f"{why}; a higher threshold gives fewer false alarms, a lower one fewer missed objects; mAP was "
        f"measured with {LOWEST}",
        iou=None if end2end else IOU,
        iou_why="the head is one-to-one and predicts each object once, so there is no NMS"
        if end2end
        else "the value that mAP was measured with, and the default of Ultralytics",
        most_detections=task.most,
    )


def _require_decodable(outputs: tuple[RknnTensor, ...], spec: OutputSpec) -> None:
    for output in outputs:
        if output.dtype != "int8":
            softmax = "; leave the Softmax at the end out of the export" if spec.task == CLASSIFY else ""
            raise UserError(
                f"output '{output.name}' of the model is {output.dtype}; a bundle needs int8 outputs{softmax}"
            )
    if spec.task == CLASSIFY and [output.shape for output in outputs] != [(1, spec.classes, 1, 1)]:
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise UserError(
            f"a classifier's bundle needs one output with a value for each of the {spec.classes} classes, but the "
            f"model has {shapes}; remove the others from the export"
        )
    if spec.extras and not tasks.get(spec.task).bundle:
        raise UserError(f"the task '{spec.task}' has no C decoder, so its models cannot have a bundle")
    for count, most, what in spec.family.limits(spec.head):
        if count > most:
            raise UserError(
                f"the model has {count} {what}, but decode.h supports up to {most}, so it cannot have a bundle"
            )


def _decode_lines(spec: OutputSpec) -> tuple[str, ...]:
    """The steps from stored bytes to detections, one sentence per step."""
    return (
        spec.family.order_line(),
        *(_JOINED if spec.head == SINGLE else spec.family.contract_lines()),
        *tasks.get(spec.task).contract_lines(spec),
    )


_SCALE = "min(width / image width, height / image height); if it is above 1, the image is enlarged"
_RESIZED = "max(1, round(image side * scale)) pixels per side, halves rounded to even; bilinear interpolation"
_COVERING = (
    "the image side times scale, the longer side rounded down; each pixel is the mean of the image pixels closer than "
    "1 output pixel (if the image is enlarged, 1 image pixel), weighted with 1 - distance; columns first, then rows"
)
_FORMULAS = {
    "centre": (_SCALE, "floor((width - resized width) / 2)", "floor((height - resized height) / 2)"),
    "top_left": (_SCALE, "0", "0"),
    "stretch": ("width / image width for x, height / image height for y", "0", "0"),
    "crop": (
        "max(width / image width, height / image height): the image covers the input",
        "-round((resized width - width) / 2), halves rounded to even",
        "-round((resized height - height) / 2), halves rounded to even",
    ),
}


def _input(model: RknnFile, imgsz: ImageSize, form: InputForm) -> InputSpec:
    scale, left, top = _FORMULAS[form.letterbox]
    return InputSpec(
        name=model.input.name,
        width=imgsz.width,
        height=imgsz.height,
        shape=(1, imgsz.height, imgsz.width, form.depth),
        layout="NHWC",
        dtype="uint8",
        colour_order=form.channels.upper(),
        mean=model.mean,
        std=model.std,
        normalization="done by the model: its input is bytes 0 to 255, and it computes (pixel - mean) / std",
        letterbox=LetterboxSpec(
            fill=(form.fill,) * form.depth,
            scale=scale,
            resized=_COVERING if form.letterbox == "crop" else _RESIZED,
            left=left,
            top=top,
            place=None if form.letterbox == InputForm.letterbox else form.letterbox,
        ),
    )


def _output(tensor: RknnTensor, spec: OutputSpec, number: int) -> OutputTensor:
    batch, c1, height, width, c2 = tensor.native_shape
    return OutputTensor(
        index=number,
        name=tensor.name,
        shape=tensor.shape,
        layout="NC1HWC2" if c2 > 1 else "NCHW",
        native_shape=tensor.native_shape,
        padding_channels=c1 * c2 - tensor.shape[1],
        bytes=batch * c1 * height * width * c2,
        dtype=tensor.dtype,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        **_meaning(tensor, spec, number),
    )


def _meaning(tensor: RknnTensor, spec: OutputSpec, number: int) -> dict:
    """The strides of an output and the meaning of its channels, as fields of an OutputTensor."""
    if spec.head == SINGLE:
        return {
            "strides": spec.family.strides,
            "channels": {
                "0 to 3": "cx, cy, w, h: centre and size of the box, 0 to 1; cx and w are divided by the input's "
                "width, cy and h by its height",
                families.span(4, tensor.shape[1] - 4): "score of class (channel - 4), 0 to 1",
            },
        }
    output = spec.maps()[number]
    if output in spec.extras:
        channels = tasks.get(spec.task).bundle.map_meaning(output)
        return {"strides": (output.stride,), "role": output.role, "channels": channels}
    return {"strides": (output.stride,), **spec.family.map_meaning(output)}
