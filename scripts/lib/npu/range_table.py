"""Each tensor's range on each image of a calibration pool, and the first half of a build on the pool's first image.

The ranges of any calibration set follow from these, and a build needs only its second half. The file is NumPy's .npz:

  images   [n] names of the pool's files        low   float32 [n, t]
  tensors  [t] names, of the toolkit's graph    high  float32 [n, t]
  files    [n] their SHA-256                    keys  [t] as in lib.npu.twin.tensor_keys
  form     the model's input form
  graph    SHA-256 of the ONNX
  platform of the toolkit
  toolkit  its version
  unknown  why the ranges are the toolkit's to find, else empty; then there are no images
  fused, data, quantization  uint8, the first half of a build (lib.npu.first_half); empty where there are no images
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from lib.data.images import read_fitted
from lib.data.input_form import InputForm
from lib.npu.first_half import FirstHalf
from lib.npu.twin.ranges import RangePass
from lib.npu.twin.structure import Ranges
from lib.step.arrays import read_arrays, write_arrays
from lib.step.errors import UserError
from lib.step.files import sha256

_NAMES = ("images", "files", "tensors", "keys")
_TEXTS = ("form", "graph", "platform", "toolkit", "unknown")
_HALF = tuple(field.name for field in fields(FirstHalf))


@dataclass(frozen=True)
class RangeTable:
    """The ranges of a graph's tensors by image."""

    images: list[str]
    tensors: list[str]
    low: np.ndarray  # float32 [images, tensors]
    high: np.ndarray
    files: list[str]  # SHA-256 of each image
    keys: list[str]  # of the tensors
    form: str = ""  # the input form that the images are fitted in
    graph: str = ""  # SHA-256 of the ONNX
    platform: str = ""
    toolkit: str = ""  # its version
    unknown: str = ""  # why there are none
    half: FirstHalf | None = None  # of a build on the first image; None where there are no images
    path: Path | None = None  # of its file

    def __post_init__(self):
        if not self.low.shape == self.high.shape == (len(self.images), len(self.tensors)):
            raise ValueError("tables of ranges do not fit together")
        if (len(self.files), len(self.keys)) != self.low.shape:
            raise ValueError("names and digests of a table of ranges do not fit together")
        if not (np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high)).all():
            raise ValueError("a range ends below its start, or its ends are not finite")

    @classmethod
    def of(cls, files: dict[str, str], ranges: list[Ranges], keys: dict[str, str], **others) -> "RangeTable":
        """The table of the ranges measured on each image.

        files: as from `digests`. keys: one for each tensor. others: the fields after them.
        """
        tensors = list(ranges[0]) if ranges else []
        ends = np.array([[each[name] for name in tensors] for each in ranges], np.float32)
        low, high = np.moveaxis(ends.reshape(len(files), len(tensors), 2), 2, 0)
        return cls(list(files), tensors, low, high, list(files.values()), [keys[name] for name in tensors], **others)

    def union(self, images: list[str]) -> Ranges:
        """The ranges of a calibration set. Raises UserError when one of its images was not measured."""
        chosen = self._rows(images)
        low, high = self.low[chosen].min(axis=0), self.high[chosen].max(axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.tensors, low, high)}

    def same(self, keys: dict[str, str]) -> list[Ranges] | None:
        """The ranges, on each image, of another graph's tensors of these keys; None where one is not in this graph."""
        columns = {key: column for column, key in enumerate(self.keys)}
        if not columns.keys() >= set(keys.values()):
            return None
        chosen = [columns[key] for key in keys.values()]
        ends = np.stack([self.low[:, chosen], self.high[:, chosen]], axis=2).tolist()
        return [dict(zip(keys, map(tuple, row))) for row in ends]

    def demand_of(self, files: dict[str, str], form: InputForm) -> None:
        """Raise UserError unless the ranges were measured on these images, fitted for a model of that input form.

        files: as from `digests`.
        """
        rows = zip(files.items(), self._rows(files))
        if others := [name for (name, digest), row in rows if self.files[row] != digest or self.form != str(form)]:
            raise UserError(
                f"{self.path or 'the table'} does not hold the ranges of the image {others[0]} as it is now; "
                "delete it and measure them again"
            )

    def write(self, path: Path) -> None:
        """Write the table, whole or not at all."""
        tables = {"low": self.low, "high": self.high}
        names = {name: np.array(getattr(self, name), dtype=np.str_) for name in (*_NAMES, *_TEXTS)}
        half = {name: np.frombuffer(getattr(self.half, name, b""), np.uint8) for name in _HALF}
        write_arrays(path, **names, **tables, **half)

    def _rows(self, images: Iterable[str]) -> list[int]:
        rows = {name: row for row, name in enumerate(self.images)}
        if missing := [name for name in images if name not in rows]:
            raise UserError(
                f"{self.path or 'the table'} has no ranges for {missing[0]}; delete it and run the step that measures "
                "ranges again"
            )
        return [rows[name] for name in images]


def digests(images: list[Path]) -> dict[str, str]:
    """The SHA-256 of each image file, by its name, in their order."""
    return {image.name: sha256(image) for image in images}


def ranges_on(form: InputForm, run: RangePass, image: Path) -> Ranges:
    """The range of each tensor on an image file that was fitted for a model of that input form."""
    return run.measure(network_input(form, image))


def network_input(form: InputForm, image: Path) -> np.ndarray:
    """Such a file as the network's input, float32 [1, C, H, W]."""
    return form.tensor(read_fitted(image, form.depth))


def read_range_table(path: Path) -> RangeTable:
    """The table in a file. Raises UserError when it is missing or damaged."""
    arrays = read_arrays(path, "ranges", (*_NAMES, "low", "high", *_TEXTS, *_HALF))
    try:
        names = {key: [str(name) for name in arrays[key]] for key in _NAMES}
        texts = {key: str(arrays[key]) for key in _TEXTS}
        half = FirstHalf(*(arrays[key].tobytes() for key in _HALF)) if len(arrays["images"]) else None
        return RangeTable(**names, low=arrays["low"], high=arrays["high"], **texts, half=half, path=path)
    except (TypeError, ValueError):
        raise UserError(
            f"{path} is damaged (its tables do not fit together); delete it and run its step again"
        ) from None
