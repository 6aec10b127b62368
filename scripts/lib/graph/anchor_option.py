"""The anchors of a graph that does not contain them, as the user gives them; they are stored in the ONNX's metadata."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import helper

from lib.detector.families import Family
from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.graph.onnx_file import metadata
from lib.step import yaml_text
from lib.step.errors import UserError

METADATA_KEY = "rv1106.anchors"  # its value is a name in PUBLISHED, or numbers as JSON
HELP = (
    "for an export that does not decode its boxes: width,height of each anchor in pixels, the finest stride's first; "
    "or a YOLOv5 .yaml that lists them; or the default ones of yolov3, yolov5 or yolov7"
)
ASK = "say which with --anchors (models.NAME.anchors in a config): numbers, a YOLOv5 .yaml, or yolov5 for the default"

_YOLOV5 = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
_YOLOV5_P6 = (
    19, 27, 44, 40, 38, 94, 96, 68, 86, 152, 180, 137,
    140, 301, 303, 264, 238, 542, 436, 615, 739, 380, 925, 792,
)  # fmt: skip
_YOLOV7 = (12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401)
# By name and number of strides, from the authors' model descriptions. YOLOv7-tiny has those of YOLOv5.
PUBLISHED = {"yolov3": {3: _YOLOV5}, "yolov5": {3: _YOLOV5, 4: _YOLOV5_P6}, "yolov7": {3: _YOLOV7, 4: _YOLOV5_P6}}
_SAME = 1e-2  # two anchors that differ by less are the same: a quantized graph has rounded ones
EXPONENTIAL = ("yolov3",)  # sizes are exponentials of the logits; later versions square sigmoids


def add_anchors_option(parser: argparse.ArgumentParser) -> None:
    """Add `--anchors`, whose value is for `with_anchors`. Parsing raises UserError as `parse_anchors` does."""
    parser.add_argument("--anchors", type=parse_anchors, metavar="ANCHORS", help=HELP)


def parse_anchors(text: str) -> str:
    """The user's text about anchors in the form of the metadata. Raises UserError when it gives none."""
    text = text.strip()
    if text in PUBLISHED:
        return text
    if text.endswith((".yaml", ".yml")):
        return json.dumps(_of_yaml(Path(text)))
    numbers = re.split(r"[\s,;]+", re.sub(r"[\[\]()]", " ", text).strip(" ,;"))
    try:
        return json.dumps(_checked([float(number) for number in numbers]))
    except ValueError:
        raise UserError(
            f"anchors '{text}' are neither numbers, nor a .yaml file, nor one of {', '.join(PUBLISHED)}"
        ) from None


def with_anchors(model: onnx.ModelProto, anchors: str | None) -> onnx.ModelProto:
    """The model, with the result of `parse_anchors` in its metadata if the option was given."""
    if anchors:
        helper.set_model_props(model, metadata(model) | {METADATA_KEY: anchors})
    return model


def demand_anchors_used(anchors: str | None, family: Family | None, why: str = "", name: str = "--anchors") -> None:
    """Raise UserError when the anchors that the user gives are not those that the model's boxes are decoded with.

    anchors: the result of `parse_anchors`, or None. family: of the model's outputs, None where they are not decoded,
    for the reason `why`. name: of the option, for the message.
    """
    if not anchors:
        return
    if family is None:
        reason = f"the model's outputs are not decoded ({why})"
    elif not isinstance(family, Anchors):
        reason = f"the model's boxes do not come from anchors (family '{family.name}')"
    else:
        layers = sorted(family.layers, key=lambda layer: layer.stride)
        own = [size for layer in layers for anchor in layer.anchors for size in anchor]
        given = PUBLISHED[anchors].get(len(layers), ()) if anchors in PUBLISHED else json.loads(anchors)
        if len(given) == len(own) and np.allclose(given, own, rtol=_SAME):
            return
        reason = f"the model has its own anchors, {', '.join(f'{size:g}' for size in own)}"
    raise UserError(f"{name} would have no effect, because {reason}; leave it out")


def anchor_counts(model: onnx.ModelProto, strides: int) -> tuple[int, ...] | None:
    """The number of anchors of each of `strides` strides, from the model's metadata; None where it has no entry.

    Raises UserError as `anchor_layers` does.
    """
    numbers = _numbers(model, strides)
    return (len(numbers) // (2 * strides),) * strides if numbers else None


def anchor_layers(model: onnx.ModelProto, strides: tuple[int, ...]) -> tuple[AnchorLayer, ...]:
    """The layers in the model's metadata, for maps of `strides`, the finest first; empty where it has no entry.

    Raises UserError when the strides do not have equal numbers of anchors.
    """
    numbers = _numbers(model, len(strides))
    if not numbers:
        return ()
    new_coords = metadata(model)[METADATA_KEY] not in EXPONENTIAL
    sizes, count = list(zip(numbers[0::2], numbers[1::2])), len(numbers) // 2 // len(strides)
    return tuple(
        AnchorLayer(stride, tuple(sizes[count * place : count * (place + 1)]), 2.0 if new_coords else 1.0, new_coords)
        for place, stride in enumerate(strides)
    )


def _numbers(model: onnx.ModelProto, strides: int) -> list[float]:
    text = metadata(model).get(METADATA_KEY, "")
    if text in PUBLISHED:
        if strides not in PUBLISHED[text]:
            known = " or ".join(map(str, PUBLISHED[text]))
            raise UserError(f"the anchors of {text} are for {known} strides, but the model has {strides}; give numbers")
        return [float(number) for number in PUBLISHED[text][strides]]
    numbers = json.loads(text) if text else []
    if len(numbers) % (2 * strides):
        raise UserError(
            f"{len(numbers) // 2} anchors cannot be divided evenly over the model's {strides} strides; "
            "give the same number for each stride, the finest first"
        )
    return numbers


def _of_yaml(path: Path) -> list[float]:
    """The anchors of a YOLOv5 model description."""
    try:
        rows = yaml_text.load(path.read_text(encoding="utf-8"))["anchors"]
        return _checked([float(number) for row in rows for number in row])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} has no 'anchors' with a list of widths and heights for each stride") from None


def _checked(numbers: list[float]) -> list[float]:
    """The numbers. Raises ValueError when they are not pairs above 0."""
    if not numbers or len(numbers) % 2 or not all(0 < number < 1e5 for number in numbers):
        raise ValueError(numbers)
    return numbers
