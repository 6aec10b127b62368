"""model.h: what of the contract the C code needs, as constants."""

import math

from lib.bundle.contract import outputs_of
from lib.detector.anchors import from_metadata


def model_h(agreed: dict) -> str:
    """The text of model.h for a contract."""
    outputs = outputs_of(agreed)
    rows = "\n".join(f"        {_row(each)}, /* {_comment(each.name)} */" for each in outputs)
    names = "\n".join(f"    {_quoted(name)}," for name in agreed["classes"])
    image, thresholds = agreed["input"], agreed["thresholds"]
    head, classes = agreed["variant"]["head"].upper(), len(agreed["classes"])
    if from_metadata(agreed["metadata"]):
        head += "_DARKNET"
    return f"""\
/* Made from model.json; change nothing here. */
#ifndef YOLOV8_MODEL_H
#define YOLOV8_MODEL_H

#include "decode.h"

#define YOLOV8_MODEL_CONFIDENCE {_number(thresholds["confidence"])}
#define YOLOV8_MODEL_IOU {_number(thresholds["iou"])}
#define YOLOV8_MODEL_MOST {thresholds["most_detections"]}
#define YOLOV8_MODEL_TOOLKIT {_quoted(agreed["toolkit"].split()[-1])}
#define YOLOV8_MODEL_INPUT_BYTES {math.prod(image["shape"])}
#define YOLOV8_MODEL_BYTES {sum(math.prod(each.native_shape) for each in outputs)}

static const yolov8_model yolov8_this_model = {{
    /* head, input width, height, classes, outputs */
    YOLOV8_{head}, {image["width"]}, {image["height"]}, {classes}, {len(outputs)},
    {{
        /* channels, height, width, c1, c2, zero point, scale */
{rows}
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
