"""Calibration sets: text files that list letterboxed images, one per line, relative to the file.

The first line is a comment with their number, so that a truncated list is noticed.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.data.images import read_image, size_in_file, write_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.data.manifest import check_manifest
from lib.step.errors import UserError
from lib.step.files import read_text, require


def calibration_images(listed: Path) -> list[Path]:
    """The images of a calibration set, in its order.

    Raises UserError when the list is empty or truncated, or an image is missing or was changed after its step wrote it.
    """
    lines = read_text(require(listed, "calibration list")).splitlines()
    header = re.fullmatch(r"# (\d+) images", lines[0]) if lines else None
    names = lines[bool(header) :]
    if not names:
        raise UserError(f"calibration list {listed} is empty")
    if header and int(header[1]) != len(names):
        raise UserError(f"{listed} lists {len(names)} of {header[1]} images; delete it and run again")
    images = [require(listed.parent / name, "calibration image") for name in names]
    if others := [name for name, image in zip(names, images) if not image.is_file()]:
        raise UserError(f"{listed} lists '{others[0]}', which is not a file; list one image per line")
    for folder in sorted({image.parent for image in images}):
        check_manifest(folder, [image.name for image in images if image.parent == folder])
    return images


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


def calibration_list(names: list[str]) -> str:
    """The text of a calibration set's file."""
    return "".join(f"{line}\n" for line in (f"# {len(names)} images", *names))
