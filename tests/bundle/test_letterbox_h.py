"""letterbox.h gives the same input bytes as Python's letterbox, for all camera formats; safely."""

import ctypes
import re
import shutil
import subprocess
from typing import get_args

import cv2
import numpy as np
import pytest
from c_library import fuzzer
from conftest import ROOT

from lib.bundle import HERE
from lib.bundle.program import FLAGS
from lib.data.imgsz import ImageSize
from lib.data.input_form import Channels, InputForm, Place
from lib.data.letterbox import letterbox

SOURCES = ROOT / "tests" / "bundle" / "c"
STRICT = ("-Wpedantic", "-Wconversion", "-Wshadow", "-Wcast-qual", "-Wstrict-prototypes")
FORMATS = ("rgb", "bgr", "grey", "nv12", "nv21", "yuyv")  # as letterbox.h numbers them
TO_RGB = {
    "rgb": None,
    "bgr": cv2.COLOR_BGR2RGB,
    "grey": cv2.COLOR_GRAY2RGB,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
CAMERAS = ((1920, 1080), (640, 480), (1280, 720), (2304, 1296), (640, 360), (320, 240), (256, 128))
SQUARE = ImageSize(64, 64)
BAD_SIZE, BAD_ARGUMENT = -2, -3
GUARD = 0xA5  # what lies around the input; nothing may be written there


class Image(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("format", "width", "height")),
        ("planes", ctypes.c_void_p * 2),
        ("strides", ctypes.c_size_t * 2),
    ]


class Input(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("channels", "fill", "width", "height")),
        ("pixels", ctypes.c_void_p),
        ("stride", ctypes.c_size_t),
        ("place", ctypes.c_int),
    ]


class Fit(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("width", "height", "left", "top")),
        *((name, ctypes.c_double) for name in ("scale", "scale_y")),
    ]


def compile_c(*arguments, flags=STRICT):
    """Run the C compiler with strict warnings as errors."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    done = subprocess.run(["cc", *FLAGS, *flags, f"-I{HERE}", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    path = tmp_path_factory.mktemp("shim") / "camera.so"
    compile_c("-shared", "-fPIC", SOURCES / "camera_shim.c", "-o", path)
    return ctypes.CDLL(str(path))


def planes_of(kind: str, width: int, height: int, rng) -> list[np.ndarray]:
    """A random image of a format: its planes, with padded rows."""
    rows = {"rgb": 3 * width, "bgr": 3 * width, "yuyv": 2 * width}.get(kind, width)
    sizes = [(height, rows)]
    if kind.startswith("nv"):
        sizes.append(((height + 1) // 2, (width + 1) // 2 * 2))
    # Coarse blocks enlarged, and noise on them: both slow and fast changes.
    planes = []
    for high, wide in sizes:
        coarse = rng.integers(0, 256, (high // 9 + 1, wide // 9 + 1), np.uint8).repeat(9, 0).repeat(9, 1)[:high, :wide]
        plane = np.full((high, wide + int(rng.integers(0, 9))), GUARD, np.uint8)
        noise = rng.integers(0, 256, (high, wide), np.uint8)
        plane[:, :wide] = np.where(rng.random((high, wide)) < 0.2, noise, coarse)
        planes.append(plane)
    return planes


def rgb_of(kind: str, planes: list[np.ndarray], width: int) -> np.ndarray:
    """The image in RGB as OpenCV converts it."""
    height = len(planes[0])
    if kind in ("rgb", "bgr"):
        image = planes[0][:, : 3 * width].reshape(height, width, 3)
    elif kind == "yuyv":
        image = planes[0][:, : 2 * width].reshape(height, width, 2)
    elif kind == "grey":
        image = planes[0][:, :width]
    else:
        image = np.vstack([planes[0][:, :width], planes[1][:, :width]])
    return image if TO_RGB[kind] is None else cv2.cvtColor(np.ascontiguousarray(image), TO_RGB[kind])


def image_of(kind: str, planes: list[np.ndarray], width: int) -> Image:
    image = Image(FORMATS.index(kind), width, len(planes[0]))
    for number, plane in enumerate(planes):
        image.planes[number], image.strides[number] = plane.ctypes.data, plane.shape[1]
    return image


def fit_for(shim, source: tuple[int, int], imgsz: ImageSize, place: str) -> Fit:
    shim.shim_fit_in.restype = Fit
    return shim.shim_fit_in(imgsz.width, imgsz.height, get_args(Place).index(place), *source)


def fill(shim, image: Image, imgsz: ImageSize, form: InputForm, rng) -> np.ndarray:
    """The input that letterbox.h writes, uint8 [H, W, C]; checks that nothing else is written."""
    row = imgsz.width * form.depth
    stride = row + int(rng.choice([0, 0, 16, 5]))
    memory = np.full(stride * imgsz.height + 64, GUARD, np.uint8)
    pixels = memory[32:-32]
    place = get_args(Place).index(form.letterbox)
    given = Input(FORMATS.index(form.channels), form.fill, *imgsz, pixels.ctypes.data, stride, place)
    fit = fit_for(shim, (image.width, image.height), imgsz, form.letterbox)
    assert shim.shim_fill_input(ctypes.byref(given), ctypes.byref(image), ctypes.byref(fit)) == 0
    rows = pixels.reshape(imgsz.height, stride)
    assert (memory[:32] == GUARD).all() and (memory[-32:] == GUARD).all() and (rows[:, row:] == GUARD).all()
    return rows[:, :row].reshape(imgsz.height, imgsz.width, form.depth)


def drawn_size(rng) -> tuple[int, int]:
    """Sizes of cameras, odd sizes, and some integer multiples of the input's size."""
    if rng.random() < 0.4:
        return [(1920, 1080), (640, 480), (1280, 720), (2304, 1296), (640, 360), (320, 240), (256, 128)][
            rng.integers(7)
        ]
    return tuple(int(np.exp(rng.uniform(0, np.log(900)))) + 1 for _ in "xy")


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_equal_pythons(shim, kind):
    """500 sizes in all formats, all channels and places; no byte differs."""
    rng = np.random.default_rng(FORMATS.index(kind))
    for number in range(84):
        width, height = drawn_size(rng)
        if kind == "yuyv":
            width += width % 2
        elif kind.startswith("nv"):  # OpenCV converts even sizes alone
            width, height = width + width % 2, height + height % 2
        imgsz = ImageSize(*(int(32 * each) for each in rng.integers(1, 21, 2)))
        form = InputForm(
            channels=get_args(Channels)[number % 3],
            letterbox=get_args(Place)[number // 3 % 4],
            fill=int(rng.choice([114, 0, 255])),
        )
        planes = planes_of(kind, width, height, rng)
        expected, _ = letterbox(rgb_of(kind, planes, width), imgsz, form)
        filled = fill(shim, image_of(kind, planes, width), imgsz, form, rng)
        np.testing.assert_array_equal(filled, expected, err_msg=f"{kind} {width}x{height} in {imgsz}, {form}")


@pytest.mark.parametrize("kind", ["nv12", "nv21"])
def test_odd_sizes_have_chroma_for_their_last_pixels(shim, kind):
    """The result is the same as for the even image that repeats the last column and row."""
    rng = np.random.default_rng(3)
    for width, height in [(1, 1), (33, 17), (101, 64), (64, 101)]:
        planes = planes_of(kind, width, height, rng)
        imgsz = ImageSize(64, 32)
        even = [np.pad(planes[0][:, :width], ((0, height % 2), (0, width % 2)), mode="edge"), planes[1]]
        colours = np.ascontiguousarray(rgb_of(kind, even, width + width % 2)[:height, :width])
        expected, _ = letterbox(colours, imgsz)
        np.testing.assert_array_equal(fill(shim, image_of(kind, planes, width), imgsz, InputForm(), rng), expected)


@pytest.mark.parametrize(
    ("size", "imgsz"),
    [((1920, 1080), (224, 224)), ((3000, 31), (32, 32)), ((31, 3000), (299, 180)), ((40, 33), (224, 224)),
     ((224, 224), (224, 224)), ((225, 224), (224, 224)), ((2500, 2100), (7, 5)), ((1, 1), (20, 30))],
)  # fmt: skip
def test_middles_of_large_and_small_images_equal_pythons(shim, size, imgsz):
    rng, imgsz, form = np.random.default_rng(4), ImageSize(*imgsz), InputForm(letterbox="crop")
    planes = planes_of("rgb", *size, rng)
    expected, _ = letterbox(rgb_of("rgb", planes, size[0]), imgsz, form)
    np.testing.assert_array_equal(fill(shim, image_of("rgb", planes, size[0]), imgsz, form, rng), expected)


def test_invalid_arguments_are_refused(shim):
    pixels, planes = np.zeros((64, 200), np.uint8), np.zeros((2, 100, 300), np.uint8)

    def status(width=64, height=50, imgsz=SQUARE, fit=None, place="centre", **changes):
        image = Image(0, width, height)
        image.planes[:], image.strides[:] = [plane.ctypes.data for plane in planes], [300, 300]
        given = Input(0, 114, *imgsz, pixels.ctypes.data, 200, get_args(Place).index(place))
        fit = fit or fit_for(shim, (width, height), imgsz, place)
        for name, value in changes.items():
            owner = next(owner for owner in (image, given, fit) if hasattr(owner, name))
            setattr(owner, name, value)
        return shim.shim_fill_input(ctypes.byref(given), ctypes.byref(image), ctypes.byref(fit))

    assert status() == 0 and status(format=3) == 0
    two_planes = (ctypes.c_void_p * 2)(planes[0].ctypes.data, None)
    for changes in (
        {"format": 6}, {"format": -1}, {"width": 0}, {"height": 32768}, {"channels": 3}, {"channels": -1},
        {"fill": 256}, {"fill": -1}, {"pixels": None}, {"stride": 191}, {"format": 5, "width": 63},
        {"strides": (ctypes.c_size_t * 2)(191, 300)}, {"planes": (ctypes.c_void_p * 2)()},
        {"planes": two_planes, "format": 3}, {"strides": (ctypes.c_size_t * 2)(300, 63), "format": 3},
    ):  # fmt: skip
        assert status(**changes) == BAD_ARGUMENT, changes
    for changes in ({"left": 1}, {"top": -1}, {"top": 15}, {"scale": 0}, {"scale": float("nan")}, {"scale": 1e9},
                    {"scale_y": 2}, {"scale_y": float("nan")}):  # fmt: skip
        assert status(**changes) == BAD_SIZE, changes
    assert status(fit=fit_for(shim, (50, 64), SQUARE, "centre")) == BAD_SIZE
    assert status(place="crop") == 0
    for changes in ({"left": 0}, {"left": -6}, {"top": -1}):
        assert status(place="crop", **changes) == BAD_SIZE, changes
    assert status(place="crop", fit=fit_for(shim, (64, 50), SQUARE, "centre")) == BAD_SIZE
    long_rows = {"imgsz": ImageSize(1, 1), "width": 32767, "place": "crop", "strides": (ctypes.c_size_t * 2)(98301)}
    assert status(height=1, **long_rows) == 0 and status(height=32767, **long_rows) == BAD_SIZE
    assert shim.shim_fill_input(None, None, None) == BAD_ARGUMENT


def test_header_is_cplusplus_too(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler (g++)")
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", f"-I{HERE}", "-x", "c++"]
    command = ["g++", *flags, "-c", str(SOURCES / "camera_shim.c"), "-o", str(tmp_path / "shim.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_random_images_under_sanitizers(tmp_path):
    """Buffers of exactly the needed size, random sizes and letterboxes: no access out of bounds."""
    done = subprocess.run(
        [fuzzer(tmp_path, SOURCES / "letterbox_fuzz.c"), "20000", "7"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    filled, refused = map(int, re.findall(r"\d+", done.stdout))
    assert filled > 10_000 and refused > 1_000


ARM = "arm-linux-gnueabihf-gcc"


def test_bytes_are_the_same_on_armhf(shim, tmp_path):
    """With and without fused multiplications and NEON."""
    for needed in (ARM, "qemu-arm"):
        if not shutil.which(needed):
            pytest.skip(f"needs {needed} (apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user)")
    rng = np.random.default_rng(5)
    imgsz, width, height = ImageSize(96, 64), 250, 130
    planes = planes_of("nv12", width, height, rng)
    frame = np.concatenate([plane[:, :width].ravel() for plane in planes])
    forms = [InputForm(), InputForm(letterbox="crop")]
    expected = [fill(shim, image_of("nv12", planes, width), imgsz, form, rng) for form in forms]
    for flags in ([], ["-O3", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-ffp-contract=fast"]):
        binary = tmp_path / "fill"
        command = [ARM, *FLAGS, *flags, f"-I{HERE}", "-static", str(SOURCES / "fill.c"), "-o", str(binary)]
        subprocess.run(command, check=True)
        for form, same in zip(forms, expected):
            sizes = [*map(str, (width, height, *imgsz)), str(get_args(Place).index(form.letterbox))]
            done = subprocess.run(["qemu-arm", str(binary), "3", *sizes], input=frame.tobytes(), capture_output=True)
            assert done.returncode == 0, done.stderr
            filled = np.frombuffer(done.stdout, np.uint8).reshape(same.shape)
            assert np.abs(filled.astype(int) - same).max() <= bool(flags)
