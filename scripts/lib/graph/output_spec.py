"""What an ONNX says of its outputs: in its metadata, where surgery wrote it, or by its structure as exported."""

from dataclasses import replace
from pathlib import Path

import onnx

from lib.detector.head import AS_IS
from lib.detector.output_spec import OutputSpec
from lib.graph.class_names import distinct_names
from lib.graph.input_convention import recognized
from lib.graph.onnx_file import metadata
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.output_form import OutputForm
from lib.step.errors import Incomplete, UserError


def output_form_of(model: onnx.ModelProto) -> OutputForm:
    """What the outputs of a model mean, and how they leave it, exported or adapted.

    Raises UserError when it is no detector of a known family.
    """
    if spec := OutputSpec.from_metadata(metadata(model)):
        return OutputForm(spec)
    return recognized(model)


def output_spec_of(model: onnx.ModelProto) -> OutputSpec:
    """What the outputs of a model mean. Raises UserError as `output_form_of` does."""
    return output_form_of(model).spec


def form_or_reason(model: onnx.ModelProto) -> tuple[OutputForm | None, str]:
    """The form of a model's outputs; or None, and why nothing decodes them.

    Raises Incomplete where something would, with what is missing.
    """
    if is_as_is(model):
        return None, f"nothing decodes the head '{AS_IS}'"
    try:
        return output_form_of(model), ""
    except Incomplete:
        raise
    except UserError as error:
        return None, f"no detector of a known family: {error}"


def demand_classes(spec: OutputSpec, names: list[str], path: Path) -> None:
    """Raise UserError when the model of the file `path` does not score one class a name."""
    if spec.classes != len(names):
        raise UserError(f"{path} scores {spec.classes} classes, the data set has {len(names)} names")


def detector_spec(model: onnx.ModelProto, names: list[str], path: Path) -> OutputSpec:
    """The spec of a model, of the file `path`, whose outputs are as surgery leaves them.

    Raises UserError as `output_form_of` and `demand_classes` do, and when the outputs take surgery to be read.
    """
    form = output_form_of(model)
    demand_classes(form.spec, names, path)
    if replace(form, input=None) != OutputForm(form.spec):
        raise UserError("the model's outputs are neither as exported nor as surgery leaves them; give it surgery first")
    return form.spec


def class_names(model: onnx.ModelProto) -> list[str]:
    """The classes' names, as Ultralytics writes them into the model; numbers where they are not there."""
    names, classes = distinct_names(metadata(model)), output_spec_of(model).classes
    return names if len(names) == classes else [str(number) for number in range(classes)]
