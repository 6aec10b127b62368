"""draw.h draws the requested shapes in every format, and nothing outside the image."""

import ctypes

import cv2
import numpy as np
import pytest
from test_letterbox_h import FORMATS, GUARD, Image, rgb_of, shim  # noqa: F401

RED = (230, 25, 75)
KINDS = FORMATS[:5]


class Paint(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint8) for name in ("red", "green", "blue")]


class Canvas:
    """A grey image of a format, with guard bytes around its planes."""

    def __init__(self, kind, width, height):
        self.kind, self.width = kind, width
        sizes = [(height, 3 * width if kind in ("rgb", "bgr") else width)]
        if kind.startswith("nv"):
            sizes.append(((height + 1) // 2, (width + 1) // 2 * 2))
        self.memories = [np.full((rows + 2, bytes_ + 16), GUARD, np.uint8) for rows, bytes_ in sizes]
        self.planes = [memory[1:-1, 8:-8] for memory in self.memories]
        self.planes[0][:] = 128
        for chroma in self.planes[1:]:
            chroma[:] = 128
        self.image = Image(FORMATS.index(kind), width, height)
        for number, plane in enumerate(self.planes):
            self.image.planes[number], self.image.strides[number] = plane.ctypes.data, plane.strides[0]

    def __call__(self):
        return ctypes.byref(self.image)

    def demand_guarded(self):
        """Check that nothing was drawn outside the image."""
        for memory in self.memories:
            around = memory.copy()
            around[1:-1, 8:-8] = GUARD
            assert (around == GUARD).all()

    def rgb(self):
        """The image in RGB."""
        self.demand_guarded()
        return rgb_of(self.kind, [np.ascontiguousarray(plane) for plane in self.planes], self.width)


def floats(*numbers):
    return (ctypes.c_float * len(numbers))(*numbers)


def close_to_red(rgb, kind):
    """Where an image is red, as exactly as the format allows."""
    expected = [cv2.cvtColor(np.uint8([[RED]]), cv2.COLOR_RGB2GRAY)[0, 0]] * 3 if kind == "grey" else RED
    return (np.abs(rgb.astype(int) - expected).max(axis=2) <= (3 if kind.startswith("nv") else 1)) & (rgb != 128).any(2)


@pytest.mark.parametrize("kind", KINDS)
def test_box_is_an_outline(shim, kind):  # noqa: F811
    canvas = Canvas(kind, 64, 48)
    shim.shim_draw_box(canvas(), floats(10, 8, 40, 30), 2, Paint(*RED))
    frame = np.zeros((48, 64), bool)
    frame[8:30, 10:40] = True
    frame[10:28, 12:38] = False
    np.testing.assert_array_equal(close_to_red(canvas.rgb(), kind), frame)


@pytest.mark.parametrize("kind", KINDS)
def test_mask_is_drawn_at_half_opacity(shim, kind):  # noqa: F811
    canvas = Canvas(kind, 40, 30)
    mask = np.zeros((20, 30), np.uint8)
    mask[2:18, 4:20] = 1
    mask[6:10, 8:12] = 0
    shim.shim_draw_mask(canvas(), mask.ctypes.data_as(ctypes.c_void_p), -10, -6, 30, 20, Paint(*RED))
    changed = (canvas.rgb().astype(int) != canvas.rgb()[29, 39]).any(axis=2)
    expected = np.zeros((30, 40), bool)
    expected[:14, :20] = mask[6:, 10:] > 0
    np.testing.assert_array_equal(changed, expected)
    if kind == "rgb":
        np.testing.assert_allclose(canvas.rgb()[5, 5], [(128 + red) / 2 for red in RED], atol=1)


def test_letters_are_legible(shim):  # noqa: F811
    """All printable characters have different glyphs; a character that is not ASCII gives one question mark."""

    def drawn(text, size=1):
        canvas = Canvas("grey", 200, 16)
        end = shim.shim_draw_text(canvas(), 1, 1, text.encode(), size, Paint(255, 255, 255))
        return end, canvas.rgb()[:, :, 0] == 255

    glyphs = {drawn(chr(code))[1].tobytes() for code in range(32, 127)}
    assert len(glyphs) == 95
    assert drawn("a")[0] == 7 and drawn("abc", 2)[0] == 37
    small, large = drawn("g")[1], drawn("g", 2)[1]
    np.testing.assert_array_equal(np.kron(small[1:8, 1:6], np.ones((2, 2), bool)), large[1:15, 1:11])
    assert drawn("Größe")[1].tobytes() == drawn("Gr??e")[1].tobytes()


def test_detection_has_box_name_score_and_number(shim):  # noqa: F811
    canvas, plain = Canvas("rgb", 320, 120), Canvas("rgb", 320, 120)
    shim.shim_draw_detection(canvas(), floats(2, 0.874, 20, 40, 120, 110), b"traffic light", 7)
    shim.shim_draw_detection(plain(), floats(7, 0.874, 20, 40, 120, 110), None, 0)
    text = Canvas("rgb", 320, 120)
    end = shim.shim_draw_text(text(), 21, 32, b"#7 traffic light 87", 1, Paint(0, 0, 0))
    label = canvas.rgb()[31:40, 20:end]
    np.testing.assert_array_equal((label == 0).all(axis=2), (text.rgb()[31:40, 20:end] == 0).all(axis=2))
    np.testing.assert_array_equal(canvas.rgb()[40:, :], plain.rgb()[40:, :])


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_without_area_changes_nothing(shim, kind):  # noqa: F811
    """Also at odd columns, where it would colour the chroma of a pair of pixels."""
    canvas = Canvas(kind, 41, 30)
    before = [memory.copy() for memory in canvas.memories]
    for x in (7, 8, 41):
        shim.shim_draw_box(canvas(), floats(x, 4, x, 20), 0, Paint(*RED))
    assert all(map(np.array_equal, canvas.memories, before))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_beyond_the_image(shim, kind):  # noqa: F811
    rng = np.random.default_rng(4)
    odd = [float("nan"), float("inf"), -float("inf"), 1e30, -1e30]
    for _ in range(60):
        canvas = Canvas(kind, int(rng.integers(1, 40)), int(rng.integers(1, 40)))
        for _ in range(4):
            values = [float(rng.normal(20, 60)) if rng.random() < 0.9 else rng.choice(odd) for _ in range(8)]
            paint, size = Paint(*map(int, rng.integers(0, 256, 3))), int(rng.integers(1, 5))
            shim.shim_draw_box(canvas(), floats(*values[:4]), size, paint)
            shim.shim_draw_point(canvas(), floats(*values[:2]), size, paint)
            shim.shim_draw_detection(canvas(), floats(3, *values[3:8]), b"name", int(rng.integers(0, 9)))
            if rng.random() < 0.3:
                shim.shim_draw_outline(canvas(), floats(*(np.clip(np.nan_to_num(values), -99, 99))), 4, size, paint)
        canvas.demand_guarded()
