"""The images of calibration sets and of their pool, as a model's input form needs them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.data.calibration_list import calibration_images
from lib.data.images import read_image, size_in_file, write_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.step.errors import UserError


@contextmanager
def calibration_in_form(listed: Path, images: Path, imgsz: ImageSize, form: InputForm | None) -> Iterator[list[Path]]:
    """Yield the images of a calibration set as `pool_in_form` does, for as long as the context is open.

    Raises UserError as `calibration_images` and `pool_in_form` do.
    """
    with pool_in_form(calibration_images(listed), images, imgsz, form) as fitted:
        yield fitted


@contextmanager
def pool_in_form(pool: list[Path], images: Path, imgsz: ImageSize, form: InputForm | None) -> Iterator[list[Path]]:
    """Yield images of the calibration pool as a model of that input form needs them, while the context is open.

    For the default form these are the files of the pool itself. For another form the originals in the folder `images`
    are fitted again, into files of the same names whose channels are in the network's order. Raises UserError when the
    folder lacks one of them, or a file of the pool is not of the size `imgsz`.
    """
    if form is None or form.is_default_fit:
        for path in pool:
            _demand_size(path, imgsz)
        yield pool
        return
    sources = {path.stem: path for path in images.iterdir()}
    with tempfile.TemporaryDirectory() as scratch:
        fitted = [Path(scratch, path.name) for path in pool]
        for path in fitted:
            if path.stem not in sources:
                raise UserError(f"{images} has no image {path.stem}, which is in the calibration pool")
            write_image(path, letterbox(read_image(sources[path.stem]), imgsz, form)[0])
        yield fitted


def _demand_size(path: Path, imgsz: ImageSize) -> None:
    """Raise UserError unless an image of the pool has the size of the model's input; the toolkit would stretch it."""
    width, height = size_in_file(path)
    if (width, height) != imgsz:
        raise UserError(
            f"calibration image {path} is {width}x{height}, but the model's input is {imgsz}; use images that are "
            "letterboxed for this size"
        )
