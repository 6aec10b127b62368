"""Which input form a model expects: what the user, the file or its authors say, in this order, or the default."""

from collections.abc import Mapping
from dataclasses import replace

import onnx

from lib.data.input_form import METADATA_KEY, PIXELS, InputForm
from lib.detector.output_spec import OutputSpec
from lib.graph import families
from lib.graph.input_form import default_form, input_form_of, set_input_form
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.step.errors import UserError


def settle_input_form(
    model: onnx.ModelProto, given: Mapping, exported: onnx.ModelProto | None = None
) -> tuple[InputForm, str]:
    """Decide the input form of a model of one fixed size, write it to its metadata, and return it with its origin.

    given: fields of an InputForm that the user gives for the model `exported`, from which `fix_size` made this one;
    they override everything else. Raises UserError when the model has another number of channels.
    """
    entries = [metadata(each).get(METADATA_KEY) for each in (exported or model, model)]
    if entries[0] != entries[1]:
        return _behind_a_front(model, given)
    default = default_form(model)
    form, origin = InputForm.from_metadata(metadata(model)), "as the file says"
    if form is None:
        form, origin = _convention(model)
    if form is None:
        form, origin = default, "the default"
    if given:
        form, origin = form.with_changes(given), f"{', '.join(given)} as given, for the rest {origin}"
    if form.depth != default.depth:
        raise UserError(f"the model takes {default.depth} channels, but an input in {form.channels} has {form.depth}")
    _demand_used(given, form)
    set_input_form(model, form)
    return form, origin


def _behind_a_front(model: onnx.ModelProto, given: Mapping) -> tuple[InputForm, str]:
    """`settle_input_form` for a model whose normalization was removed from its graph, with the user's pixel fields."""
    form, (convention, _) = input_form_of(model), _convention(model)
    if convention:
        channels = form.channels if "channels" in given else convention.channels
        form = replace(form, channels=channels, letterbox=convention.letterbox, fill=convention.fill)
    form = form.with_changes({name: value for name, value in given.items() if name not in PIXELS})
    _demand_used(given, form)
    set_input_form(model, form)
    rest = f"{', '.join(given)} as given, " if given else ""
    return form, f"{rest}the normalization found in the graph"


def _demand_used(given: Mapping, form: InputForm) -> None:
    """Raise UserError when the user gives the grey around an image that has nothing around it."""
    if "fill" in given and not form.has_border:
        raise UserError(
            f"fill of an input is the grey around the image, but with letterbox: {form.letterbox} there is none; leave "
            "it out"
        )


def is_from_elsewhere(model: onnx.ModelProto) -> bool:
    """Whether the input form of an exported model is unknown: neither this program nor Ultralytics made the model."""
    entries = metadata(model)
    if OutputSpec.from_metadata(entries):
        return False  # from Darknet, or after surgery, when its export was already checked
    return METADATA_KEY in entries or entries.get("author") != "Ultralytics"


def recognized(model: onnx.ModelProto) -> OutputForm:
    """The form of an exported model's outputs, found in the graph as it is or after simplification.

    Raises UserError when neither belongs to a known family.
    """
    try:
        return families.recognize(Graph(model))
    except UserError as error:
        # Imported here: the import takes seconds, and most models are recognized without it.
        import onnxslim

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        try:
            simplified = onnxslim.slim(copy)
        except Exception:  # onnxslim has no error class of its own
            raise error from None
    return families.recognize(Graph(simplified))


def _convention(model: onnx.ModelProto) -> tuple[InputForm | None, str]:
    """The input form of the model's authors, None if it is not known, and what to call its origin."""
    try:
        form = recognized(model)
    except UserError:
        return None, ""  # no known family; code that needs one reports it
    return form.input, " ".join(filter(None, ("the convention of its makers", form.input_of)))
