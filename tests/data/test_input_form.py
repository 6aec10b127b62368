"""What a model wants to be given is what its makers said: channels, range, place of the image."""

import cv2
import numpy as np
import pytest

from lib.data.imgsz import ImageSize
from lib.data.input_form import METADATA_KEY, InputForm
from lib.data.letterbox import fit_of, letterbox
from lib.step.errors import UserError

SIZE = ImageSize(64, 96)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)


def test_the_default_is_ultralytics_convention_and_leaves_no_entry():
    form = InputForm()
    assert form.to_metadata() == {} and InputForm.from_metadata({}) is None
    assert (form.pixel_mean, form.pixel_std) == ((0, 0, 0), (255, 255, 255))
    np.testing.assert_array_equal(form.normalized(IMAGE), IMAGE.astype(np.float32) / 255)


@pytest.mark.parametrize(
    "form",
    [
        InputForm(channels="bgr", scale=1, letterbox="top_left"),
        InputForm(channels="grey", mean=(0.5,), std=(0.5,), fill=0),
        InputForm(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), letterbox="stretch"),
    ],
)
def test_a_form_comes_back_from_metadata(form):
    assert InputForm.from_metadata(form.to_metadata()) == form
    assert str(form) != str(InputForm())


def test_values_that_are_all_the_same_are_one():
    assert InputForm(mean=(0.5, 0.5, 0.5)) == InputForm(mean=(0.5,))
    assert InputForm(scale=1, mean=(127.5,), std=(128,)).pixel_std == (128, 128, 128)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": "rgba"}, "not one of rgb, bgr, grey"),
        ({"scale": 128}, "not one of 255, 1"),
        ({"mean": (1, 2)}, "has 2 values; rgb needs 3"),
        ({"channels": "grey", "std": (1, 2, 3)}, "has 3 values; grey needs 1"),
        ({"std": (0,)}, "above 0"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"letterbox": "left"}, "not one of centre, top_left, stretch"),
        ({"fill": 256}, "not 0 to 255"),
        ({"colour": "red"}, "has no colour"),
    ],
)
def test_a_form_checks_itself(changes, words):
    with pytest.raises(UserError, match=words):
        InputForm().with_changes(changes)


def test_a_damaged_entry_is_one_sentence():
    for entry in ("{", '{"channels": "rgba"}', '{"colour": 1}'):
        with pytest.raises(UserError, match=METADATA_KEY):
            InputForm.from_metadata({METADATA_KEY: entry})


def test_the_network_sees_scaled_pixels_less_mean_by_std():
    form = InputForm(channels="bgr", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    expected = (IMAGE / 255 - (0.1, 0.2, 0.3)) / (0.4, 0.5, 0.6)
    np.testing.assert_allclose(form.normalized(IMAGE), expected, atol=1e-6)
    by_pixels = (IMAGE - np.array(form.pixel_mean)) / form.pixel_std
    np.testing.assert_allclose(by_pixels, expected, atol=1e-6)


def test_channels_are_in_the_networks_order():
    rgb, _ = letterbox(IMAGE, SIZE)
    bgr, _ = letterbox(IMAGE, SIZE, InputForm(channels="bgr"))
    grey, _ = letterbox(IMAGE, SIZE, InputForm(channels="grey"))
    np.testing.assert_array_equal(bgr, rgb[:, :, ::-1])
    assert grey.shape == (96, 64, 1)
    top, height = 32, 32
    shrunk = cv2.resize(IMAGE, (64, height), interpolation=cv2.INTER_LINEAR)
    weighed = shrunk @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[top : top + height, :, 0], weighed, atol=1)
    assert set(np.unique(grey[:top])) == {114}


def test_an_image_lies_at_the_top_left_on_another_fill():
    fitted, fit = letterbox(IMAGE, SIZE, InputForm(letterbox="top_left", fill=7))
    assert (fit.left, fit.top, fit.scale) == (0, 0, 0.8)
    assert (fitted[32:] == 7).all()
    np.testing.assert_array_equal(fitted[:32], letterbox(IMAGE, SIZE)[0][32:64])


def test_a_stretched_image_has_two_scales_and_boxes_come_back():
    form = InputForm(letterbox="stretch")
    fitted, fit = letterbox(IMAGE, SIZE, form)
    assert fit.scales == (0.8, 2.4) and fit.resized == SIZE
    np.testing.assert_array_equal(fitted, cv2.resize(IMAGE, (64, 96), interpolation=cv2.INTER_LINEAR))
    boxes = np.array([[0.0, 0, 80, 40], [10, 20, 30, 25]])
    np.testing.assert_allclose(fit.to_image(boxes * (0.8, 2.4, 0.8, 2.4)), boxes)
    assert fit_of((81, 43), SIZE, form).resized == SIZE
