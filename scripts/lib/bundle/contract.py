"""The contract of a bundle, model.json: everything that a program needs to know to feed and to read the model."""

from lib.data.imgsz import ImageSize
from lib.data.letterbox import GREY
from lib.detector.anchors import YoloLayer, to_metadata
from lib.detector.head import DFL_BINS, SINGLE, SPLIT, STRIDES
from lib.detector.nms import IOU, MOST, MOST_CANDIDATES
from lib.npu.rknn_file import RknnFile, RknnTensor
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError

# Ultralytics' own default for showing detections; the evaluation's 0.001 is for measuring mAP.
CONFIDENCE = 0.25

_SIDES = ("left", "top", "right", "bottom")
_DECODE = {
    SINGLE: [
        "real = (stored - zero_point) * scale",
        "n = anchor point: cells row by row, of stride 8, then 16, then 32; C = number of classes",
        "cx = real[0, n] * input width; cy = real[1, n] * input height",
        "w = real[2, n] * input width; h = real[3, n] * input height",
        "score of class c = real[4 + c, n], a probability already: no sigmoid",
    ],
    SPLIT: [
        "real = (stored - zero_point) * scale, with each output's own two",
        "side k of left, top, right, bottom: p = softmax of the real values of channels 16 k to 16 k + 15",
        "distance[k] = sum of bin * p[bin] over bin = 0 to 15, in strides",
        "x1 = (x + 0.5 - distance[0]) * stride; y1 = (y + 0.5 - distance[1]) * stride, for the cell in column x, row y",
        "x2 = (x + 0.5 + distance[2]) * stride; y2 = (y + 0.5 + distance[3]) * stride",
        "score of class c = real value of channel c of the scores, a probability already: no sigmoid",
    ],
}
_ANY_ORDER = "n = prediction, in no order that matters; C = number of classes"
_AFTERWARDS = [
    "candidates: every class of every anchor point whose score is above the confidence threshold, in the order of "
    f"score, then anchor point, then class; the best {MOST_CANDIDATES}",
    "class-wise NMS: a box that overlaps a better one of its class by more than the IoU threshold is dropped",
    "picture = (input - (left, top)) / letterbox scale, cut at the picture's edges",
]


def contract(
    model: RknnFile,
    variant: Variant,
    names: list[str],
    fp32: dict,
    int8: dict,
    verdict: dict,
    darknet: tuple[YoloLayer, ...] = (),
) -> dict:
    """The contract of a variant, without its proof and the checksums of the bundle's files.

    `fp32` and `int8` are what evaluate.py found; `verdict` is what judge.py says of the board;
    `darknet` are the [yolo] layers of a model from Darknet, which has the head `single`.
    Raises UserError for an output that is not INT8.
    """
    _, _, height, width = model.input.shape
    imgsz = ImageSize(width, height)
    for each in model.outputs:
        if each.dtype != "int8":
            raise UserError(f"output '{each.name}' of the model is {each.dtype}; a bundle is made of int8 outputs")
    return {
        "variant": variant._asdict(),
        "platform": model.platform,
        "toolkit": f"rknn-toolkit2 {model.toolkit}",
        "input": _input(model, imgsz),
        "outputs": [_output(each, variant.head, number, darknet) for number, each in enumerate(model.outputs)],
        "classes": names,
        "thresholds": {
            "confidence": CONFIDENCE,
            "confidence_why": "what Ultralytics shows detections from; raise it for fewer false alarms, lower it to "
            "miss less; mAP was measured from 0.001",
            "iou": IOU,
            "iou_why": "what mAP was measured with, and Ultralytics' default",
            "most_detections": MOST,
        },
        "metadata": to_metadata(darknet) if darknet else {},
        "decode": [*_decode_lines(variant.head, darknet), *_AFTERWARDS],
        "accuracy": {
            "images": int8["images"],
            "map50_95_fp32": round(fp32["map50_95"], MAP_DIGITS),
            "map50_fp32": round(fp32["map50"], MAP_DIGITS),
            "map50_95_int8": round(int8["map50_95"], MAP_DIGITS),
            "map50_int8": round(int8["map50"], MAP_DIGITS),
        },
        "verdict": verdict,
    }


def _decode_lines(head: str, darknet: tuple[YoloLayer, ...]) -> list[str]:
    return [_ANY_ORDER if darknet and line.startswith("n = ") else line for line in _DECODE[head]]


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
            "scale": "min(width / picture width, height / picture height), enlarging too",
            "resized": "max(1, picture side * scale rounded to whole pixels, halves to even), bilinear",
            "left": "(width - resized width) / 2 rounded down",
            "top": "(height - resized height) / 2 rounded down",
        },
    }


def _output(tensor: RknnTensor, head: str, number: int, darknet: tuple[YoloLayer, ...]) -> dict:
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
        **_meaning(head, number, channels, [layer.stride for layer in darknet] or list(STRIDES)),
    }


def _meaning(head: str, number: int, channels: int, strides: list[int]) -> dict:
    if head == SINGLE:
        return {
            "strides": strides,
            "channels": {
                "0 to 3": "cx, cy, w, h, divided by the input's width and height",
                f"4 to {channels - 1}": "score of class channel - 4",
            },
        }
    if number % 2:
        meaning = {f"0 to {channels - 1}": "score of that class"}
    else:
        meaning = {
            f"{DFL_BINS * side} to {DFL_BINS * side + DFL_BINS - 1}": f"{name} edge, logits of bins 0 to {DFL_BINS - 1}"
            for side, name in enumerate(_SIDES)
        }
    return {"strides": [strides[number // 2]], "channels": meaning}
