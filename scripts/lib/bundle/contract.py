"""The contract of a bundle, model.json: everything that a program needs to know to feed and to read the model."""

from lib import tasks
from lib.data.imgsz import ImageSize
from lib.data.letterbox import GREY
from lib.detector import families
from lib.detector.head import SINGLE
from lib.detector.nms import IOU, MOST
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnFile, RknnTensor
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError

# Ultralytics' own default for showing detections; the evaluation's 0.001 is for measuring mAP.
CONFIDENCE = 0.25
_JOINED = [
    "real = (stored - zero_point) * scale; C = number of classes",
    "cx = real[0, n] * input width; cy = real[1, n] * input height",
    "w = real[2, n] * input width; h = real[3, n] * input height",
    "score of class c = real[4 + c, n], a probability already: no sigmoid",
]


def contract(
    model: RknnFile,
    variant: Variant,
    outputs: OutputSpec,
    names: list[str],
    fp32: dict,
    int8: dict,
    verdict: dict,
) -> dict:
    """The contract of a variant, without its proof and the checksums of the bundle's files.

    `outputs` is what the model's ONNX says of them; `fp32` and `int8` are what evaluate.py found;
    `verdict` is what judge.py says of the board. Raises UserError for outputs that decode.h does not read: that are
    not INT8, or have more bins, [yolo] layers or anchors than it has room for.
    """
    _require_decodable(model, outputs)
    return {
        "variant": variant._asdict(),
        "family": outputs.family.name,
        "end2end": outputs.end2end,
        "platform": model.platform,
        "toolkit": f"rknn-toolkit2 {model.toolkit}",
        "input": _input(model, outputs.imgsz),
        "outputs": [_output(each, outputs, number) for number, each in enumerate(model.outputs)],
        "classes": names,
        "thresholds": {
            "confidence": CONFIDENCE,
            "confidence_why": "what Ultralytics shows detections from; raise it for fewer false alarms, lower it to "
            "miss less; mAP was measured from 0.001",
            "iou": None if outputs.end2end else IOU,
            "iou_why": "a one-to-one head predicts each object once: there is no NMS that would need one"
            if outputs.end2end
            else "what mAP was measured with, and Ultralytics' default",
            "most_detections": MOST,
        },
        "metadata": outputs.family.contract_metadata(outputs.classes),
        "decode": _decode_lines(outputs),
        "accuracy": {
            "images": int8["images"],
            "map50_95_fp32": round(fp32["map50_95"], MAP_DIGITS),
            "map50_fp32": round(fp32["map50"], MAP_DIGITS),
            "map50_95_int8": round(int8["map50_95"], MAP_DIGITS),
            "map50_int8": round(int8["map50"], MAP_DIGITS),
        },
        "verdict": verdict,
    }


def _require_decodable(model: RknnFile, outputs: OutputSpec) -> None:
    for each in model.outputs:
        if each.dtype != "int8":
            raise UserError(f"output '{each.name}' of the model is {each.dtype}; a bundle is made of int8 outputs")
    for count, most, what in outputs.family.limits(outputs.head):
        if count > most:
            raise UserError(f"the model has {count} {what}, decode.h reads up to {most}; it can have no bundle")


def _decode_lines(outputs: OutputSpec) -> list[str]:
    """The way from stored bytes to detections, a sentence a step."""
    return [
        outputs.family.order_line(),
        *(_JOINED if outputs.head == SINGLE else outputs.family.contract_lines()),
        *tasks.get(outputs.task).contract_lines(outputs),
    ]


def outputs_of(agreed: dict) -> list[RknnTensor]:
    """The outputs that a contract describes."""
    return [
        RknnTensor(
            each["name"],
            tuple(each["shape"]),
            tuple(each["native_shape"]),
            each["dtype"],
            each["scale"],
            each["zero_point"],
        )
        for each in agreed["outputs"]
    ]


def decoding_of(agreed: dict) -> OutputSpec:
    """What decoding by Python takes, as a contract tells it."""
    shapes = [tuple(each["shape"]) for each in agreed["outputs"]]
    return OutputSpec(
        ImageSize(agreed["input"]["width"], agreed["input"]["height"]),
        agreed["variant"]["head"],
        families.get(agreed["family"]).from_contract(shapes, agreed["metadata"]),
        len(agreed["classes"]),
        end2end=agreed["end2end"],
    )


def _input(model: RknnFile, imgsz: ImageSize) -> dict:
    return {
        "name": model.input.name,
        "width": imgsz.width,
        "height": imgsz.height,
        "shape": [1, imgsz.height, imgsz.width, 3],
        "layout": "NHWC",
        "dtype": "uint8",
        "colour_order": "RGB",
        "mean": list(model.mean),
        "std": list(model.std),
        "normalization": "in the model: it is given the bytes 0 to 255 and computes (pixel - mean) / std itself",
        "letterbox": {
            "fill": [GREY] * 3,
            "scale": "min(width / image width, height / image height), enlarging too",
            "resized": "max(1, image side * scale rounded to whole pixels, halves to even), bilinear",
            "left": "(width - resized width) / 2 rounded down",
            "top": "(height - resized height) / 2 rounded down",
        },
    }


def _output(tensor: RknnTensor, outputs: OutputSpec, number: int) -> dict:
    batch, c1, height, width, c2 = tensor.native_shape
    channels = tensor.shape[1]
    return {
        "index": number,
        "name": tensor.name,
        "shape": list(tensor.shape),
        "layout": "NC1HWC2" if c2 > 1 else "NCHW",
        "native_shape": list(tensor.native_shape),
        "padding_channels": c1 * c2 - channels,
        "bytes": batch * c1 * height * width * c2,
        "dtype": tensor.dtype,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
        **_meaning(tensor, outputs, number),
    }


def _meaning(tensor: RknnTensor, outputs: OutputSpec, number: int) -> dict:
    """The strides of an output, and what its channels hold."""
    if outputs.head == SINGLE:
        return {
            "strides": list(outputs.family.strides),
            "channels": {
                "0 to 3": "cx, cy, w, h, divided by the input's width and height",
                families.span(4, tensor.shape[1] - 4): "score of class channel - 4",
            },
        }
    output = outputs.maps()[number]
    return {"strides": [output.stride], **outputs.family.map_meaning(output)}
