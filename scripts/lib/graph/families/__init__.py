"""One file per family: how its graphs are recognized, and which passes they need.

A file here is found automatically: it registers one `GraphFamily`.
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
    """What surgery needs to know about a family of detectors.

    recognize(graph): the form of the outputs of an exported graph of this family, None for a graph of another one;
    raises UserError with what was expected and what is there. passes(form, head): the passes that give the graph its
    head. described(graph, form): a description of its outputs for inspect_onnx.py, line by line.
    """

    family: type[Family]
    recognize: Callable[[Graph], OutputForm | None]
    passes: Callable[[OutputForm, str], tuple[Pass, ...]]
    described: Callable[[Graph, OutputForm], dict[str, str]]


_families: dict[str, GraphFamily] = {}


def register(family: GraphFamily) -> None:
    """Register a family under its name. Raises ValueError when another family has that name."""
    name = family.family.name
    if name in _families:
        raise ValueError(f"two families are called '{name}'")
    _families[name] = family


def get(name: str) -> GraphFamily:
    """The family of that name. Raises UserError when there is none."""
    if name not in _families:
        raise UserError(f"there is no family '{name}' of graphs; the families are {', '.join(sorted(_families))}")
    return _families[name]


def recognize(graph: Graph) -> OutputForm:
    """The form of an unadapted graph's outputs: from its metadata, or from the first family that recognizes it.

    Raises Incomplete when a family recognizes it but needs something from the user; otherwise UserError when no family
    does, with the first family's objection.
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
    raise objections[0] if objections else UserError("the model belongs to no known family of detectors")


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
