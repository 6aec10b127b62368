"""What replaces detections where nothing decodes a model's outputs, in a file of the same kind.

The file is NumPy's .npz, as lib.accuracy.detection_set writes it:

  images     [n] names                 outputs   [k] names of the outputs compared with FP32; empty for FP32 itself
  undecoded  why nothing decodes them  cosines   float64 [k]          snr_db  float64 [k]
  top1, top5  float64 [k], not a number for an output that is not a vector
  best       int64 [n, up to 5] the best classes of each image, the best one first; absent where no output has as many
             values as there are classes
"""

from typing import NamedTuple

import numpy as np

from lib.accuracy.detection_set import DetectionSet, read_detections
from lib.accuracy.metrics import OutputLikeness
from lib.step.arrays import read_arrays, write_arrays
from lib.step.errors import UserError

UNDECODED = "undecoded"
_OF_CLASSES = "top1", "top5"


class UndecodedSet(NamedTuple):
    """How similar a model's outputs are to FP32's on several images, and why nothing decodes them."""

    images: list[str]  # file names, in the order of the evaluation set
    why: str
    outputs: tuple[OutputLikeness, ...] = ()
    best: np.ndarray | None = None  # the best classes, int [images, up to 5]; None where no output is of the classes


def as_classes(detections: DetectionSet, why: str) -> UndecodedSet:
    """The best classes of each image as a set, of a classifier's detections, which are an image's classes.

    Raises UserError when the images have different numbers of classes.
    """
    counts = {len(instances) for instances in detections.instances}
    if len(counts) != 1:
        raise UserError(f"the images have different numbers of classes: {', '.join(map(str, sorted(counts)))}")
    best = np.array([instances.classes for instances in detections.instances], np.int64)
    return UndecodedSet(detections.images, why, best=best)


def write_undecoded(path, undecoded: UndecodedSet) -> None:
    """Write the set, whole or not at all."""
    write_arrays(
        path,
        images=np.array(undecoded.images, dtype=np.str_),
        undecoded=np.array(undecoded.why),
        outputs=np.array([output.name for output in undecoded.outputs], dtype=np.str_),
        cosines=np.array([output.cosine for output in undecoded.outputs], np.float64),
        snr_db=np.array([output.snr_db for output in undecoded.outputs], np.float64),
        **{name: np.array([getattr(output, name) for output in undecoded.outputs], np.float64) for name in _OF_CLASSES},
        **({} if undecoded.best is None else {"best": undecoded.best.astype(np.int64)}),
    )


def read_evaluated(path) -> DetectionSet | UndecodedSet:
    """A model's detections or outputs for the evaluation images. Raises UserError for a missing or damaged file."""
    arrays = read_arrays(path, "detections", ("images",))
    if UNDECODED not in arrays:
        return read_detections(path)
    arrays = read_arrays(path, "detections", ("images", UNDECODED, "outputs", "cosines", "snr_db", *_OF_CLASSES))
    shares = ([None if np.isnan(share) else float(share) for share in arrays[name]] for name in _OF_CLASSES)
    outputs = zip(map(str, arrays["outputs"]), map(float, arrays["cosines"]), map(float, arrays["snr_db"]), *shares)
    return UndecodedSet(
        [str(name) for name in arrays["images"]],
        str(arrays[UNDECODED]),
        tuple(OutputLikeness(*output) for output in outputs),
        arrays.get("best"),
    )
