"""Image sizes are read and images letterboxed as their definitions say."""

import numpy as np
import pytest

from lib.data.imgsz import ImageSize, parse_imgsz
from lib.data.input_form import GREY
from lib.data.letterbox import letterbox
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)


def test_imgsz_is_width_by_height():
    assert parse_imgsz("416x256") == (416, 256)
    assert parse_imgsz(320) == (320, 320)
    assert [str(parse_imgsz(text)) for text in ("416x256", "320", "320x320")] == ["416x256", "320", "320"]


@pytest.mark.parametrize("text", ["300", "416x250", "0", "x", "320x", "-32", "320X320x3", "8192", "32.0", ""])
def test_imgsz_that_is_none_is_one_sentence(text):
    with pytest.raises(UserError, match="image size"):
        parse_imgsz(text)


@pytest.mark.parametrize("source", [(640, 480), (480, 640), (33, 200), (416, 256), (500, 375), (1, 900)])
@pytest.mark.parametrize("size", [ImageSize(320, 320), ImageSize(416, 256)])
def test_letterbox_round_trip(source, size):
    width, height = source
    fitted, fit = letterbox(np.zeros((height, width, 3), np.uint8), size)
    assert fitted.shape == (size.height, size.width, 3)
    inside = np.argwhere(fitted[:, :, 0] == 0)
    # The image fills the input in one direction and lies in the middle of the other.
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    assert (left, top) == (fit.left, fit.top)
    assert right - left == size.width or bottom - top == size.height
    assert 0 <= (size.width - right) - left <= 1 and 0 <= (size.height - bottom) - top <= 1
    assert {0} | set(np.unique(fitted)) <= {0, GREY}
    boxes = np.array([[0, 0, width, height], [0.2 * width, 0.1 * height, 0.9 * width, 0.5 * height]])
    in_input = boxes * fit.scale + (fit.left, fit.top, fit.left, fit.top)
    np.testing.assert_allclose(fit.to_image(in_input), boxes, atol=1e-9)


def test_boxes_beyond_the_image_are_cut():
    _, fit = letterbox(np.zeros((100, 200, 3), np.uint8), ImageSize(64, 64))
    assert fit.to_image(np.array([[-9.0, -9, 99, 99]])).tolist() == [[0, 0, 200, 100]]
