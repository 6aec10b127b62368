"""Masks in COCO's encoding: run lengths of an image's pixels, column by column, as compressed text.

Format: `rleToString` of https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c, computed by
faster-coco-eval. A mask is an entry of a NumPy array of bytes, so that it can be a row of an instance's extras; it does
not include the image's size.
"""

import numpy as np

from lib.detector.instances import Instances

MASK = "mask"  # the name of the extra
# Overlaps are sums of run lengths and need no size, but the library asks for the same size for all.
_ANY_SIZE = (2**30, 1)


def _library():
    from faster_coco_eval.core import mask  # only a few steps need it, but all import the tasks

    return mask


def as_rows(masks: list[bytes]) -> np.ndarray:
    """Masks as an array [n] of bytes, each of its own length."""
    return np.array(masks, dtype=object)


def as_coco(masks: np.ndarray, size: tuple[int, int]) -> list[dict]:
    """The masks [n] of an image of `size` (width, height) as in COCO's JSON."""
    width, height = size
    return [{"size": [height, width], "counts": counts} for counts in masks]


def empty(size: tuple[int, int]) -> bytes:
    """The empty mask in an image of `size` (width, height)."""
    return encoded(np.zeros((1, 1), bool), (0, 0), size)


def encoded(columns: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> bytes:
    """A mask that is False outside of `columns` [w, h], whose first pixel lies at `place` (x, y) of the image."""
    width, height = size
    # A False below each column ends the column's last run, and one False before all columns begins the first run.
    padded = np.zeros(columns.shape[0] * (columns.shape[1] + 1) + 1, bool)
    padded[1:].reshape(columns.shape[0], -1)[:, :-1] = columns
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    column, row = np.divmod(changes, columns.shape[1] + 1)
    edges = (column + place[0]) * height + row + place[1]
    # A run that reaches the image's lower edge continues at the upper edge of the next column.
    joined = np.flatnonzero(edges[1:] == edges[:-1])
    edges = np.delete(edges, np.concatenate([joined, joined + 1]))
    counts = np.diff(edges, prepend=0, append=width * height)
    if counts[-1] == 0:
        counts = counts[:-1]
    return _library().frPyObjects([{"size": [height, width], "counts": counts.tolist()}], height, width)[0]["counts"]


def counts_of(masks: np.ndarray) -> list[list[int]]:
    """The run lengths of each mask: the number of pixels outside the object, then inside, and so on in turn."""
    from faster_coco_eval.mask_api_new_cpp import toUncompressedRLE  # as in _library

    return [runs["counts"] for runs in toUncompressedRLE(as_coco(masks, _ANY_SIZE))]


def of_counts(counts: list[float]) -> bytes:
    """The mask with these run lengths. Raises ValueError when they are not run lengths of a mask."""
    whole = [int(count) for count in counts]
    if not whole or whole != list(counts) or min(whole) < 0 or 0 in whole[1:]:
        raise ValueError(f"{counts[:9]} are not run lengths of a mask")
    height, width = _ANY_SIZE
    return _library().frPyObjects([{"size": list(_ANY_SIZE), "counts": whole}], height, width)[0]["counts"]


def of_polygon(points: np.ndarray, size: tuple[int, int]) -> bytes:
    """The mask of a polygon [n, 2] of points x, y in pixels, as COCO's `rleFrPoly` draws it."""
    width, height = size
    return _library().frPyObjects([points.ravel().tolist()], height, width)[0]["counts"]


def decoded(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Masks [n] as bool [n, height, width] of an image of `size` (width, height)."""
    if not len(masks):
        return np.zeros((0, size[1], size[0]), bool)
    return _library().decode(as_coco(masks, size)).transpose(2, 0, 1).astype(bool)


def overlap(instances: Instances, others: Instances) -> np.ndarray:
    """Intersection over union of the masks of n instances and m others, float64 [n, m]; 0 for two empty masks."""
    return _shares(instances, others, in_crowds=False)


def share_inside(instances: Instances, crowds: Instances) -> np.ndarray:
    """The fraction (0..1) of each of n instances' masks inside each of m crowds' masks, float64 [n, m]."""
    return _shares(instances, crowds, in_crowds=True)


def _shares(instances: Instances, others: Instances, in_crowds: bool) -> np.ndarray:
    if not len(instances) or not len(others):
        return np.zeros((len(instances), len(others)))
    first, second = (as_coco(each.extras[MASK], _ANY_SIZE) for each in (instances, others))
    return np.asarray(_library().iou(first, second, [int(in_crowds)] * len(others)))
