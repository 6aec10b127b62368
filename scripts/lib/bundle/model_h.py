"""model.h: the parts of the contract that the C code needs, as constants."""

import math
import zlib

import numpy as np

from lib import tasks
from lib.bundle import headers
from lib.bundle.c_names import c_prefix
from lib.bundle.contract import Contract
from lib.detector.nms import IOU
from lib.detector.output_spec import OutputSpec

# Macros that model.h defines with the model's prefix and, for a program with one model, also with MODEL.
_MACROS = ("CONFIDENCE", "IOU", "MOST", "TOOLKIT", "INPUT_BYTES", "BYTES")


def model_h(contract: Contract) -> str:
    """Return the text of model.h for a contract."""
    prefix = c_prefix(contract.variant)
    body = _body(contract, prefix)
    checksum = f"{zlib.crc32(body.encode()):#010x}"
    guard = f"{prefix.upper()}_H"
    return f"""\
/* Generated from model.json. Do not edit. */
#ifndef {guard}
#define {guard} {checksum}

{body}
#elif {guard} != {checksum}
#error "two different models have the name {prefix}: rename one of them in the config"
#endif
"""


def _body(contract: Contract, prefix: str) -> str:
    spec, thresholds = contract.output_spec(), contract.thresholds
    levels, details = spec.family.levels(), spec.family.c_details()
    tensors = contract.tensors()
    toolkit = contract.toolkit.split()[-1]
    includes = "\n".join(f'#include "{name}"' for name in headers(spec))
    values = (
        _number(thresholds.confidence),
        _iou(thresholds.iou),
        thresholds.most_detections,
        _quoted(toolkit),
        math.prod(contract.input.shape),
        sum(math.prod(tensor.native_shape) for tensor in tensors),
    )
    macros = "\n".join(f"#define {prefix.upper()}_{name} {value}" for name, value in zip(_MACROS, values))
    level_rows = "\n".join(f"        {_initializer(level)}," for level in levels)
    outputs = "\n".join(f"        {_row(tensor)}, /* {_comment(tensor.name)} */" for tensor in tensors)
    names = "\n".join(f"    {_quoted(name)}," for name in contract.classes)
    return f"""\
{includes}

{macros}

{_details(contract.family, prefix, details)}\
static const rv1106_model {prefix} = {{
    /* head, family, end2end, input width, height, classes */
    RV1106_{spec.head.upper()}, &rv1106_{contract.family}, {int(spec.end2end)}, \
{contract.input.width}, {contract.input.height}, {spec.classes},
    /* number of levels; per level: stride, predictions per cell; then the family's details, or NULL */
    {len(levels)},
    {{
{level_rows}
    }},
    {f"{prefix}_details" if details else "NULL"},
    /* number of outputs; per output: channels, height, width, c1, c2, zero point, scale */
    {len(tensors)},
    {{
{outputs}
    }},
    /* position of the image in the input; task, or NULL if a detection has only a box */
    RV1106_{contract.input.form.letterbox.upper()}, {_task(spec)},
    /* pixel format of the input, grey value around the image, toolkit version */
    RV1106_{contract.input.form.channels.upper()}, {contract.input.form.fill}, {_quoted(toolkit)},
}};

static const char *const {prefix}_names[] = {{
{names}
}};

{_aliases(prefix)}"""


def _details(family: str, prefix: str, details: tuple[tuple, ...]) -> str:
    """The array with the family's details of each level; empty if the family needs none."""
    if not details:
        return ""
    rows = "".join(f"    {_initializer(detail)},\n" for detail in details)
    return f"static const rv1106_{family}_details {prefix}_details[] = {{\n{rows}}};\n\n"


def _task(spec: OutputSpec) -> str:
    """The pointer to the functions of the model's task; NULL if a detection has only a box."""
    part = tasks.get(spec.task).bundle
    return f"&rv1106_{part.c_name(spec)}" if part else "NULL"


def _aliases(prefix: str) -> str:
    """The macros that have the same names for every model: for main.c, detect.c and programs for any model."""
    names = {"": prefix, "_NAMES": f"{prefix}_names"} | {f"_{name}": f"{prefix.upper()}_{name}" for name in _MACROS}
    defined = "\n".join(f"#define RV1106_MODEL{name} {meant}" for name, meant in names.items())
    removed = "\n".join(f"#undef RV1106_MODEL{name}" for name in names)
    return f"""\
/* Names that are the same for every model. They are not defined in a program with two models. */
#ifndef RV1106_MODEL_H
#define RV1106_MODEL_H
{defined}
#else
{removed}
#endif
"""


def _row(tensor) -> str:
    _, c1, height, width, c2 = tensor.native_shape
    return _initializer((tensor.shape[1], height, width, c1, c2, tensor.zero_point, np.float32(tensor.scale)))


def _iou(threshold: float | None) -> str:
    if threshold is None:
        return f"{_number(IOU)} /* ignored: the model is end2end, without NMS */"
    return _number(threshold)


def _number(value: float) -> str:
    """A float constant that reads back as the same float32."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _initializer(value: tuple | int | float | np.float32) -> str:
    """A C initializer: float32 becomes a float, another float a double, a tuple a struct or an array."""
    if isinstance(value, tuple):
        return f"{{{', '.join(map(_initializer, value))}}}"
    return _number(value) if isinstance(value, np.float32) else repr(value)


def _quoted(name: str) -> str:
    """A C string literal of the name in UTF-8; bytes that C would misread (also in trigraphs) are octal escapes."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in name.encode()) + '"'


def _comment(name: str) -> str:
    """The name, changed so that it cannot end the C comment that contains it."""
    return name.replace("*/", "* /")
