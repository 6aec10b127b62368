"""Which form a model's images are given in: as the user, the file, or its makers say, in this order; or the default."""

import onnx

from lib.data.input_form import METADATA_KEY, InputForm
from lib.detector.output_spec import OutputSpec
from lib.graph import families
from lib.graph.input_form import default_form, set_input_form
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.step.errors import UserError


def settle_input_form(model: onnx.ModelProto, given: dict) -> tuple[InputForm, str]:
    """Settle the form of a model of one fixed size, write it into its metadata, and say what it rests on.

    given: fields of an InputForm, as a user says them; they come before all else. Raises UserError when the model has
    another number of channels.
    """
    known = default_form(model)
    form, origin = InputForm.from_metadata(metadata(model)), "as the file says"
    if form is None:
        form, origin = _convention(model), "the convention of its makers"
    if form is None:
        form, origin = known, "the default"
    if given:
        form, origin = form.with_changes(given), f"{', '.join(given)} as given, for the rest {origin}"
    if form.depth != known.depth:
        raise UserError(f"the model takes {known.depth} channels, and an input in {form.channels} has {form.depth}")
    set_input_form(model, form)
    return form, origin


def is_from_elsewhere(model: onnx.ModelProto) -> bool:
    """Whether it is open how images are given to an exported model: nobody of the house, nor Ultralytics, made it."""
    entries = metadata(model)
    if OutputSpec.from_metadata(entries):
        return False  # Darknet's, or after surgery, whose export was looked at
    return METADATA_KEY in entries or entries.get("author") != "Ultralytics"


def recognized(model: onnx.ModelProto) -> OutputForm:
    """The form of an exported model's outputs, found in the graph as it is or after simplification.

    Raises UserError when neither is of a known family.
    """
    try:
        return families.recognize(Graph(model))
    except UserError as error:
        # Imported here: it takes seconds, and most models are recognized without it.
        import onnxslim

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        try:
            simplified = onnxslim.slim(copy)
        except Exception:  # onnxslim has no error class of its own
            raise error from None
    return families.recognize(Graph(simplified))


def _convention(model: onnx.ModelProto) -> InputForm | None:
    try:
        return recognized(model).input
    except UserError:
        return None  # of no known family: whoever needs one says so
