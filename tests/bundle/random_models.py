"""Models of any family and head with random sizes, scales and zero points, and random outputs of theirs."""

from typing import NamedTuple

import numpy as np

from lib.bundle.contract import Accuracy, Contract
from lib.bundle.describe import MOST_ANCHORS, MOST_BINS, MOST_LAYERS, describe
from lib.bundle.layout import to_native
from lib.data.imgsz import ImageSize
from lib.detector.anchors import YoloLayer
from lib.detector.head import ANCHORS, DFL, DISTANCES, HEADS, SINGLE, STRIDES
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnFile, RknnTensor, dequantize
from lib.npu.verdict import Verdict
from lib.results.sweep import Variant

FAMILIES = (DFL, DISTANCES, ANCHORS)  # as tests/bundle/c/shim.c numbers them
KINDS = tuple((family, head) for family in FAMILIES for head in HEADS)


class Case(NamedTuple):
    """A model and INT8 values of its outputs, [1, C, H, W] each."""

    family: str
    outputs: OutputSpec
    tensors: list[RknnTensor]
    stored: list[np.ndarray]

    def natives(self) -> list[np.ndarray]:
        return [to_native(values, tensor.native_shape) for values, tensor in zip(self.stored, self.tensors)]

    def floats(self) -> list[np.ndarray]:
        return [dequantize(values, tensor) for values, tensor in zip(self.stored, self.tensors)]

    def contract(self, model: str, names: list[str] | None = None) -> Contract:
        """The contract of this model under a name, its classes called `names`."""
        size = self.outputs.imgsz
        pixels = RknnTensor("images", (1, 3, *size[::-1]), (1, 1, *size[::-1], 3), "int8", 1 / 255, -128)
        rknn = RknnFile(pixels, tuple(self.tensors), (0,) * 3, (255,) * 3, "2.3.2", "rv1106")
        variant = Variant(model, str(size), self.outputs.head, "normal", 8)
        names = names or [f"class {number}" for number in range(self.outputs.classes)]
        accuracy = Accuracy(4, 0.5, 0.75, 0.5, 0.75, "heldout")
        verdict = Verdict("runs", "a test", "none", "inferred", "")
        return describe(rknn, variant, self.family, self.outputs, names, accuracy, verdict)


def random_case(seed: int) -> Case:
    """A model of the family and head KINDS[seed % 6], of any size, scales and zero points."""
    rng = np.random.default_rng(seed)
    family, head = KINDS[seed % len(KINDS)]
    imgsz = ImageSize(*map(int, 32 * rng.integers(1, 5, 2)))
    classes = int(rng.choice([1, 2, 4, 11, 12, 13, 80]))
    darknet = random_layers(rng, classes) if family == ANCHORS else ()
    outputs = OutputSpec(imgsz, head, classes, darknet, end2end=bool(rng.random() < 0.3))
    c2 = int(rng.choice([16, 16, 16, 8, 32, 5, 1, 0]))
    tensors, stored = [], []
    for number, (meaning, channels, height, width) in enumerate(shapes_of(family, outputs, rng)):
        lowest, highest = RANGES[meaning]
        scale = float(np.float32(np.exp(rng.uniform(np.log(lowest), np.log(highest)))))
        zero_point = int(rng.choice([-128, -128, rng.integers(-128, 128)]))
        lanes = c2 or channels  # one group of all channels is NHWC
        native = (1, -(-channels // lanes), height, width, lanes)
        tensors.append(RknnTensor(f"output{number}", (1, channels, height, width), native, "int8", scale, zero_point))
        # Few levels make ties, many zeros make what a trained detector gives.
        values = rng.integers(-128, 128, (1, channels, height, width))
        if rng.random() < 0.5:
            values = np.where(rng.random(values.shape) < 0.9, -128, values // 16 * 16)
        stored.append(values.astype(np.int8))
    return Case(family, outputs, tensors, stored)


# Scales of what an output holds, smallest and largest.
RANGES = {"joined": (1e-3, 0.05), "scores": (1e-3, 0.05), "logits": (1e-3, 2.7), "distances": (1e-3, 0.3)}


def random_layers(rng, classes: int) -> tuple[YoloLayer, ...]:
    """[yolo] layers of different strides, in any order, as many as decode.h takes or fewer."""
    strides = rng.permutation([4, 8, 16, 32, 10, 13])[: rng.integers(1, MOST_LAYERS + 1)]
    return tuple(
        YoloLayer(
            int(stride),
            tuple(map(tuple, rng.uniform(1, 200, (rng.integers(1, rng.choice([4, MOST_ANCHORS + 1])), 2)).tolist())),
            classes,
            float(rng.choice([1.0, 1.05, 1.2, 2.0])),
            bool(rng.random() < 0.4),
        )
        for stride in strides
    )


def shapes_of(family: str, outputs: OutputSpec, rng):
    """What each output holds, and its channels, height and width."""
    imgsz, classes = outputs.imgsz, outputs.classes
    if outputs.head == SINGLE:
        count = sum(layer.predictions(imgsz) for layer in outputs.darknet) or imgsz.area * 21 // 1024
        yield "joined", 4 + classes, count, 1
    elif family == ANCHORS:
        for layer in outputs.darknet:
            anchors, cells = len(layer.anchors), layer.cells(imgsz)
            yield "scores" if layer.new_coords else "logits", 4 * anchors, *cells
            yield "scores", anchors, *cells
            yield "scores", classes * anchors, *cells
    else:
        bins = int(rng.choice([16, 16, 2, 5, MOST_BINS]))
        for stride in STRIDES:
            cells = imgsz.height // stride, imgsz.width // stride
            yield ("logits", 4 * bins, *cells) if family == DFL else (DISTANCES, 4, *cells)
            yield "scores", classes, *cells
