"""Graphs with anchors: YOLOv3 to v7 as PyTorch exports them, decoded or not; or as their metadata says."""

from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.detector.head import EXPORTED, SINGLE
from lib.detector.output_spec import OutputSpec
from lib.graph.anchor_option import ASK, anchor_counts, anchor_layers
from lib.graph.class_names import distinct_names
from lib.graph.families import GraphFamily, register
from lib.graph.onnx_file import metadata
from lib.graph.surgery import shared_classes
from lib.graph.surgery.anchor_maps import head_maps
from lib.graph.surgery.anchor_outputs import BOXES, LOGITS, QUANTITIES, SIGMOIDS, AnchorReader, reader_of
from lib.graph.surgery.behind import Behind
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, anchors_maps, anchors_single, anchors_split, equalize, shared_classes_split
from lib.graph.surgery.shared_classes import SharedClasses
from lib.step.errors import Incomplete

_HELD = {LOGITS: "not decoded, before the sigmoid", SIGMOIDS: "not decoded, after the sigmoid", BOXES: "decoded"}


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph whose outputs come from one convolution per stride, of A * (5+C) channels.

    Raises Incomplete where such a graph does not decode and its metadata holds no anchors, UserError where it has more
    than boxes.
    """
    if form := shared_classes.recognize(graph):
        return form
    maps = head_maps(graph)
    channels = {graph.shape(name)[1] for name in maps}
    if not maps or min(channels) <= QUANTITIES:
        return None
    behind = Behind(graph, maps)
    strides = tuple(behind.strides)
    known = _counts_by_names(graph, channels, len(strides)) or anchor_counts(graph.model, len(strides))
    reading = reader_of(behind, known)
    if reading is None:
        return None
    reader, layers = reading
    if not layers:
        layers = anchor_layers(graph.model, strides)
        if not layers and not known and not _asks_for_anchors(reader, channels):
            return None
        _demand(layers, reader)
    classes = reader.arrangement.per_anchor - QUANTITIES
    return OutputForm(OutputSpec(graph.imgsz, EXPORTED, Anchors(layers), classes), read=reader)


def _asks_for_anchors(reader: AnchorReader, channels: set[int]) -> bool:
    """Whether outputs that are not decoded, of a file that names neither anchors nor classes, are likely of anchors.

    Where their shapes do not say how many there are, the three that all published models have must be possible, and
    the strides not be joined: such rows are of another family.
    """
    several = max(reader.arrangement.anchors) > 1
    return several or (len(reader.arrangement.outputs) > 1 and not any(count % 3 for count in channels))


def _counts_by_names(graph: Graph, channels: set[int], strides: int) -> tuple[int, ...] | None:
    """How many anchors each stride has by the number of class names in the model's metadata; None where it has none."""
    names = len(distinct_names(metadata(graph.model)))
    if not names or len(channels) > 1 or min(channels) % (QUANTITIES + names):
        return None
    return (min(channels) // (QUANTITIES + names),) * strides


def _demand(layers: tuple[AnchorLayer, ...], reader: AnchorReader) -> None:
    """Raise Incomplete unless `layers` can decode what `reader` reads."""
    held, counts = _HELD[reader.holds], reader.arrangement.anchors
    if not layers:
        raise Incomplete(f"the model's boxes are {held}, and the file does not hold its anchors; {ASK}")
    if (given := tuple(len(layer.anchors) for layer in layers)) != counts:
        raise Incomplete(f"{given[0]} anchors a stride were given, the model has {', '.join(map(str, counts))}")
    if reader.holds == SIGMOIDS and not all(layer.new_coords for layer in layers):
        raise Incomplete("the model gives sigmoids of its sizes, and those anchors belong to exponentials of logits")


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Cut at the maps or decoded anew; equalized where the maps were in the graph already.

    YOLOv5-Lite, whose maps are not, loses by equalization (the docs have the figures).
    """
    if isinstance(form.read, SharedClasses):
        return (shared_classes_split.PASS, *((anchors_single.PASS,) if head == SINGLE else ()))
    if form.read:
        return (anchors_maps.PASS, *((anchors_single.PASS,) if head == SINGLE else ()))
    return ((anchors_single if head == SINGLE else anchors_split).PASS, equalize.PASS)


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """Head, anchors and classes."""
    family = form.spec.family
    held = ""
    if form.read:
        shared = isinstance(form.read, SharedClasses)
        held = f", {'classes shared, not decoded' if shared else _HELD[form.read.holds]}"
    return {
        "head": f"{family.title}, strides {', '.join(map(str, family.strides))}{held}",
        "anchors": "; ".join(" ".join(f"{w:g}x{h:g}" for w, h in layer.anchors) for layer in family.layers),
        "classes": str(form.spec.classes),
    }


register(GraphFamily(Anchors, recognize, passes, described))
