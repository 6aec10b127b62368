"""Calibration images that the model cannot be calibrated on give a clear message; so does too little memory for one."""

import cv2
import numpy as np
import pytest
from conftest import image

from lib.data.calibration import pool_in_form
from lib.data.calibration_list import calibration_images
from lib.data.images import read_image, write_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)


def fitted(path, form=None):
    with pool_in_form([path], path.parent, SIZE, form) as images:
        return images


def test_a_calibration_image_of_another_size_is_refused(tmp_path):
    """The toolkit would stretch it without a word, and nothing else could run it."""
    path = tmp_path / "a.png"
    write_image(path, np.zeros((64, 96, 3), np.uint8))
    assert fitted(path) == [path]
    write_image(path, image(0))
    for form in (None, InputForm()):
        with pytest.raises(UserError, match=r"a\.png is 90x70, but the model's input is 96x64; use images"):
            fitted(path, form)
    # For another form, the images are fitted again.
    assert fitted(path, InputForm(channels="bgr"))[0].name == "a.png"
    path.write_text("<html>")
    with pytest.raises(UserError, match=r"image .*a\.png cannot be decoded"):
        fitted(path)


@pytest.mark.parametrize("line", ["", "."])
def test_a_line_that_names_no_file_is_quoted(tmp_path, line):
    (tmp_path / "images.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=rf"images\.txt lists '{line}', which is not a file; list one image per line"):
        calibration_images(tmp_path / "images.txt")


def test_too_little_memory_for_an_image_is_not_called_damage(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", image(0))
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem

    def fail(*given):
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(MemoryError, match=r"a\.png"):
        read_image(tmp_path / "a.png")
