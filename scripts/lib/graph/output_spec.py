"""What an ONNX says of its outputs: in its metadata, where surgery wrote it, or by its structure as exported."""

from dataclasses import replace
from pathlib import Path

import onnx

from lib.detector.head import AS_IS
from lib.detector.output_spec import OutputSpec
from lib.graph.class_names import distinct_names
from lib.graph.input_convention import recognized
from lib.graph.onnx_file import load, metadata
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


def detector_form(path: Path, names: list[str]) -> OutputForm:
    """`output_form_of` the file `path`. Raises UserError when it does not score one class a name, too."""
    form = output_form_of(load(path))
    if form.spec.classes != len(names):
        raise UserError(f"{path} scores {form.spec.classes} classes, the data set has {len(names)} names")
    return form


def detector_spec(path: Path, names: list[str]) -> OutputSpec:
    """The spec of `detector_form`, of a model whose outputs are as surgery leaves them.

    Raises UserError as it does, and when the outputs take surgery to be read.
    """
    form = detector_form(path, names)
    if replace(form, input=None) != OutputForm(form.spec):
        raise UserError("the model's outputs are neither as exported nor as surgery leaves them; give it surgery first")
    return form.spec


def undecoded(path: Path) -> str | None:
    """Why nothing decodes the outputs of the file `path`; None where something does, or would with what is missing."""
    model = load(path)
    if is_as_is(model):
        return f"nothing decodes the head '{AS_IS}'"
    try:
        output_form_of(model)
    except Incomplete:
        return None
    except UserError as error:
        return f"no detector of a known family: {error}"
    return None


def class_names(model: onnx.ModelProto) -> list[str]:
    """The classes' names, as Ultralytics writes them into the model; numbers where they are not there."""
    names, classes = distinct_names(metadata(model)), output_spec_of(model).classes
    return names if len(names) == classes else [str(number) for number in range(classes)]
