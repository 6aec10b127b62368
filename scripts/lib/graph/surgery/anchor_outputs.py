"""Reads the outputs of an exported graph with anchors, decoded or not, whatever the order of the axes.

The last convolution of each stride makes a map [1, A * (5+C), H, W]: for each anchor tx, ty, tw, th, objectness and the
logit of every class. What follows differs from exporter to exporter, so it is not matched node by node: the part of the
graph after the maps is run on maps of known values, and its outputs show what it does with them.

  outputs      one [1, N, 5+C] or [1, 5+C, N] for all strides (maps besides it, as used in training, are ignored),
               or one per stride: [1, A*(5+C), H, W], [1, A, H, W, 5+C], [1, H, W, A*(5+C)] …, or two: boxes
               [1, N, 4] (or corners) and scores [1, N, C], already multiplied by the objectness
  they hold    the maps' values; their sigmoids; or boxes in pixels (or divided by width and height) and scores
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.detector.head import BOX, EXPORTED
from lib.detector.output_spec import OutputSpec
from lib.graph.surgery.behind import Behind, alike
from lib.graph.surgery.map_place import probabilities
from lib.step.errors import UserError

QUANTITIES = BOX + 1  # values of an anchor besides its classes: cx, cy, w, h, objectness
LOGITS, SIGMOIDS, BOXES = "logits", "sigmoids", "boxes"  # what the outputs hold


@dataclass(frozen=True)
class BoxesAndScores:
    """Two outputs instead of one [1, N, 5+C]: their indices, and whether each is [1, 4, N] or [1, C, N]."""

    boxes: int
    scores: int
    transposed: tuple[bool, bool]
    corners: bool  # boxes are x1, y1, x2, y2

    def joined(self, raw: list[np.ndarray], count: int) -> np.ndarray:
        """The `count` rows [N, 5+C], with an objectness of 1."""
        boxes, scores = (
            raw[number].reshape(-1, count).T if transposed else raw[number].reshape(count, -1)
            for number, transposed in zip((self.boxes, self.scores), self.transposed)
        )
        if self.corners:
            low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
            boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
        return np.concatenate([boxes, np.ones((count, 1)), scores], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Arrangement:
    """Where the values of the maps are in the outputs, stride by stride, the finest first.

    anchors: number per stride. per_anchor: 5+C. cells: height and width of each map. outputs: the index of the single
    output, or of each stride's. axes: the order of the values, from the letters A (anchor), D (quantity), H, W.
    transposed: the single output is [1, 5+C, N]. coarsest_first: it begins with the largest stride. pair: two outputs
    replace the single one.
    """

    anchors: tuple[int, ...]
    per_anchor: int
    cells: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    axes: str
    transposed: bool = False
    coarsest_first: bool = False
    pair: BoxesAndScores | None = None

    def layers(self, raw: list[np.ndarray]) -> list[np.ndarray]:
        """The values of each stride, float32 [A, 5+C, H, W]."""
        if self.pair:
            raw = [self.pair.joined(raw, sum(self._counts()))]
        parts = (
            self._parts(raw[self.outputs[0]]) if len(self.outputs) == 1 else [raw[number] for number in self.outputs]
        )
        return [self._layer(*layer) for layer in zip(parts, self.anchors, self.cells, strict=True)]

    def _parts(self, joined: np.ndarray) -> list[np.ndarray]:
        """The rows [n, 5+C] of each stride."""
        rows = joined.reshape(self.per_anchor, -1).T if self.transposed else joined.reshape(-1, self.per_anchor)
        counts = self._counts()
        if self.coarsest_first:
            return np.split(rows, np.cumsum(counts[::-1])[:-1])[::-1]
        return np.split(rows, np.cumsum(counts)[:-1])

    def _counts(self) -> list[int]:
        """The number of rows of each stride."""
        return [count * height * width for count, (height, width) in zip(self.anchors, self.cells)]

    def _layer(self, values: np.ndarray, anchors: int, size: tuple[int, int]) -> np.ndarray:
        lengths = dict(zip("ADHW", (anchors, self.per_anchor, *size)))
        ordered = values.reshape([lengths[axis] for axis in self.axes])
        return ordered.transpose([self.axes.index(axis) for axis in "ADHW"]).astype(np.float32)


@dataclass(frozen=True)
class AnchorReader:
    """Makes predictions float32 [N, 4+C] from the outputs of an exported graph with anchors; an OutputForm's `read`.

    holds: LOGITS, SIGMOIDS or BOXES. unit: what boxes are divided by, in pixels, x and y.
    """

    arrangement: Arrangement
    holds: str
    unit: tuple[float, float] = (1.0, 1.0)

    def __call__(self, spec: OutputSpec, raw: list[np.ndarray]) -> np.ndarray:
        """The predictions, decoded with the anchors of the spec's family if the graph did not decode."""
        layers = self.arrangement.layers(raw)
        if self.holds != BOXES:
            return predictions_of(spec.family, layers, spec.imgsz, self.holds == SIGMOIDS)
        unit = np.array(self.unit * 2, np.float32)[:, None]
        rows = [values.transpose(1, 0, 2, 3).reshape(self.arrangement.per_anchor, -1) for values in layers]
        joined = np.concatenate(rows, axis=1)
        return np.concatenate([joined[:BOX] * unit, joined[BOX] * joined[QUANTITIES:]]).T


def predictions_of(family: Anchors, layers: list[np.ndarray], imgsz: ImageSize, sigmoids: bool) -> np.ndarray:
    """Predictions [N, 4+C] from each layer's logits, or their `sigmoids`, [A, 5+C, H, W]."""
    maps = []
    for layer, values in zip(family.layers, layers, strict=True):
        quantities = values.transpose(1, 0, 2, 3)
        scores = quantities if sigmoids else probabilities(quantities)
        box = scores if layer.new_coords else quantities
        maps += [box[:BOX], scores[BOX:QUANTITIES], scores[QUANTITIES:]]
    return family.decode_maps(maps, imgsz)


def reader_of(behind: Behind, counts: tuple[int, ...] | None) -> tuple[AnchorReader, tuple[AnchorLayer, ...]] | None:
    """How to read the outputs, and the layers if the graph decodes (else none); None when nothing fits.

    counts: the number of anchors per stride, if known, for outputs whose shapes do not show it. Raises UserError when
    the outputs have the shape of several anchors per cell but contain something else.
    """
    like_anchors = None
    for arrangement in _arrangements(behind, counts):
        noise = _as_layers(behind.noise, arrangement)
        layers = arrangement.layers(behind.of_noise)
        if alike(layers, noise, behind.rounding):
            return AnchorReader(arrangement, LOGITS), ()
        if alike(layers, [probabilities(values) for values in noise], behind.rounding):
            return AnchorReader(arrangement, SIGMOIDS), ()
        if decoded := _decoding(behind, arrangement):
            return decoded
        if len(arrangement.outputs) == 1 and min(arrangement.anchors) > 1:
            like_anchors = like_anchors or arrangement
    if like_anchors:
        shapes = ", ".join(str(list(shape)) for shape in behind.sizes)
        raise UserError(
            f"the model has {like_anchors.anchors[0]} anchors per cell, but its outputs {shapes} are neither those of "
            "its last convolutions nor boxes and scores computed from them; landmarks and masks are not supported"
        )
    return None


def _arrangements(behind: Behind, counts: tuple[int, ...] | None) -> Iterator[Arrangement]:
    """The arrangements that the shapes of the outputs allow."""
    sizes = tuple(shape[1:] for shape in behind.shapes)
    for number, shape in enumerate(behind.sizes):
        long = [length for length in shape if length != 1]
        if len(long) != 2:
            continue
        for transposed, per_anchor in enumerate((long[1], long[0])):
            anchors = _anchors_of(behind, per_anchor)
            if anchors and per_anchor * sum(a * h * w for a, (h, w) in zip(anchors, sizes)) == np.prod(long):
                for axes, coarsest_first in product(("AHWD", "HWAD"), (False, True)):
                    yield Arrangement(anchors, per_anchor, sizes, (number,), axes, bool(transposed), coarsest_first)
    yield from _pairs(behind, sizes)
    by_stride = _outputs_by_stride(behind)
    if by_stride:
        for per_anchor in _candidates(behind, by_stride, counts):
            anchors = _anchors_of(behind, per_anchor)
            for axes in ("ADHW", "AHWD", "HWAD", "DAHW", "DHWA") if anchors else ():
                yield Arrangement(anchors, per_anchor, sizes, by_stride, axes)


def _pairs(behind: Behind, sizes: tuple[tuple[int, int], ...]) -> Iterator[Arrangement]:
    """The arrangements with boxes and scores in two outputs."""
    for boxes, scores in permutations(range(len(behind.sizes)), 2):
        count, rest = divmod(int(np.prod(behind.sizes[boxes])), BOX)
        classes = int(np.prod(behind.sizes[scores])) // count if count and not rest else 0
        anchors = _anchors_of(behind, QUANTITIES + classes)
        if not anchors or sum(a * h * w for a, (h, w) in zip(anchors, sizes)) != count:
            continue
        transposed = tuple(
            [length for length in behind.sizes[number] if length != 1] == [channels, count]
            for number, channels in ((boxes, BOX), (scores, classes))
        )
        for axes, coarsest_first, corners in product(("AHWD", "HWAD"), (False, True), (False, True)):
            pair = BoxesAndScores(boxes, scores, transposed, corners)
            yield Arrangement(
                anchors, QUANTITIES + classes, sizes, (0,), axes, coarsest_first=coarsest_first, pair=pair
            )


def _anchors_of(behind: Behind, per_anchor: int) -> tuple[int, ...]:
    """The number of anchors per stride for `per_anchor` values per anchor; empty if that does not divide every map."""
    channels = [shape[0] for shape in behind.shapes]
    if per_anchor <= QUANTITIES or any(count % per_anchor for count in channels):
        return ()
    return tuple(count // per_anchor for count in channels)


def _outputs_by_stride(behind: Behind) -> tuple[int, ...]:
    """The index of each stride's output, found by its number of values; empty if there is not one per stride."""
    values = [int(np.prod(shape)) for shape in behind.sizes]
    wanted = [int(np.prod(shape)) for shape in behind.shapes]
    return tuple(values.index(count) for count in wanted) if sorted(values) == sorted(wanted) else ()


def _candidates(behind: Behind, outputs: tuple[int, ...], counts: tuple[int, ...] | None) -> list[int]:
    """The possible numbers of values per anchor."""
    channels, shape = behind.shapes[0][0], [length for length in behind.sizes[outputs[0]] if length != 1]
    if counts:
        return [channels // counts[0]] if channels % counts[0] == 0 else []
    # An output with an axis for the anchors shows it; if none does, only one anchor remains possible.
    return [length for length in shape if len(shape) == 4 and length > QUANTITIES and channels % length == 0] or [
        channels
    ]


def _as_layers(maps: list[np.ndarray], arrangement: Arrangement) -> list[np.ndarray]:
    """Maps [A * (5+C), H, W] reshaped to [A, 5+C, H, W]."""
    return [values.reshape(-1, arrangement.per_anchor, *values.shape[1:]) for values in maps]


def _decoding(behind: Behind, arrangement: Arrangement) -> tuple[AnchorReader, tuple[AnchorLayer, ...]] | None:
    """The layers of a graph that decodes, from its outputs for zeros; None if it computes something else."""
    zeros = arrangement.layers(behind.of_zeros)
    if not all(np.isfinite(values[:, :2]).all() and (values[:, 2:BOX] > 0).all() for values in zeros):
        return None
    far = arrangement.layers(behind.of_far_centres(arrangement.per_anchor))
    unit = _unit(behind, zeros)
    for new_coords in (True, False):
        layers = tuple(
            _layer(stride, at_zero, at_most, unit, new_coords)
            for stride, at_zero, at_most in zip(behind.strides, zeros, far)
        )
        reader, family = AnchorReader(arrangement, BOXES, unit), Anchors(layers)
        if not all(0 < layer.scale_x_y <= 100 for layer in layers):
            return None
        spec = OutputSpec(behind.imgsz, EXPORTED, family, arrangement.per_anchor - QUANTITIES)
        given = reader(spec, behind.of_noise)
        computed = predictions_of(family, _as_layers(behind.noise, arrangement), behind.imgsz, sigmoids=False)
        parts = [
            (given[:, :2], computed[:, :2]),
            (given[:, 2:BOX], computed[:, 2:BOX]),
            (given[:, BOX:], computed[:, BOX:]),
        ]
        if all(alike([first], [second], 10 * behind.rounding) for first, second in parts):
            return reader, layers
    return None


def _unit(behind: Behind, zeros: list[np.ndarray]) -> tuple[float, float]:
    """What boxes are divided by, from the centre of the last cell: nothing, or the input's width and height."""
    last = zeros[0][0, :2, -1, -1]
    return (1.0, 1.0) if last.max() > 1 else tuple(map(float, behind.imgsz))


def _layer(stride: int, zeros: np.ndarray, far: np.ndarray, unit, new_coords: bool) -> AnchorLayer:
    """A layer, from outputs for logits of 0: its centres are then the cells' and its sizes the anchors'."""
    sizes = zeros[:, 2:BOX, 0, 0] * np.array(unit, np.float32)
    reach = 2 * (far[0, 0, 0, 0] - zeros[0, 0, 0, 0]) * unit[0] / stride
    anchors = tuple(tuple(_short(side) for side in anchor) for anchor in sizes)
    return AnchorLayer(stride, anchors, round(float(reach), 3), new_coords)


def _short(value: np.float32) -> float:
    """The number with the fewest digits that is the same float32."""
    return float(f"{value:.6g}")
