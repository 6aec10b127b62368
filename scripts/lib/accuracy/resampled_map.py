"""A model's mAP on each resample of the images, and its precision and recall by threshold, as a file."""

from typing import NamedTuple

import numpy as np

from lib.accuracy.operating import Curve, no_curve
from lib.step.arrays import read_arrays, write_arrays
from lib.step.errors import UserError


class ResampledMap(NamedTuple):
    """mAP50-95 (0..1) of one model on the images, and on each resample of them; precision and recall by threshold.

    For a classifier, top-1 takes the place of mAP50-95.
    """

    images: list[str]
    seed: int  # of the draw of the resamples
    map50_95: float
    resampled: np.ndarray  # float64 [resamples]
    curve: Curve = no_curve()


def require_same_resamples(models: list[ResampledMap]) -> None:
    """Raise UserError when models were measured on different images or resamples."""
    if len({(tuple(model.images), model.seed, len(model.resampled)) for model in models}) > 1:
        raise UserError("the models were measured on different images or resamples; run their evaluation steps again")


def write_resampled(path, resampled: ResampledMap) -> None:
    """Write a model's mAP on the resamples as NumPy's .npz, whole or not at all."""
    *numbers, curve = resampled
    write_arrays(path, **dict(zip(ResampledMap._fields, numbers)), **curve._asdict())


def read_resampled(path) -> ResampledMap:
    """What `write_resampled` wrote. Raises UserError when it is missing or damaged."""
    arrays = read_arrays(path, "resampled mAP", (*ResampledMap._fields[:-1], *Curve._fields))
    images, curve = [str(name) for name in arrays["images"]], Curve(*(arrays[name] for name in Curve._fields))
    return ResampledMap(images, int(arrays["seed"]), float(arrays["map50_95"]), arrays["resampled"], curve)
