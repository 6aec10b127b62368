"""Detections in many images as one file, so that mAP, intervals and plots are made from plain files, without a model.

The file is NumPy's .npz, compressed, without a time stamp:

  images   [n] names         boxes         float32 [m, 4] x1, y1, x2, y2 in pixels of the image
  sizes    int32 [n, 2]      scores        float32 [m]
  counts   int32 [n]         classes       int16 [m]
  task     name              extras.NAME   [m, ...] what the task adds
                             lengths.NAME  int32 [m], lengths of extras that are bytes, which are stored joined

The m detections are those of the first image, best first, then those of the second, and so on; `counts` says how many
each image has. Without `task` the task is `detect`: only boxes.
"""

from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.detector.instances import Instances, concatenate
from lib.step.arrays import read_arrays, write_arrays
from lib.step.errors import UserError

EXTRAS, LENGTHS = "extras.", "lengths."  # prefixes of the names of a task's extras


class DetectionSet(NamedTuple):
    """The detections of one model in each of several images."""

    images: list[str]  # file names, in the order of the evaluation set
    sizes: list[tuple[int, int]]  # width and height of each
    instances: list[Instances]
    task: str = tasks.DEFAULT  # of lib.tasks

    def count(self) -> int:
        """How many instances there are in all images."""
        return sum(map(len, self.instances))


def write_detections(path, detections: DetectionSet) -> None:
    """Write a set of detections, whole or not at all."""
    joined = concatenate(detections.instances)
    write_arrays(
        path,
        images=np.array(detections.images, dtype=np.str_),
        sizes=np.array(detections.sizes, np.int32).reshape(-1, 2),
        counts=np.array([len(instances) for instances in detections.instances], np.int32),
        boxes=joined.boxes.astype(np.float32),
        scores=joined.scores.astype(np.float32),
        classes=joined.classes.astype(np.int16),
        **_packed(joined.extras),
        **({} if detections.task == tasks.DEFAULT else {"task": np.array(detections.task)}),
    )


def read_detections(path) -> DetectionSet:
    """The set in a file that `write_detections` wrote. Raises UserError when it is missing or damaged."""
    arrays = read_arrays(path, "detections", ("images", "sizes", "counts", "boxes", "scores", "classes"))
    images, sizes, counts = arrays["images"], arrays["sizes"], arrays["counts"]
    try:
        joined = Instances(arrays["boxes"], arrays["scores"], arrays["classes"], _unpacked(arrays))
    except ValueError:
        joined = None
    if joined is None or counts.sum() != len(joined) or not len(images) == len(sizes) == len(counts) > 0:
        raise UserError(f"{path} is damaged (its tables do not fit together); delete it and run its step again")
    ends = np.cumsum(counts)
    return DetectionSet(
        [str(name) for name in images],
        [(int(width), int(height)) for width, height in sizes],
        [joined[end - count : end] for end, count in zip(ends, counts)],
        str(arrays.get("task", tasks.DEFAULT)),
    )


def _packed(extras: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The extras of a task as arrays for the file."""
    arrays = {}
    for name, values in extras.items():
        if values.dtype == object:
            arrays[EXTRAS + name] = np.frombuffer(b"".join(values), np.uint8)
            arrays[LENGTHS + name] = np.array([len(value) for value in values], np.int32)
        else:
            arrays[EXTRAS + name] = values
    return arrays


def _unpacked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The extras that `_packed` packed. Raises ValueError where the lengths do not add up to the number of bytes."""
    extras = {}
    for name, values in arrays.items():
        if name.startswith(EXTRAS):
            short = name.removeprefix(EXTRAS)
            lengths = arrays.get(LENGTHS + short)
            extras[short] = values if lengths is None else _pieces(values.tobytes(), lengths)
    return extras


def _pieces(joined: bytes, lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    if (ends[-1] if len(ends) else 0) != len(joined):
        raise ValueError(f"the lengths do not add up to {len(joined)} bytes")
    pieces = np.empty(len(lengths), object)
    pieces[:] = [joined[end - length : end] for end, length in zip(ends, lengths)]
    return pieces
