"""Reads a graph that predicts sides but joins boxes and scores in its author's own way, as YOLOv6 does.

Two convolutions per stride make a box map [1, 4*R or 4, H, W] and a class map [1, C, H, W]. Which is which, and how the
outputs contain the boxes and scores computed from them, is found by running the rest of the graph on noise:

  outputs      one [1, N, 4+C] or [1, 4+C, N]; with a column of ones before the scores; or boxes and scores apart
  they hold    centres and sizes, or corners, in pixels or divided by width and height; scores, or their logits
  points       the middle of each cell, or its upper left corner (RTMDet)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import onnx

from lib.detector.families.dfl import MOST_BINS, Dfl
from lib.detector.families.distances import Distances
from lib.detector.families.sides import SIDES
from lib.detector.head import BOX, EXPORTED
from lib.detector.output_spec import OutputSpec
from lib.graph.surgery.anchor_maps import stride_of
from lib.graph.surgery.behind import Behind, alike
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.map_place import probabilities
from lib.graph.surgery.moved_maps import Part


@dataclass(frozen=True)
class RowReader:
    """Makes predictions float32 [N, 4+C] from outputs with boxes and scores row by row; an OutputForm's `read`.

    boxes, scores: the indices of the outputs; equal if they are joined, with the scores from column `first_score` on.
    transposed: whether each is [1, columns, N]. counts: the number of rows per stride, the finest first.
    coarsest_first: the largest stride comes first. corners: boxes are x1, y1, x2, y2. unit: what they are divided by.
    logits: scores still need the sigmoid.
    """

    boxes: int
    scores: int
    first_score: int
    transposed: tuple[bool, bool]
    counts: tuple[int, ...]
    coarsest_first: bool
    corners: bool
    unit: tuple[float, float]
    logits: bool

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """Boxes as centres and sizes in pixels, scores as probabilities."""
        boxes, scores = (
            self._rows(raw[number], transposed)
            for number, transposed in zip((self.boxes, self.scores), self.transposed)
        )
        boxes, scores = boxes[:, :BOX], scores[:, self.first_score :]
        if self.corners:
            low, high = boxes[:, :2], boxes[:, 2:]
            boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
        boxes = boxes * np.array(self.unit * 2, np.float32)
        return np.concatenate([boxes, probabilities(scores) if self.logits else scores], axis=1)

    def _rows(self, output: np.ndarray, transposed: bool) -> np.ndarray:
        total = sum(self.counts)
        rows = (output.reshape(-1, total).T if transposed else output.reshape(total, -1)).astype(np.float32)
        if self.coarsest_first:
            rows = np.concatenate(np.split(rows, np.cumsum(self.counts[::-1])[:-1])[::-1])
        return rows


def recognize(graph: Graph) -> tuple[OutputSpec, RowReader] | None:
    """The meaning of the outputs and how to read them; None if nothing fits."""
    reading = _reading(graph)
    return reading and reading[1:]


def find_maps(graph: Graph) -> list[Part]:
    """Box map and class map of each stride of a graph that `recognize` knows, the finest first."""
    maps, *_ = _reading(graph)
    shapes = [graph.shape(name) for name in maps]
    return [Part(name, 0, shape[1], shape[2] * shape[3]) for name, shape in zip(maps, shapes)]


def _reading(graph: Graph) -> tuple[tuple[str, ...], OutputSpec, RowReader] | None:
    for maps in _assignments(graph):
        behind = Behind(graph, maps)
        channels, classes = behind.shapes[0][0], behind.shapes[1][0]
        bins = channels // len(SIDES)
        if channels % len(SIDES) or bins > MOST_BINS:
            continue
        strides = tuple(behind.strides[0::2])
        given = [
            probabilities(values) if number % 2 else values for number, values in enumerate(_batched(behind.noise))
        ]
        for reader, corner in product(_readers(behind, classes), (None, True)):
            family = Dfl(strides, bins, corner=corner) if bins > 1 else Distances(strides, corner=corner)
            spec = OutputSpec(behind.imgsz, EXPORTED, family, classes)
            expected, found = family.decode_maps(given, behind.imgsz), reader(spec, behind.of_noise)
            parts = ([found[:, :BOX]], [expected[:, :BOX]]), ([found[:, BOX:]], [expected[:, BOX:]])
            if all(alike(*part, 10 * behind.rounding) for part in parts):
                return maps, spec, reader
    return None


def _batched(maps: list[np.ndarray]) -> list[np.ndarray]:
    return [values[None] for values in maps]


def _assignments(graph: Graph) -> Iterator[tuple[str, ...]]:
    """Yield box map and class map of each stride, the finest first, in every order that the channel counts allow."""
    strides: dict[int, list[str]] = {}
    for name in _nearest_maps(graph):
        strides.setdefault(stride_of(graph, name), []).append(name)
    if len(strides) < 2 or any(len(names) != 2 for names in strides.values()):
        return
    for pairs in product(*(permutations(strides[stride]) for stride in sorted(strides))):
        if len({tuple(graph.shape(name)[1] for name in pair) for pair in pairs}) == 1:
            yield tuple(name for pair in pairs for name in pair)


def _nearest_maps(graph: Graph) -> list[str]:
    """The feature maps of convolutions that are nearest to the outputs, not counting a DFL's own convolution."""

    def makes_map(node: onnx.NodeProto) -> bool:
        is_map = node.op_type == "Conv" and stride_of(graph, node.output[0]) is not None
        return is_map and not _is_mean_over_bins(graph, node)

    return [node.output[0] for node in graph.upwards(graph.outputs, makes_map) if makes_map(node)]


def _is_mean_over_bins(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a convolution is a DFL's: it reads a Softmax, and its output may look like a map."""
    before = graph.producer(node.input[0])
    while before is not None and before.op_type in ("Transpose", "Reshape"):
        before = graph.producer(before.input[0])
    return before is not None and before.op_type == "Softmax"


def _readers(behind: Behind, classes: int) -> Iterator[RowReader]:
    """Yield the readers that the shapes of the outputs allow; a column of ones is checked."""
    counts = tuple(height * width for _, height, width in behind.shapes[0::2])
    for boxes, scores, first_score, transposed in _places(behind, classes, sum(counts)):
        units = ((1.0, 1.0), tuple(map(float, behind.imgsz)))
        for coarsest_first, corners, unit, logits in product((False, True), (False, True), units, (False, True)):
            yield RowReader(boxes, scores, first_score, transposed, counts, coarsest_first, corners, unit, logits)


def _places(behind: Behind, classes: int, count: int) -> Iterator[tuple[int, int, int, tuple[bool, bool]]]:
    """Yield the indices of the outputs with boxes and scores, the first column of scores, and which are transposed."""
    long = [[length for length in shape if length != 1] for shape in behind.sizes]
    for number, lengths in enumerate(long):
        for first_score in (BOX, BOX + 1):
            for transposed in (False, True):
                shape = [count, first_score + classes]
                if lengths == (shape[::-1] if transposed else shape) and (
                    first_score == BOX or _is_one(behind.of_noise[number], BOX, count, transposed)
                ):
                    yield number, number, first_score, (transposed, transposed)
    for boxes, scores in permutations(range(len(long)), 2):
        if np.prod(behind.sizes[boxes]) == BOX * count and np.prod(behind.sizes[scores]) == classes * count:
            yield boxes, scores, 0, (long[boxes] == [BOX, count], classes > 1 and long[scores] == [classes, count])


def _is_one(output: np.ndarray, column: int, count: int, transposed: bool) -> bool:
    """Whether all values in a column are 1."""
    rows = output.reshape(-1, count).T if transposed else output.reshape(count, -1)
    return bool((rows[:, column] == 1).all())
