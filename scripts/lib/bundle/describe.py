"""The contract of a variant, from the built `.rknn` and from what was measured."""

from lib.accuracy.metrics import Metrics
from lib.bundle.contract import Accuracy, Contract, InputSpec, LetterboxSpec, OutputTensor, Thresholds
from lib.data.imgsz import ImageSize
from lib.data.letterbox import GREY
from lib.detector.anchors import to_metadata
from lib.detector.head import ANCHORS, DFL, DISTANCES, SIDES, SINGLE, SPLIT, STRIDES
from lib.detector.nms import IOU, MOST, MOST_CANDIDATES
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnFile, RknnTensor
from lib.npu.verdict import Verdict
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant
from lib.step.errors import UserError

# Ultralytics' own default for showing detections; the evaluation's 0.001 is for measuring mAP.
CONFIDENCE = 0.25
# What decode.h takes: bins of a DFL, [yolo] layers of a Darknet model, anchors of one layer.
MOST_BINS, MOST_LAYERS, MOST_ANCHORS = 32, 6, 16

_SIDES = ("left", "top", "right", "bottom")
_CELLS = "n = anchor point: cells row by row, of stride 8, then 16, then 32"
_ANCHORS = "n = prediction: [yolo] layer by layer, in a layer anchor by anchor, of an anchor cells row by row"
_JOINED = [
    "real = (stored - zero_point) * scale; C = number of classes",
    "cx = real[0, n] * input width; cy = real[1, n] * input height",
    "w = real[2, n] * input width; h = real[3, n] * input height",
    "score of class c = real[4 + c, n], a probability already: no sigmoid",
]
_REAL = "real = (stored - zero_point) * scale, with each output's own two"
_SIDES_TO_BOX = [
    "x1 = (x + 0.5 - distance[0]) * stride; y1 = (y + 0.5 - distance[1]) * stride, for the cell in column x, row y",
    "x2 = (x + 0.5 + distance[2]) * stride; y2 = (y + 0.5 + distance[3]) * stride",
    "score of class c = real value of channel c of the scores, a probability already: no sigmoid",
]
_SPLIT = {
    DFL: [
        _REAL,
        "R = number of bins: channels of the box map / 4",
        "side k of left, top, right, bottom: p = softmax of the real values of channels R k to R k + R - 1",
        "distance[k] = sum of bin * p[bin] over bin = 0 to R - 1, in strides",
        *_SIDES_TO_BOX,
    ],
    DISTANCES: [
        _REAL,
        "distance[k] = real value of channel k of the box map, in strides; k = left, top, right, bottom",
        *_SIDES_TO_BOX,
    ],
    ANCHORS: [
        _REAL,
        "A = number of the layer's anchors; of anchor a: tx, ty, tw, th = real values of channels a, A + a, 2 A + a, "
        "3 A + a of the box map",
        "cx = (x + (s(tx) - 0.5) * scale_x_y + 0.5) * stride; cy = (y + (s(ty) - 0.5) * scale_x_y + 0.5) * stride, for "
        "the cell in column x, row y; s = sigmoid, or with new_coords s(t) = t",
        "w = anchor width * exp(tw); h = anchor height * exp(th), or with new_coords (2 t)^2 in place of exp(t); at "
        "most the input's width and height",
        "score of class c = real value of channel a of the objectness, at least 0, * real value of channel A c + a of "
        "the scores, probabilities already: no sigmoid",
    ],
}
_CANDIDATES = (
    "candidates: every class of every n whose score is above the confidence threshold, in the order of score, then n, "
    "then class; the best {}"
)
_NMS = "class-wise NMS: a box that overlaps a better one of its class by more than the IoU threshold is dropped"
_NO_NMS = "no NMS: the head is one-to-one, it predicts each object once; the candidates are the detections"
_TO_IMAGE = "image = (input - (left, top)) / letterbox scale, cut at the image's edges"


def describe(
    model: RknnFile,
    variant: Variant,
    family: str,
    outputs: OutputSpec,
    names: list[str],
    accuracy: Accuracy,
    verdict: Verdict,
) -> Contract:
    """The contract of a variant, without its proof and the checksums of the bundle's files.

    `family` is the model's; `outputs` is what its ONNX says of them; `verdict` is what judge.py says of the board.
    Raises UserError for outputs that decode.h does not read: that are not INT8, or have more bins, [yolo] layers or
    anchors than it has room for.
    """
    _require_decodable(model, family, outputs)
    return Contract(
        variant=variant,
        family=family,
        end2end=outputs.end2end,
        platform=model.platform,
        toolkit=f"rknn-toolkit2 {model.toolkit}",
        input=_input(model, outputs.imgsz),
        outputs=tuple(_output(tensor, family, outputs, number) for number, tensor in enumerate(model.outputs)),
        classes=tuple(names),
        thresholds=_thresholds(outputs.end2end),
        metadata=to_metadata(outputs.darknet) if outputs.darknet else {},
        decode=tuple(_decode_lines(family, outputs)),
        accuracy=accuracy,
        verdict=verdict,
        proof=None,
        files={},
    )


def accuracy_of(fp32: Metrics, int8: Metrics, part: str) -> Accuracy:
    """What evaluate.py found on the images of `part`, rounded as in the table."""
    return Accuracy(
        images=int8.images,
        map50_95_fp32=round(fp32.map50_95, MAP_DIGITS),
        map50_fp32=round(fp32.map50, MAP_DIGITS),
        map50_95_int8=round(int8.map50_95, MAP_DIGITS),
        map50_int8=round(int8.map50, MAP_DIGITS),
        part=part,
    )


def _thresholds(end2end: bool) -> Thresholds:
    return Thresholds(
        confidence=CONFIDENCE,
        confidence_why="what Ultralytics shows detections from; raise it for fewer false alarms, lower it to miss "
        "less; mAP was measured from 0.001",
        iou=None if end2end else IOU,
        iou_why="a one-to-one head predicts each object once: there is no NMS that would need one"
        if end2end
        else "what mAP was measured with, and Ultralytics' default",
        most_detections=MOST,
    )


def _require_decodable(model: RknnFile, family: str, outputs: OutputSpec) -> None:
    for output in model.outputs:
        if output.dtype != "int8":
            raise UserError(f"output '{output.name}' of the model is {output.dtype}; a bundle is made of int8 outputs")
    bins = model.outputs[0].shape[1] // SIDES if (family, outputs.head) == (DFL, SPLIT) else 0
    anchors = max((len(layer.anchors) for layer in outputs.darknet), default=0)
    for count, most, what in (
        (bins, MOST_BINS, "bins a side"),
        (len(outputs.darknet), MOST_LAYERS, "[yolo] layers"),
        (anchors, MOST_ANCHORS, "anchors in a [yolo] layer"),
    ):
        if count > most:
            raise UserError(f"the model has {count} {what}, decode.h reads up to {most}; it can have no bundle")


def _decode_lines(family: str, outputs: OutputSpec) -> list[str]:
    """The way from stored bytes to detections, a sentence a step."""
    return [
        _ANCHORS if family == ANCHORS else _CELLS,
        *(_JOINED if outputs.head == SINGLE else _SPLIT[family]),
        _CANDIDATES.format(MOST if outputs.end2end else MOST_CANDIDATES),
        _NO_NMS if outputs.end2end else _NMS,
        _TO_IMAGE,
    ]


def _input(model: RknnFile, imgsz: ImageSize) -> InputSpec:
    return InputSpec(
        name=model.input.name,
        width=imgsz.width,
        height=imgsz.height,
        shape=(1, imgsz.height, imgsz.width, 3),
        layout="NHWC",
        dtype="uint8",
        colour_order="RGB",
        mean=model.mean,
        std=model.std,
        normalization="in the model: it is given the bytes 0 to 255 and computes (pixel - mean) / std itself",
        letterbox=LetterboxSpec(
            fill=(GREY,) * 3,
            scale="min(width / image width, height / image height), enlarging too",
            resized="max(1, image side * scale rounded to whole pixels, halves to even), bilinear",
            left="(width - resized width) / 2 rounded down",
            top="(height - resized height) / 2 rounded down",
        ),
    )


def _output(tensor: RknnTensor, family: str, outputs: OutputSpec, number: int) -> OutputTensor:
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
        **_meaning(tensor, family, outputs, number),
    )


def _meaning(tensor: RknnTensor, family: str, outputs: OutputSpec, number: int) -> dict:
    """The strides of an output, and what its channels hold; fields of an OutputTensor."""
    channels, layers = tensor.shape[1], outputs.darknet
    if outputs.head == SINGLE:
        return {
            "strides": tuple(layer.stride for layer in layers) or STRIDES,
            "channels": {
                "0 to 3": "cx, cy, w, h, divided by the input's width and height",
                _span(4, channels - 4): "score of class channel - 4",
            },
        }
    if family == ANCHORS:
        layer = layers[number // 3]
        meaning = (_box_of_anchors, _objectness, _scores_of_anchors)[number % 3](len(layer.anchors), channels)
        # asdict would repeat the number of classes.
        anchors = {"anchors": layer.anchors, "scale_x_y": layer.scale_x_y, "new_coords": layer.new_coords}
        return {"strides": (layer.stride,), "channels": meaning, **(anchors if number % 3 == 0 else {})}
    meaning = {_span(0, channels): "score of that class"} if number % 2 else _box_of_sides(family, channels)
    return {"strides": (STRIDES[number // 2],), "channels": meaning}


def _span(first: int, count: int) -> str:
    return f"{first} to {first + count - 1}"


def _box_of_sides(family: str, channels: int) -> dict:
    if family == DISTANCES:
        return {str(side): f"distance of the {name} edge, in strides" for side, name in enumerate(_SIDES)}
    bins = channels // SIDES
    return {
        _span(bins * side, bins): f"{name} edge, logits of bins 0 to {bins - 1}" for side, name in enumerate(_SIDES)
    }


def _box_of_anchors(anchors: int, _) -> dict:
    return {
        _span(anchors * place, anchors): f"{name} of anchor channel % {anchors}"
        for place, name in enumerate(("tx", "ty", "tw", "th"))
    }


def _objectness(anchors: int, _) -> dict:
    return {_span(0, anchors): "objectness of that anchor"}


def _scores_of_anchors(anchors: int, channels: int) -> dict:
    return {
        _span(0, channels): f"score of class channel / {anchors} (rounded down) of anchor channel % {anchors}, to be "
        "multiplied by its objectness"
    }
