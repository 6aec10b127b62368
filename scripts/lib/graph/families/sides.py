"""The common part of families that predict distances of a box's sides: recognized by structure, cut, decoded again."""

from dataclasses import replace

from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.families.sides import SIDES
from lib.detector.head import EXPORTED, SELECTED, SINGLE, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph import tasks
from lib.graph.surgery import came_split, side_outputs
from lib.graph.surgery.detector import (
    consecutive_strides,
    find_detector,
    has_relative_boxes,
    predictions_output,
    require_strides,
)
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import (
    Pass,
    limit_boxes,
    one_sigmoid,
    outlier_channels,
    single_output,
    split_again,
    split_outputs,
)
from lib.graph.surgery.passes.cut_maps import cut_maps
from lib.graph.tasks import segment
from lib.step.errors import UserError


def recognize(graph: Graph, wanted: type[Dfl] | type[Distances]) -> OutputForm | None:
    """The form of a graph of the family `wanted`, None for a graph of the other one.

    Raises UserError for a graph whose boxes do not come from the distances of their sides.
    """
    try:
        return _came_split(graph, wanted) if came_split.is_split(graph) else _exported(graph, wanted)
    except UserError:
        if (reading := side_outputs.recognize(graph)) is None:
            raise
    spec, reader = reading
    return OutputForm(spec, read=reader) if isinstance(spec.family, wanted) else None


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Passes that cut or reorder and, for the head `single`, decode again."""
    if form.read:
        cut = (cut_maps(side_outputs.find_maps),)
    else:
        cut = (split_again.PASS,) if form.spec.head == SPLIT else (one_sigmoid.PASS, split_outputs.PASS)
    return (*cut, outlier_channels.PASS, *single(head))


def single(head: str) -> tuple[Pass, ...]:
    """The passes behind the cut that decode again for the head `single`; none for another head."""
    return (single_output.PASS, limit_boxes.PASS) if head == SINGLE else ()


def not_decoded(form: OutputForm, head: str, *details: str) -> dict[str, str]:
    """The head, family and classes of another author's maps; `head` and `details` of the family in words."""
    family = form.spec.family
    return {
        "head": f"{head}, strides {', '.join(map(str, family.strides))}",
        "family": ", ".join([family.name, *details, f"points at {family.offset:g} of a cell"]),
        "classes": str(form.spec.classes),
    }


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """The head, family, classes and sigmoids."""
    if form.spec.head == SPLIT:
        maps = ", ".join(f"{name} {list(graph.shape(name))}" for name in form.names)
        return {
            "head": f"split already: {maps}",
            "classes": str(form.spec.classes),
            "sigmoid": f"{int(form.sigmoid)} on the class maps",
        }
    if form.read:
        return {
            "head": "boxes and scores in an order of its maker",
            "family": f"{form.spec.family.name}, strides {', '.join(map(str, form.spec.family.strides))}",
            "classes": str(form.spec.classes),
        }
    detector = find_detector(graph)
    head = "its best predictions, end-to-end (no NMS)" if detector.end2end else "boxes and scores in one output"
    relative = ", divided by width and height" if form.relative else ""
    of_task = {"task": f"{form.spec.task}, {_extra_maps(form.spec)}"} if form.spec.extras else {}
    return {
        "head": f"{head}{', transposed' if form.transposed else ''}{relative}",
        "family": f"{form.spec.family.name}, box maps {[list(graph.shape(name)) for name in detector.box_maps]}",
        "classes": str(form.spec.classes),
        "sigmoid": f"{detector.sigmoids} on the class scores",
        **of_task,
    }


def _extra_maps(spec: OutputSpec) -> str:
    """A task's own maps, by role and channels."""
    channels = {output.role: output.channels for output in spec.extras}
    return ", ".join(f"{role} {count} channels" for role, count in channels.items())


def _came_split(graph: Graph, wanted: type[Dfl] | type[Distances]) -> OutputForm | None:
    names = tuple(came_split.outputs_in_order(graph))
    sigmoid = came_split.sigmoids(graph) == 1
    box_channels, classes = (graph.shape(name)[1] for name in names[:2])
    strides = consecutive_strides(graph, names[0::2])
    family = _family(box_channels // len(SIDES) if box_channels > len(SIDES) else 0, strides)
    if not isinstance(family, wanted):
        return None
    masks = came_split.mask_maps(graph)
    spec = OutputSpec(graph.imgsz, SPLIT, family, classes)
    if masks:
        spec = replace(spec, task=segment.NAME, extras=segment.of_split(graph, masks, family))
    return OutputForm(spec, sigmoid=sigmoid, names=(*names, *masks))


def _exported(graph: Graph, wanted: type[Dfl] | type[Distances]) -> OutputForm | None:
    detector = find_detector(graph)
    if detector.columns is None:  # a detector of other strides is read by side_outputs
        for maps in (detector.box_maps, detector.class_maps):
            require_strides(graph, maps)
    if detector.sigmoids > 1:
        raise UserError(
            f"the class scores go through {detector.sigmoids} sigmoids, so they cannot be right; export the model again"
        )
    if detector.end2end and not detector.sigmoids:
        raise UserError("the end-to-end head selects by logits, without a sigmoid; export the model again")
    head = SELECTED if detector.end2end else EXPORTED
    family = _family(detector.bins, detector.strides(graph))
    if not isinstance(family, wanted):
        return None
    task, extras = tasks.recognize(graph, detector, family)
    spec = OutputSpec(graph.imgsz, head, family, detector.classes(graph), task, detector.end2end, extras)
    relative = not detector.end2end and has_relative_boxes(graph, detector)
    predictions = predictions_output(graph)
    return OutputForm(
        spec,
        transposed=detector.transposed,
        sigmoid=detector.sigmoids == 1,
        relative=relative,
        names=(predictions, *filter(None, [detector.prototypes])) if graph.outputs != [predictions] else None,
    )


def _family(bins: int, strides: tuple[int, ...]) -> Dfl | Distances:
    return Dfl(strides, bins) if bins else Distances(strides)
