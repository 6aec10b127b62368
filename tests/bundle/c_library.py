"""decode.h and the headers of families and tasks as a shared library, and their use as in a program."""

import ctypes
import shutil
import subprocess
from typing import get_args

import numpy as np
import pytest
from conftest import ROOT
from random_models import FAMILIES, KINDS, random_case

from lib import tasks
from lib.bundle import DECODER, HERE, headers, program
from lib.bundle.contract import CONTRACT, Contract
from lib.bundle.model_h import model_h
from lib.bundle.program import FLAGS
from lib.data.input_form import InputForm, Place
from lib.data.letterbox import fit_of
from lib.detector import nms as python
from lib.detector.families.anchors import MOST_ANCHORS, MOST_LAYERS
from lib.detector.families.classes import Classes
from lib.detector.families.sides import Sides
from lib.detector.head import ALL_HEADS
from lib.detector.instances import Instances

SOURCES = ROOT / "tests" / "bundle" / "c"
HEADERS = ("decode.h", "dfl.h", "distances.h", "anchors.h", "yolox.h", "pose.h", "obb.h", "segment.h", "classify.h")
TASKS = ("detect", "pose", "obb_angle", "obb_turn", "segment", "classify_task")  # as tests/bundle/c/shim.c numbers them


# Not optimized: the compiler takes a ninth of the time, and nothing undefined is optimized away before it is seen.
SANITIZERS = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class Output(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("channels", "height", "width", "c1", "c2", "zero_point")),
        ("scale", ctypes.c_float),
    ]


class Level(ctypes.Structure):
    _fields_ = [("stride", ctypes.c_int), ("per_cell", ctypes.c_int)]


class Details(ctypes.Structure):
    _fields_ = [
        ("new_coords", ctypes.c_int),
        ("scale_x_y", ctypes.c_double),
        ("anchors", ctypes.c_float * 2 * MOST_ANCHORS),
    ]


PLACES = get_args(Place)  # as decode.h numbers them


class Model(ctypes.Structure):
    _fields_ = [
        ("head", ctypes.c_int),
        ("family", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("end2end", "width", "height", "classes", "level_count")),
        ("levels", Level * MOST_LAYERS),
        ("details", ctypes.POINTER(Details)),
        ("output_count", ctypes.c_int),
        ("outputs", Output * (6 * MOST_LAYERS)),
        ("place", ctypes.c_int),
        ("task", ctypes.c_void_p),
        ("channels", ctypes.c_int),
        ("fill", ctypes.c_int),
        ("toolkit", ctypes.c_char_p),
    ]


class Fit(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("width", "height", "left", "top")),
        *((name, ctypes.c_double) for name in ("scale", "scale_y")),
    ]


class Found(ctypes.Structure):
    _fields_ = [
        ("class_id", ctypes.c_int),
        *((name, ctypes.c_float) for name in ("score", "x1", "y1", "x2", "y2")),
        ("prediction", ctypes.c_int),
    ]


def cc(*arguments):
    """Run the C compiler with the strict flags under which decode.h must compile without warnings."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    done = subprocess.run(["cc", *FLAGS, f"-I{HERE}", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def fuzzer(folder, *arguments):
    """Compile a fuzzing program of tests/bundle/c with sanitizers; return its path in `folder`."""
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    linked = shutil.which("cc") and subprocess.run(["cc", *SANITIZERS, str(probe), "-o", str(folder / "probe")])
    if not linked or linked.returncode:
        pytest.skip("needs a C compiler (cc) with AddressSanitizer")
    cc(*SANITIZERS, "-O2", *arguments, "-o", folder / "fuzz")
    return folder / "fuzz"


def wrong_library(folder, right, wrong, changed=HEADERS):
    """Compile the library in `folder` with `right` replaced by `wrong` in the headers `changed`."""
    for name in HEADERS:
        text = (HERE / name).read_text()
        (folder / name).write_text(text.replace(right, wrong) if name in changed else text)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", f"-I{folder}", SOURCES / "shim.c", "-o", folder / "wrong.so"],
                   check=True, capture_output=True)  # fmt: skip
    return opened(folder / "wrong.so")


def built_bundle(folder, case) -> Contract:
    """Write a case's contract to `folder`, compile its program `decode` there, and return the contract as read."""
    case.contract("mine").write(folder / CONTRACT)
    again = Contract.of_bundle(folder)
    for name in (*headers(case.spec), DECODER):
        (folder / name).write_bytes((HERE / name).read_bytes())
    (folder / "model.h").write_text(model_h(again))
    program.build(folder, [*program.compiler(), "-Wpedantic", "-Wconversion"], folder / "decode")
    return again


def compiled(folder):
    """Compile the library of the unchanged headers in `folder`."""
    cc("-shared", "-fPIC", SOURCES / "shim.c", "-o", folder / "shim.so")
    return opened(folder / "shim.so")


def opened(path):
    """Load a library of tests/bundle/c/shim.c and set the types of its functions."""
    library = ctypes.CDLL(str(path))
    library.shim_fit.restype = Fit
    library.shim_iou.restype = ctypes.c_float
    library.shim_exp.restype = ctypes.c_double
    library.shim_likeness.restype = ctypes.c_double
    library.shim_exp.argtypes = [ctypes.c_double]
    library.shim_decoder_size.restype = ctypes.c_size_t
    library.shim_family.restype = library.shim_task.restype = ctypes.c_void_p
    return library


def model_of(shim, case) -> Model:
    """A case's model as the C struct."""
    model, spec = Model(), case.spec
    family = (*FAMILIES, Classes).index(type(spec.family))
    model.head, model.family = ALL_HEADS.index(spec.head), shim.shim_family(family)
    model.end2end, (model.width, model.height), model.classes = spec.end2end, spec.imgsz, spec.classes
    part = tasks.get(spec.task).bundle
    model.task = shim.shim_task(TASKS.index(part.c_name(spec) if part else tasks.DEFAULT))
    levels, details = spec.family.levels(), spec.family.c_details()
    model.level_count, model.output_count = len(levels), len(case.tensors)
    for row, level in zip(model.levels, levels):
        row.stride, row.per_cell = level
    for row, tensor in zip(model.outputs, case.tensors):
        row.channels, row.zero_point, row.scale = tensor.shape[1], tensor.zero_point, tensor.scale
        _, row.c1, row.height, row.width, row.c2 = tensor.native_shape
    if isinstance(spec.family, Sides):
        points = (ctypes.c_float * MOST_LAYERS)(*(offset for (offset,) in details))
        model.details = ctypes.cast(points, ctypes.POINTER(Details)) if details else None
        return model
    if details:
        model.details = (Details * MOST_LAYERS)()
    for row, (new_coords, scale_x_y, anchors) in enumerate(details):
        model.details[row].new_coords, model.details[row].scale_x_y = new_coords, scale_x_y
        for anchor, sides in zip(model.details[row].anchors, anchors):
            anchor[:] = sides
    return model


def status_of_changed(shim, case, change) -> int:
    """The status of rv1106_init for a case's model after `change(model, number of the task's first output)`."""
    model = model_of(shim, case)
    change(model, len(case.spec.family.maps(case.spec.classes)))
    return Decoder(shim, model).status


def set_output(name, value):
    """A change of the task's first output."""
    return lambda model, first: setattr(model.outputs[first], name, value)


def set_count(beyond):
    """A change of the number of outputs after the family's."""
    return lambda model, first: setattr(model, "output_count", first + beyond)


class Decoder:
    """Uses decode.h as a program does."""

    def __init__(self, shim, model: Model):
        self.shim, self.model = shim, model
        self.memory = ctypes.create_string_buffer(shim.shim_decoder_size())
        self.status = shim.shim_init(self.memory, ctypes.byref(model))

    def run(self, natives, source, confidence, iou, room=30_000, most=300, sizes=None, spec=None):
        """Detections, with the task's values if `spec` has a task; or the error code."""
        count = len(natives)
        buffers = (ctypes.c_void_p * count)(*(None if native is None else native.ctypes.data for native in natives))
        lengths = (ctypes.c_size_t * count)(*(sizes or [native.nbytes for native in natives]))
        fit = self.shim.shim_fit(ctypes.byref(self.model), *source)
        found = (Found * max(most, 1))()
        candidates = ctypes.create_string_buffer(8 * max(room, 1))
        n = self.shim.shim_decode(
            self.memory, buffers, lengths, ctypes.c_float(confidence), ctypes.c_float(iou), ctypes.byref(fit),
            candidates, room, found, most,
        )  # fmt: skip
        if n < 0:
            return n
        table = np.array([[f.class_id, f.score, f.x1, f.y1, f.x2, f.y2] for f in found[:n]]).reshape(-1, 6)
        part = tasks.get(spec.task).bundle if spec else None
        extras = part.extras(spec, [self._values(buffers, fit, each) for each in found[:n]]) if part else {}
        return Instances(table[:, 2:], table[:, 1], table[:, 0].astype(int), extras)

    def _values(self, buffers, fit, detection):
        """The task's values of a detection."""
        room = 1 << 20
        values = (ctypes.c_double * room)()
        count = self.shim.shim_values(self.memory, buffers, ctypes.byref(fit), ctypes.byref(detection), values, room)
        return values[:count]


def both(shim, seed, monkeypatch, case_of=random_case, many=30_000, largest=2000):
    """Python's and C's detections of a random case under random thresholds and limits.

    At most `many` candidates and detections, in an image of `largest` pixels a side or less.
    """
    case = case_of(seed)
    rng = np.random.default_rng([seed, 1])
    confidence, iou = float(rng.choice([0.0, 0.001, 0.25, 0.6])), float(rng.choice([0.0, 0.3, 0.45, 0.5, 0.7, 1.0]))
    room, most = (int(rng.choice(sizes)) for sizes in ([1, 7, 100, many], [1, 5, min(many, 300), many]))
    source = tuple(map(int, rng.integers(1, largest, 2)))
    monkeypatch.setattr(python, "MOST_CANDIDATES", room)
    place = seed // len(KINDS) % len(PLACES)
    fit = fit_of(source, case.spec.imgsz, InputForm(letterbox=PLACES[place]))
    expected = tasks.get(case.spec.task).instances(case.spec, case.floats(), fit, confidence, iou, most)
    model = model_of(shim, case)
    model.place = place
    decoder = Decoder(shim, model)
    assert decoder.status == 0
    return expected, decoder.run(case.natives(), source, confidence, iou, room, most, spec=case.spec)
