"""A file for each family: how its graphs are recognized, and which passes they take.

A file here is found by itself: it registers one `GraphFamily`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from lib.detector.families import Family
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import metadata
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass
from lib.step.errors import Incomplete, UserError


@dataclass(frozen=True)
class GraphFamily:
    """What surgery must know of a family of detectors.

    recognize(graph): the form of the outputs of an exported graph of this family, None for one that looks like another;
    raises UserError saying what was expected and found. passes(form, head): those that give it its head.
    described(graph, form): what its outputs are, for people: a word for each.
    """

    family: type[Family]
    recognize: Callable[[Graph], OutputForm | None]
    passes: Callable[[OutputForm, str], tuple[Pass, ...]]
    described: Callable[[Graph, OutputForm], dict[str, str]]


_families: dict[str, GraphFamily] = {}


def register(family: GraphFamily) -> None:
    """Make a family known by its name. Raises ValueError when another has that name."""
    name = family.family.name
    if name in _families:
        raise ValueError(f"two families are called '{name}'")
    _families[name] = family


def get(name: str) -> GraphFamily:
    """The family of that name. Raises UserError when there is none."""
    if name not in _families:
        raise UserError(f"there is no family '{name}' of graphs; there are {', '.join(sorted(_families))}")
    return _families[name]


def recognize(graph: Graph) -> OutputForm:
    """The form of an unadapted graph's outputs: as its metadata says, or as the first family that knows it says.

    Raises Incomplete where a family knows it and asks for something; otherwise UserError when no family does, with what
    the first of them that objects to it has to say.
    """
    if spec := OutputSpec.from_metadata(metadata(graph.model)):
        return OutputForm(spec)
    objections = []
    for name in sorted(_families):
        try:
            if form := _families[name].recognize(graph):
                return form
        except Incomplete:
            raise
        except UserError as error:
            objections.append(error)
    raise objections[0] if objections else UserError("the model is of none of the families of detectors")


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
