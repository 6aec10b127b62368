"""Graphs with anchors: YOLOv3 to v7 as exported from PyTorch, decoded or not; or as their metadata says."""

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

PUBLISHED_ANCHORS = 3  # per cell, in all published models
FACE_VALUES = QUANTITIES + 2 * 5 + 1  # of an anchor of YOLOv5-face: x and y of five landmarks, and one class
_OUTPUTS = {LOGITS: "not decoded, before the sigmoid", SIGMOIDS: "not decoded, after the sigmoid", BOXES: "decoded"}


def recognize(graph: Graph) -> OutputForm | None:
    """The form of a graph whose outputs come from one convolution per stride, of A * (5+C) channels.

    Raises Incomplete when such a graph does not decode and its metadata has no anchors, UserError when it has more than
    boxes.
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
        # What is not known to be one anchor per cell is taken for three, as in all published models.
        is_guess = not layers and not known and max(reader.arrangement.anchors) == 1
        per_anchor = min(channels) // PUBLISHED_ANCHORS if is_guess else reader.arrangement.per_anchor
        _demand_no_landmarks(graph, per_anchor)
        _demand(layers, reader, per_anchor - QUANTITIES, is_guess)
    classes = reader.arrangement.per_anchor - QUANTITIES
    return OutputForm(OutputSpec(graph.imgsz, EXPORTED, Anchors(layers), classes), read=reader)


def _asks_for_anchors(reader: AnchorReader, channels: set[int]) -> bool:
    """Whether undecoded outputs, in a file that names neither anchors nor classes, probably come from anchors.

    If their shapes do not give the number of anchors, the three of all published models must be possible, and the
    strides must not be joined, because joined rows belong to another family.
    """
    several = max(reader.arrangement.anchors) > 1
    rest = [count % PUBLISHED_ANCHORS for count in channels]
    return several or (len(reader.arrangement.outputs) > 1 and not any(rest))


def _counts_by_names(graph: Graph, channels: set[int], strides: int) -> tuple[int, ...] | None:
    """The number of anchors per stride, from the number of class names in the metadata; None without names."""
    names = len(distinct_names(metadata(graph.model)))
    if not names or len(channels) > 1 or min(channels) % (QUANTITIES + names):
        return None
    return (min(channels) // (QUANTITIES + names),) * strides


def _demand_no_landmarks(graph: Graph, per_anchor: int) -> None:
    """Raise Incomplete for the values of a YOLOv5-face, unless there are names for as many classes as they could be."""
    classes = per_anchor - QUANTITIES
    if per_anchor == FACE_VALUES and len(distinct_names(metadata(graph.model))) != classes:
        raise Incomplete(
            f"the model has {per_anchor} values per anchor, as YOLOv5-face has: a box, five landmarks and one class, "
            f"whose landmarks are not supported; if it has {classes} classes instead, add their names to the ONNX's "
            "metadata as the entry 'names', such as {0: 'cat', 1: 'dog'}"
        )


def _demand(layers: tuple[AnchorLayer, ...], reader: AnchorReader, classes: int, is_guess: bool) -> None:
    """Raise Incomplete unless `layers` can decode what `reader` reads.

    classes: their number, for the message; is_guess: it is that of three anchors per cell.
    """
    held, counts = _OUTPUTS[reader.holds], reader.arrangement.anchors
    if not layers:
        read = f"{classes} classes{f' if it has {PUBLISHED_ANCHORS} anchors per cell' if is_guess else ''}"
        raise Incomplete(f"the model's boxes ({read}) are {held}, and the file does not contain its anchors; {ASK}")
    if (given := tuple(len(layer.anchors) for layer in layers)) != counts:
        raise Incomplete(f"{given[0]} anchors per stride were given, but the model has {', '.join(map(str, counts))}")
    if reader.holds == SIGMOIDS and not all(layer.new_coords for layer in layers):
        raise Incomplete("the model outputs sigmoids of its sizes, but these anchors are for exponentials of logits")


def passes(form: OutputForm, head: str) -> tuple[Pass, ...]:
    """Passes that cut at the maps or decode again, and equalize if the maps were already in the graph.

    YOLOv5-Lite, whose maps were not, loses accuracy by equalization (figures in the docs).
    """
    if isinstance(form.read, SharedClasses):
        return (shared_classes_split.PASS, *((anchors_single.PASS,) if head == SINGLE else ()))
    if form.read:
        return (anchors_maps.PASS, *((anchors_single.PASS,) if head == SINGLE else ()))
    return ((anchors_single if head == SINGLE else anchors_split).PASS, equalize.PASS)


def described(graph: Graph, form: OutputForm) -> dict[str, str]:
    """The head, anchors and classes."""
    family = form.spec.family
    held = ""
    if form.read:
        shared = isinstance(form.read, SharedClasses)
        held = f", {'classes shared, not decoded' if shared else _OUTPUTS[form.read.holds]}"
    return {
        "head": f"{family.title}, strides {', '.join(map(str, family.strides))}{held}",
        "anchors": "; ".join(" ".join(f"{w:g}x{h:g}" for w, h in layer.anchors) for layer in family.layers),
        "classes": str(form.spec.classes),
    }


register(GraphFamily(Anchors, recognize, passes, described))
