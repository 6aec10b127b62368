"""The task's part of a bundle: segment.h, and the meaning of its maps and numbers."""

import numpy as np

from lib.detector.families import OutputMap, span
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.bundle_part import BundlePart
from lib.tasks.segment.decoding import COEFFICIENTS
from lib.tasks.segment.masks import MASK, as_rows, counts_of, of_counts

_USAGE = """\
`segment.h` computes the mask of a detection from the same buffers:

```c
rv1106_area area = rv1106_mask_area(&fit, &detections[i]);   /* x, y, width, height: the image's pixels in its box */
rv1106_mask(&decoder, buffers, &fit, &detections[i], mask, area.width);   /* area.width * area.height bytes, 1 or 0 */
```

To write into a mask of the whole image, pass `mask + area.y * width + area.x` and `width` instead of `mask` and
`area.width`. For masks at the resolution of the prototypes, {width}x{height}, pass
`cells = rv1106_prototype_fit(&RV1106_MODEL)` and `small = rv1106_on_prototypes(&RV1106_MODEL, &fit, &detections[i])`
instead of `fit` and `detections[i]`."""
# Of a line of the board's program: two runs per column of a large image, with a margin.
_LINE_BYTES = 1 << 16
# Pixels: a side of a box this close to a whole pixel may be rounded to the neighbouring one.
_ON_AN_EDGE = 2e-3


def _map_meaning(output: OutputMap) -> dict[str, str]:
    if output.role == COEFFICIENTS:
        return {"k": f"coefficient of prototype k, k = {span(0, output.channels)}"}
    return {"k": "prototype k, the same for all predictions"}


def _apart(expected: Instances, detected: Instances) -> np.ndarray:
    """The fraction of the pixels in either mask that are not in both.

    Two kinds of pixels are not counted, because rounding decides them: one pixel per mask, for a sum of prototypes near
    0, and the pixels along a side of the box that is near an edge between pixels.
    """
    pairs = zip(counts_of(expected.extras[MASK]), counts_of(detected.extras[MASK]))
    different, covered = np.array([_different(*pair) for pair in pairs], np.float64).reshape(-1, 2).T
    boxes = expected.boxes.astype(np.float64)
    on_edge = np.abs(boxes - np.round(boxes)) < _ON_AN_EDGE
    lengths = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)[:, [1, 0, 1, 0]] + 1  # of the sides at x1, y1, x2, y2
    free = 1 + (on_edge * lengths).sum(axis=1)
    return np.maximum(different - free, 0) / np.maximum(covered, 1)


def _different(counts: list[int], others: list[int]) -> tuple[float, int]:
    """How many pixels are in only one of two masks, and how many in either; infinitely many if image sizes differ."""
    edges, other_edges = np.cumsum(counts), np.cumsum(others)
    if edges[-1] != other_edges[-1]:
        return float("inf"), 1
    # A run of pixels in only one mask begins and ends where a run of either mask does.
    begin_end = np.sort(np.concatenate([edges[:-1], other_edges[:-1]]))
    ends = np.append(begin_end, edges[-1]) if len(begin_end) % 2 else begin_end
    different = int((ends[1::2] - ends[::2]).sum())
    return different, (sum(counts[1::2]) + sum(others[1::2]) + different) // 2


def _extras(outputs: OutputSpec, numbers: list[list[float]]) -> dict[str, np.ndarray]:
    masks = as_rows([of_counts(counts) for counts in numbers])
    if len({sum(counts) for counts in numbers}) > 1:
        raise ValueError("the masks of one image have different sizes")
    return {MASK: masks}


def _usage(outputs: OutputSpec) -> str:
    _, _, height, width = outputs.shared_maps[0].shape(outputs.imgsz)
    return _USAGE.format(width=width, height=height)


bundle_part = BundlePart(
    map_meaning=_map_meaning,
    numbers=lambda instances: counts_of(instances.extras[MASK]),
    decimals=(0,),
    extras=_extras,
    apart=_apart,
    tolerance=1e-3,
    unit="of a mask's pixels",
    line_bytes=lambda outputs: _LINE_BYTES,
    usage=_usage,
)
