"""model.h: what of the contract the C code needs, as constants."""

import math

import numpy as np

from lib.bundle.contract import decoding_of, outputs_of
from lib.detector.families.anchors import AnchorLayer
from lib.detector.nms import IOU


def model_h(agreed: dict) -> str:
    """The text of model.h for a contract."""
    outputs = outputs_of(agreed)
    rows = "\n".join(f"        {_row(each)}, /* {_comment(each.name)} */" for each in outputs)
    names = "\n".join(f"    {_quoted(name)}," for name in agreed["classes"])
    image, thresholds = agreed["input"], agreed["thresholds"]
    decoding = decoding_of(agreed)
    return f"""\
/* Made from model.json; change nothing here. */
#ifndef YOLOV8_MODEL_H
#define YOLOV8_MODEL_H

#include "decode.h"

#define YOLOV8_MODEL_CONFIDENCE {_number(thresholds["confidence"])}
{_iou(thresholds["iou"])}
#define YOLOV8_MODEL_MOST {thresholds["most_detections"]}
#define YOLOV8_MODEL_TOOLKIT {_quoted(agreed["toolkit"].split()[-1])}
#define YOLOV8_MODEL_INPUT_BYTES {math.prod(image["shape"])}
#define YOLOV8_MODEL_BYTES {sum(math.prod(each.native_shape) for each in outputs)}

static const yolov8_model yolov8_this_model = {{
    /* head, family, end2end, input width, height, classes, outputs */
    YOLOV8_{decoding.head.upper()}, YOLOV8_{agreed["family"].upper()}, {int(decoding.end2end)},
    {image["width"]}, {image["height"]}, {decoding.classes}, {len(outputs)},
    {{
        /* channels, height, width, c1, c2, zero point, scale */
{rows}
    }},
    /* layers with anchors, and of each: stride, anchors, new_coords, scale_x_y, sides of the anchors */
    {len(decoding.family.c_layers())},
    {{
{_layers(decoding.family.c_layers())}
    }},
}};

static const char *const yolov8_names[] = {{
{names}
}};

#endif
"""


def _row(output) -> str:
    _, c1, height, width, c2 = output.native_shape
    words = (output.shape[1], height, width, c1, c2, output.zero_point, _number(output.scale))
    return f"{{{', '.join(map(str, words))}}}"


def _iou(threshold: float | None) -> str:
    if threshold is None:
        return f"#define YOLOV8_MODEL_IOU {_number(IOU)} /* not looked at: the model is end2end, without NMS */"
    return f"#define YOLOV8_MODEL_IOU {_number(threshold)}"


def _layers(layers: tuple[AnchorLayer, ...]) -> str:
    return "\n".join(f"        {_layer(each)}," for each in layers) or "        {0, 0, 0, 0, {{0, 0}}},"


def _layer(layer: AnchorLayer) -> str:
    # decode.h multiplies by the float32 that Python multiplies by.
    sides = ", ".join("{" + ", ".join(_number(np.float32(side)) for side in anchor) + "}" for anchor in layer.anchors)
    words = (layer.stride, len(layer.anchors), int(layer.new_coords), repr(float(layer.scale_x_y)))
    return f"{{{', '.join(map(str, words))}, {{{sides}}}}}"


def _number(value: float) -> str:
    """A float constant that reads back as the same float32."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _quoted(name: str) -> str:
    """A C string of the name's UTF-8; octal for what C reads otherwise, trigraphs among it."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in name.encode()) + '"'


def _comment(name: str) -> str:
    """A name that cannot end the comment it stands in."""
    return name.replace("*/", "* /")
