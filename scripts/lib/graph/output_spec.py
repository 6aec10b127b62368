"""The meaning of an ONNX's outputs: from its metadata, if surgery wrote it, or from the exported graph's structure."""

from dataclasses import replace
from pathlib import Path

import onnx

from lib.detector.families.classes import Classes
from lib.detector.head import AS_IS, CLASSIFY
from lib.detector.output_spec import OutputSpec
from lib.graph.class_names import distinct_names
from lib.graph.input_convention import recognized
from lib.graph.onnx_file import metadata
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.graph import input_size
from lib.graph.surgery.output_form import OutputForm
from lib.step.errors import Incomplete, UserError


def output_form_of(model: onnx.ModelProto) -> OutputForm:
    """The meaning and the form of the outputs of a model, exported or adapted.

    Raises UserError when the model is not a detector of a known family.
    """
    if spec := OutputSpec.from_metadata(metadata(model)):
        return OutputForm(spec)
    return recognized(model)


def output_spec_of(model: onnx.ModelProto) -> OutputSpec:
    """The meaning of the outputs of a model. Raises UserError as `output_form_of` does."""
    return output_form_of(model).spec


def form_or_reason(model: onnx.ModelProto) -> tuple[OutputForm | None, str]:
    """The form of a model's outputs and ""; or None and why the outputs cannot be decoded.

    Raises Incomplete when they could be decoded with something more from the user.
    """
    if is_as_is(model):
        return None, f"the head '{AS_IS}' is not decoded"
    try:
        return output_form_of(model), ""
    except Incomplete:
        raise
    except UserError as error:
        return None, f"not a detector of a known family: {error}"


def demand_classes(spec: OutputSpec, names: list[str], path: Path) -> None:
    """Raise UserError when the model in the file `path` does not have one class per name."""
    if spec.classes != len(names):
        raise UserError(f"{path} has {spec.classes} classes, but the data set has {len(names)} names")


def detector_spec(model: onnx.ModelProto, names: list[str], path: Path) -> OutputSpec:
    """The spec of a model, in the file `path`, whose outputs have the form that surgery gives them.

    Raises UserError as `output_form_of` and `demand_classes` do, and when the outputs still need surgery.
    """
    form = output_form_of(model)
    demand_classes(form.spec, names, path)
    if replace(form, input=None) != OutputForm(form.spec):
        raise UserError("the model's outputs are in a form that needs graph surgery; run graph_surgery.py on it first")
    return form.spec


def classifier_spec(model: onnx.ModelProto, classes: int) -> OutputSpec:
    """The spec of a classifier with the head `as_is` and so many classes."""
    imgsz = input_size(model)
    return OutputSpec(imgsz, AS_IS, Classes((max(imgsz),)), classes, CLASSIFY, end2end=True)


def class_names(model: onnx.ModelProto) -> list[str]:
    """The class names that Ultralytics wrote to the model; numbers if there are none."""
    names, classes = distinct_names(metadata(model)), output_spec_of(model).classes
    return names if len(names) == classes else [str(number) for number in range(classes)]
