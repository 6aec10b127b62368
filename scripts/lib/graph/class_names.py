"""The class names in an ONNX's metadata, and whether they agree with a data set's."""

import re

from lib.step.errors import UserError


def distinct_names(metadata: dict[str, str]) -> list[str]:
    """The distinct names in their order, from the text of a Python dict as Ultralytics writes; empty without one."""
    return list(dict.fromkeys(names_in(metadata)))


def names_in(metadata: dict[str, str]) -> list[str]:
    """All names in their order, including repeated ones; empty without such a text."""
    names = re.findall(r"\d+: (?:'([^']*)'|\"([^\"]*)\")", metadata.get("names", ""))
    return [single or double for single, double in names]


def demand_same_order(model: str, theirs: list[str], ours: list[str]) -> None:
    """Raise UserError, with both lists, when the data set (`ours`) gives a class of the `model` another number.

    Names that the model does not have are not compared, because people translate names.
    """
    moved = [name for name in ours if name in theirs and theirs.index(name) != ours.index(name)]
    if moved and len(theirs) == len(ours):
        raise UserError(
            f"{model} and the data set number their classes differently ({moved[0]}: {theirs.index(moved[0])} and "
            f"{ours.index(moved[0])}), so names and labels would be wrong:\n"
            f"  the model:    {', '.join(theirs)}\n  the data set: {', '.join(ours)}\n"
            "give the names in the model's order; if the model's own names are wrong, set evaluation.class_order: other"
        )
