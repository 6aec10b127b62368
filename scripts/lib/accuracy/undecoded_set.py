"""What takes the place of detections where nothing decodes a model's outputs, in a file of the same kind.

The file is NumPy's .npz, as lib.accuracy.detection_set writes it:

  images     [n] names                 outputs   [k] names of the outputs that were compared with FP32's; none of FP32
  undecoded  why nothing decodes them  cosines   float64 [k]          snr_db  float64 [k]
"""

from typing import NamedTuple

import numpy as np

from lib.accuracy.detection_set import DetectionSet, read_detections
from lib.accuracy.metrics import OutputLikeness
from lib.step.arrays import read_arrays, write_arrays

UNDECODED = "undecoded"


class UndecodedSet(NamedTuple):
    """How like FP32's the outputs of a model are on several images, and why that is all there is to say."""

    images: list[str]  # file names, in the order of the evaluation set
    why: str
    outputs: tuple[OutputLikeness, ...] = ()


def write_undecoded(path, undecoded: UndecodedSet) -> None:
    """Write it, whole or not at all."""
    write_arrays(
        path,
        images=np.array(undecoded.images, dtype=np.str_),
        undecoded=np.array(undecoded.why),
        outputs=np.array([output.name for output in undecoded.outputs], dtype=np.str_),
        cosines=np.array([output.cosine for output in undecoded.outputs], np.float64),
        snr_db=np.array([output.snr_db for output in undecoded.outputs], np.float64),
    )


def read_evaluated(path) -> DetectionSet | UndecodedSet:
    """What a model gave for the evaluation images. Raises UserError when the file is missing or damaged."""
    arrays = read_arrays(path, "detections", ("images",))
    if UNDECODED not in arrays:
        return read_detections(path)
    arrays = read_arrays(path, "detections", ("images", UNDECODED, "outputs", "cosines", "snr_db"))
    outputs = zip(map(str, arrays["outputs"]), map(float, arrays["cosines"]), map(float, arrays["snr_db"]))
    return UndecodedSet(
        [str(name) for name in arrays["images"]],
        str(arrays[UNDECODED]),
        tuple(OutputLikeness(*output) for output in outputs),
    )
