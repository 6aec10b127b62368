"""Detections of many images as one file, so that mAP, intervals and plots are made from plain files, without a model.

The file is NumPy's .npz, compressed, without a time stamp:

  images   [n] names         boxes    float32 [m, 4] x1, y1, x2, y2 in pixels of the image
  sizes    int32 [n, 2]      scores   float32 [m]
  counts   int32 [n]         classes  int16 [m]

The m detections are those of the first image, best first, then those of the second, and so on; `counts` says how many
each has.
"""

import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.step.files import require, whole


class DetectionSet(NamedTuple):
    """What one model finds in each of several images."""

    images: list[str]  # file names, in the order of the evaluation set
    sizes: list[tuple[int, int]]  # width and height of each
    found: list[Instances]


def write_detections(path, found: DetectionSet) -> None:
    """Write a set of detections, whole or not at all."""
    each = found.found
    write_arrays(
        path,
        images=np.array(found.images, dtype=np.str_),
        sizes=np.array(found.sizes, np.int32).reshape(-1, 2),
        counts=np.array([len(one.scores) for one in each], np.int32),
        boxes=np.concatenate([np.zeros((0, 4)), *(one.boxes for one in each)]).astype(np.float32),
        scores=np.concatenate([np.zeros(0), *(one.scores for one in each)]).astype(np.float32),
        classes=np.concatenate([np.zeros(0), *(one.classes for one in each)]).astype(np.int16),
    )


def write_arrays(path, **arrays) -> None:
    """Write named arrays as a .npz file, whole or not at all."""
    # Not into the file at once: on a full disk the zip's own end would complain beside the one sentence.
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with whole(path) as part:
        part.write_bytes(content.getvalue())


def read_detections(path) -> DetectionSet:
    """The set in a file that `write_detections` wrote. Raises UserError when it is missing or damaged."""
    names = ("images", "sizes", "counts", "boxes", "scores", "classes")
    images, sizes, counts, boxes, scores, classes = read_arrays(path, "detections", names)
    rows = {int(counts.sum()), len(boxes), len(scores), len(classes)}
    if len(rows) != 1 or not len(images) == len(sizes) == len(counts) > 0:
        raise UserError(f"{path} is damaged (its tables do not fit together); delete it and run its step again")
    ends = np.cumsum(counts)[:-1]
    parts = zip(*(np.split(table, ends) for table in (boxes, scores, classes)))
    return DetectionSet(
        [str(name) for name in images],
        [(int(width), int(height)) for width, height in sizes],
        [Instances(*each) for each in parts],
    )


def read_arrays(path, what: str, names: tuple[str, ...]) -> list[np.ndarray]:
    """The named arrays of a .npz file. Raises UserError, which calls the file `what`, when it is missing or damaged."""
    try:
        with np.load(require(path, what), allow_pickle=False) as file:
            return [file[name] for name in names]
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run the step that makes it again") from None


def select(found: DetectionSet, image: str, path: Path) -> Instances:
    """What was found in the image of that name. Raises UserError, naming the file `path`, when it is not in the set."""
    if image not in found.images:
        raise UserError(f"{path} holds no detections of {image}; delete it and run the step that makes it again")
    return found.found[found.images.index(image)]
