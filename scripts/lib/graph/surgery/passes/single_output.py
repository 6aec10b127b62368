"""One output with the boxes decoded on the NPU, from the maps of the head `split`, by arithmetic that suits INT8.

box_S ─ Split ─ Softmax a side ─ Concat ─┐                                        R bins per side: 4*R channels
box_S ───────────────────────────────────┴ Conv 1x1 to 5 ─ Add cells ─ Reshape [1, 5, 1, n] ─┐           or 4 distances
          over the strides:                Concat [1, 5, 1, N] ─ Slice [1, 4, 1, N] ─┐
scores_S ─ Reshape [1, C, 1, n] ────────── Concat [1, C, 1, N] ──────────────────────┴ Concat ─ Reshape ─ output

                                           predictions [1, 4+C, N, 1]: cx, cy, w, h divided by width and height; scores

A convolution adds in 32 bits, an added constant is stored in 32 bits, and the result of both is rounded once. So one
convolution per stride computes the mean over the bins, centres and sizes, and the division by the image's size; no
tensor that spans several strides is rounded before. Three things keep that single rounding as small as possible:

- Weights are exact in 8 bits. A bin's weight is its number minus an offset, 15 - 127/12 with 16 bins: then all are
  multiples of 1/12, and the largest is 127/12. The offset is added back with the cells. It is near the bins that boxes
  use, which also reduces the effect of the softmax's own rounding.
- The scale is 1/255, the finest for values 0..1, and the same for every stride, so that joining the strides rounds
  nothing. The toolkit takes a scale from the values that it sees during calibration: `limit_boxes`, the next pass,
  keeps them below 1, and a fifth channel that is always 1, and is dropped later, makes sure that they reach 1.
- Each stride's cells are reshaped only after the boxes are computed: four channels, not 4*R.
"""

import numpy as np

from lib.data.imgsz import ImageSize
from lib.detector.families import cells
from lib.detector.families.sides import Sides
from lib.detector.head import BOX, SINGLE
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always

OUTPUT = "predictions"
BOXES = f"{OUTPUT}/strides"  # [1, 5, 1, N]: cx, cy, w, h and 1
LARGEST_WEIGHT = 127  # of INT8, whose weights are symmetric
# cx, cy, w, h of the distances left, top, right, bottom.
BOX_OF_SIDES = np.array([[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1]])


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Make `predictions` of box_8, scores_8, box_16, scores_16, box_32, scores_32 the output."""
    imgsz, family, classes = form.spec.imgsz, form.spec.family, form.spec.classes
    boxes = [_flat(graph, _boxes(graph, stride, imgsz, family), BOX + 1, stride, imgsz) for stride in family.strides]
    scores = [_flat(graph, f"scores_{stride}", classes, stride, imgsz) for stride in family.strides]
    joined = graph.add("Concat", boxes, BOXES, axis=3)
    first, end, axis = (np.array([bound], np.int64) for bound in (0, BOX, 1))
    parts = [
        graph.add("Slice", [joined, first, end, axis], f"{OUTPUT}/boxes"),
        graph.add("Concat", scores, f"{OUTPUT}/scores", axis=3),
    ]
    both = graph.add("Concat", parts, f"{OUTPUT}/both", axis=1)
    shape = (1, BOX + classes, family.points(imgsz), 1)
    graph.add("Reshape", [both, np.array(shape, np.int64)], OUTPUT)
    graph.set_outputs({OUTPUT: shape})


def changed(form: OutputForm) -> OutputForm:
    """The head is `single`."""
    return form.with_head(SINGLE)


def exact_offset(bins: int) -> tuple[float, int]:
    """The offset that is subtracted from a bin's number to get its weight, and how many INT8 steps make one bin.

    With k steps the weights k * (bin - offset) are whole numbers up to 127. The offset is near 0.3 of the bins, about
    where the distances of boxes are: 4.42 with 16 bins.
    """
    last = max(bins - 1, 1)
    steps = max(1, round(LARGEST_WEIGHT / (0.7 * last)))
    return last - LARGEST_WEIGHT / steps, steps


def _boxes(graph: Graph, stride: int, imgsz: ImageSize, family: Sides) -> str:
    """A stride's boxes [1, 5, H/s, W/s]: cx, cy, w, h divided by width and height, and 1."""
    box = f"box_{stride}"
    unit = (stride / np.array([*imgsz, *imgsz])).reshape(BOX, 1)
    if family.bins:
        sides = _probabilities(graph, box)
        offset, steps = exact_offset(family.bins)
        # Whole numbers, so that they are still whole after the toolkit divides by the largest one.
        numbers = np.rint(steps * (np.arange(family.bins) - offset)) / steps
        weight = (BOX_OF_SIDES[:, :, None] * numbers).reshape(BOX, family.box_channels) * unit
        constant = BOX_OF_SIDES.sum(axis=1) * offset * unit[:, 0]
    else:
        sides, weight, constant = box, BOX_OF_SIDES * unit, np.zeros(BOX)
    always_one = np.zeros((1, family.box_channels))
    weight = np.concatenate([weight, always_one]).astype(np.float32)[:, :, None, None]
    moved = graph.add("Conv", [sides, weight], f"{box}/decoded", kernel_shape=[1, 1])
    return graph.add("Add", [moved, _cells(stride, imgsz, constant, family)], f"{box}/placed")


def _probabilities(graph: Graph, box: str) -> str:
    """Softmax over the bins of each side of a DFL's logits [1, 4*R, H, W], in the same places."""
    sides = [graph.add("Softmax", [side], f"{side}/bins", axis=1) for side in graph.split(box, BOX)]
    return graph.add("Concat", sides, f"{box}/bins", axis=1)


def _cells(stride: int, imgsz: ImageSize, constant: np.ndarray, family: Sides) -> np.ndarray:
    """What is added to a stride's boxes, float32 [1, 5, H/s, W/s]: centres of cells plus `constant` [4], and 1."""
    points, strides = family.centres(imgsz)
    here = points[strides[:, 0] == stride] * stride / np.array(imgsz)
    values = np.ones((BOX + 1, len(here)))
    values[:BOX] = constant[:, None]
    values[:2] += here.T
    return values.reshape(1, BOX + 1, *cells(imgsz, stride)).astype(np.float32)


def _flat(graph: Graph, tensor: str, channels: int, stride: int, imgsz: ImageSize) -> str:
    """Reshape a stride's map [1, channels, H/s, W/s] to [1, channels, 1, n]."""
    height, width = cells(imgsz, stride)
    return graph.add("Reshape", [tensor, np.array([1, channels, 1, height * width], np.int64)], f"{tensor}/flat")


# It always runs after the pass that makes the maps the outputs.
PASS = Pass("single_output", always, rewrite, changed)
