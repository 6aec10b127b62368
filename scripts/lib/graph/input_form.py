"""An ONNX's input form: from its metadata, or from its number of channels."""

import json

import onnx

from lib.data.input_form import METADATA_KEY, InputForm
from lib.detector.head import CLASSIFY
from lib.graph.onnx_file import metadata


def input_form_of(model: onnx.ModelProto) -> InputForm:
    """The form in which `model` expects images: from its metadata, otherwise the default.

    Raises UserError when the entry is damaged.
    """
    return InputForm.from_metadata(metadata(model)) or default_form(model)


def default_form(model: onnx.ModelProto) -> InputForm:
    """The form of a model about which nothing is known: Ultralytics', in grey for a model of one channel.

    Its classifiers, which the metadata tells, take the middle of an image.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = [tensor.type.tensor_type.shape.dim for tensor in model.graph.input if tensor.name not in constants]
    grey = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1].dim_value == 1
    place = "crop" if metadata(model).get("task") == CLASSIFY else "centre"
    return InputForm(channels="grey" if grey else "rgb", letterbox=place)


def set_input_form(model: onnx.ModelProto, form: InputForm, explicit: bool = False) -> None:
    """Write `form` to the metadata of `model`; for the default form there is no entry unless `explicit`."""
    others = {key: value for key, value in metadata(model).items() if key != METADATA_KEY}
    # A form that is the default of all models, but not of this one, would not be found again without an entry.
    needed = explicit or form != default_form(model)
    entry = {METADATA_KEY: json.dumps(form.to_json())} if needed else form.to_metadata()
    onnx.helper.set_model_props(model, others | entry)
