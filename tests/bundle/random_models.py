"""Random models of any family and head: sizes, scales and zero points; and random outputs for them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lib.bundle.contract import Accuracy, Contract
from lib.bundle.describe import Forms, Measured, describe
from lib.bundle.layout import to_native
from lib.data.imgsz import ImageSize
from lib.detector.families import Family, OutputMap
from lib.detector.families.anchors import MOST_ANCHORS, MOST_LAYERS, AnchorLayer, Anchors
from lib.detector.families.dfl import MOST_BINS, Dfl
from lib.detector.families.distances import Distances
from lib.detector.families.yolox import Yolox
from lib.detector.head import HEADS, SINGLE
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnFile, RknnTensor, dequantize
from lib.npu.verdict import Verdict
from lib.results.sweep import Variant

FAMILIES = (Dfl, Distances, Anchors, Yolox)  # as tests/bundle/c/shim.c numbers them
KINDS = tuple((family, head) for family in FAMILIES for head in HEADS)
# Scales of what an output holds, smallest and largest.
RANGES = {
    "joined": (1e-3, 0.05),
    "scores": (1e-3, 0.05),
    "logits": (1e-3, 2.7),
    "distances": (1e-3, 0.3),
    "sizes": (1e-3, 0.1),
}


class Case(NamedTuple):
    """A model and INT8 values of its outputs, [1, C, H, W] each."""

    spec: OutputSpec
    tensors: list[RknnTensor]
    stored: list[np.ndarray]

    def natives(self) -> list[np.ndarray]:
        """The outputs as the NPU writes them."""
        return [to_native(values, tensor.native_shape) for values, tensor in zip(self.stored, self.tensors)]

    def floats(self) -> list[np.ndarray]:
        """The outputs as the simulator gives them."""
        return [dequantize(values, tensor) for values, tensor in zip(self.stored, self.tensors)]

    def contract(self, model: str, names: list[str] | None = None) -> Contract:
        """The contract of this model with a name and with the class names `names`."""
        size = self.spec.imgsz
        pixels = RknnTensor("images", (1, 3, *size[::-1]), (1, 1, *size[::-1], 3), "int8", 1 / 255, -128)
        rknn = RknnFile(pixels, tuple(self.tensors), (0,) * 3, (255,) * 3, "2.3.2", "rv1106")
        variant = Variant(model, str(size), self.spec.head, "normal", 8)
        names = names or [f"class {number}" for number in range(self.spec.classes)]
        accuracy = Accuracy(4, "heldout", map50_95_fp32=0.5, map50_fp32=0.75, map50_95_int8=0.5, map50_int8=0.75)
        verdict = Verdict("runs", "a test", "none", "inferred", "")
        return describe(rknn, variant, Forms(self.spec), names, Measured(accuracy), verdict)


def random_case(seed: int) -> Case:
    """A model of the family and head KINDS[seed % len(KINDS)], of any size, scales and zero points."""
    rng = np.random.default_rng(seed)
    kind, head = KINDS[seed % len(KINDS)]
    imgsz = ImageSize(*map(int, 32 * rng.integers(1, 5, 2)))
    classes = int(rng.choice([1, 2, 4, 11, 12, 13, 80]))
    spec = OutputSpec(imgsz, head, random_family(rng, kind), classes, end2end=bool(rng.random() < 0.3))
    c2 = int(rng.choice([16, 16, 16, 8, 32, 5, 1, 0]))
    tensors, stored = [], []
    for number, (meaning, *shape) in enumerate(shapes_of(spec)):
        tensor, values = random_output(rng, f"output{number}", (1, *shape), RANGES[meaning], c2)
        tensors.append(tensor)
        # Few levels make ties, many zeros make what a trained detector gives.
        if rng.random() < 0.5:
            values = np.where(rng.random(values.shape) < 0.9, -128, values // 16 * 16)
        stored.append(values.astype(np.int8))
    return Case(spec, tensors, stored)


def random_output(rng, name: str, shape, scales: tuple[float, float], c2: int) -> tuple[RknnTensor, np.ndarray]:
    """An output with a random zero point and a scale between two, with `c2` as C2 (0: NHWC); and random INT8 values."""
    _, channels, height, width = shape
    scale = float(np.float32(np.exp(rng.uniform(*np.log(scales)))))
    zero_point = int(rng.choice([-128, -128, rng.integers(-128, 128)]))
    lanes = c2 or channels  # one group of all channels is NHWC
    native = (1, -(-channels // lanes), height, width, lanes)
    return RknnTensor(name, shape, native, "int8", scale, zero_point), rng.integers(-128, 128, shape)


def with_task(case: Case, task: str, extras: dict[OutputMap, tuple[float, float]], rng) -> Case:
    """The case with a task's maps after its outputs; `extras`: map → its smallest and largest scale."""
    spec = replace(case.spec, task=task, extras=tuple(extras))
    tensors, stored = list(case.tensors), list(case.stored)
    for output, scales in extras.items():
        c2 = int(rng.choice([16, 16, 8, 1, 0]))
        tensor, values = random_output(rng, output.name, output.shape(spec.imgsz), scales, c2)
        tensors.append(tensor)
        stored.append(values.astype(np.int8))
    return Case(spec, tensors, stored)


def random_family(rng, kind: type[Family]) -> Family:
    """One of FAMILIES, with a number of bins or layers that the C decoder supports."""
    if kind is Anchors:
        return Anchors(random_layers(rng))
    if kind is Dfl:
        strides = (8, 16, 32) if rng.random() < 0.7 else (4, 16, 32, 64)
        bins = int(rng.choice([16, 16, 2, 5, MOST_BINS]))
        return Dfl(strides, bins, corner=True if rng.random() < 0.3 else None)
    if kind is Distances:
        return Distances(corner=True if rng.random() < 0.3 else None)
    return kind()


def random_layers(rng) -> tuple[AnchorLayer, ...]:
    """Layers of different strides, in any order, at most as many as the C decoder supports."""
    strides = rng.permutation([4, 8, 16, 32, 10, 13])[: rng.integers(1, MOST_LAYERS + 1)]
    return tuple(
        AnchorLayer(
            int(stride),
            tuple(map(tuple, rng.uniform(1, 200, (rng.integers(1, rng.choice([4, MOST_ANCHORS + 1])), 2)).tolist())),
            float(rng.choice([1.0, 1.05, 1.2, 2.0])),
            bool(rng.random() < 0.4),
        )
        for stride in strides
    )


def shapes_of(spec: OutputSpec) -> Iterator[tuple[str, int, int, int]]:
    """The meaning of each output, and its channels, height and width."""
    imgsz, family = spec.imgsz, spec.family
    if spec.head == SINGLE:
        yield "joined", 4 + spec.classes, family.points(imgsz), 1
        return
    layers = family.layers if isinstance(family, Anchors) else ()
    probabilities = {layer.stride for layer in layers if layer.new_coords}
    boxes = {Distances: "distances", Yolox: "sizes"}.get(type(family), "logits")
    for output in spec.maps():
        meaning = "scores" if output.role != "box" or output.stride in probabilities else boxes
        yield meaning, *output.shape(imgsz)[1:]
