"""camera.c on drawn frames with the stub runtime, also on ARM: letterbox, run, decode, track, print."""

import ctypes
import json
import re
import shutil
import subprocess
import textwrap
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from c_library import SANITIZERS
from conftest import ROOT
from moving_scenes import HEIGHT, WIDTH, Seen, moving_scene
from stub_board import ARM, SOURCES, StubModel, build, drawn_case
from test_letterbox_h import shim  # noqa: F401
from test_obb_decoder import obb_case
from test_pose_decoder import pose_case
from test_segment_decoder import segment_case
from test_track_h import Tracking, track

from lib import tasks
from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox

IMGSZ = ImageSize(160, 96)
CONFIDENCE, LOW = 0.25, 0.1
FRAMES = 24


class Filmed(NamedTuple):
    """Frames in NV12 [n, 3 / 2 h, w], and the detections in each: class, score, x1, y1, x2, y2 [m, 6]."""

    frames: np.ndarray
    detected: list[np.ndarray]
    model: StubModel


def draw(seen: Seen, image: int) -> np.ndarray:
    """A frame in NV12 with a rectangle for each detection."""
    frame = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    frame[:HEIGHT] = np.linspace(40, 180, WIDTH).astype(np.uint8) + image % 7
    for kind, score, *corners in seen.table:
        x1, y1, x2, y2 = np.clip(np.rint(corners), 0, (WIDTH, HEIGHT) * 2).astype(int)
        frame[y1:y2, x1:x2] = 60 + int(100 * score)
        frame[HEIGHT + y1 // 2 : HEIGHT + y2 // 2, x1 // 2 * 2 : x2 // 2 * 2] = 90 + 20 * int(kind)
    return frame


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Frames of a drawn scene, and a model that detects what was drawn."""
    folder = tmp_path_factory.mktemp("camera")
    scene = moving_scene(3)[:FRAMES]
    model = StubModel(folder / "bundle", folder / "answers", drawn_case(IMGSZ, 4))
    frames, detected = [], []
    for number, seen in enumerate(scene):
        frame = draw(seen, number)
        fitted, fit = letterbox(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12), IMGSZ)
        in_input = seen.table.astype(np.float64)
        in_input[:, 2:] = np.clip(in_input[:, 2:] * fit.scale + (fit.left, fit.top) * 2, 0, (*IMGSZ, *IMGSZ))
        case = drawn_case(IMGSZ, 4, in_input[in_input[:, 1] > 0])
        model.answer(fitted, case)
        instances = tasks.get(tasks.DEFAULT).instances(case.spec, case.floats(), fit, LOW, 0.7)
        detected.append(np.column_stack([instances.classes, instances.scores, instances.boxes]).reshape(-1, 6))
        frames.append(frame)
    (folder / "frames.nv12").write_bytes(np.stack(frames).tobytes())
    return Filmed(np.stack(frames), detected, model)


def expected_objects(library, detected: list[np.ndarray]) -> list[list]:
    """The objects that camera.c should print: number, class, score, box."""
    options = ctypes.byref(Tracking(CONFIDENCE, LOW, CONFIDENCE, 0.2, 0.5, 0.3, 30))
    numbers = track(library, [Seen(table, np.zeros(len(table))) for table in detected], options)
    return [[[number, *row] for number, row in zip(given, table) if number] for given, table in zip(numbers, detected)]


def run(model: StubModel, command: list, **options) -> subprocess.CompletedProcess:
    environment = {"RKNN_STUB": str(model.answers.parent)} | options.pop("env", {})
    return subprocess.run(list(map(str, command)), cwd=model.folder, env=environment, capture_output=True, **options)


def demand_objects(stdout: bytes, expected: list[list], skipped: int = 0) -> None:
    *lines, last = map(json.loads, stdout.decode().splitlines())
    assert last == {"frames": len(expected), "skipped": skipped}
    assert [line["frame"] for line in lines] == list(range(len(expected)))
    for line, objects in zip(lines, expected, strict=True):
        assert [row[:2] for row in line["objects"]] == [[row[0], row[1]] for row in objects]
        np.testing.assert_allclose(
            np.array([row[2:] for row in line["objects"]]).reshape(-1, 5), np.array(objects).reshape(-1, 7)[:, 2:],
            atol=0.051,
        )  # fmt: skip


def test_frames_become_tracked_objects_on_arm(filmed, shim, tmp_path):  # noqa: F811
    if not shutil.which("qemu-arm"):
        pytest.skip("needs qemu-arm (apt-get install qemu-user)")
    model = filmed.model
    build(tmp_path / "camera", ARM, model.folder / "camera.c", model.folder / "detector.c",
          flags=("-O3", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-static"))  # fmt: skip
    frames = model.folder.parent / "frames.nv12"
    command = ["qemu-arm", tmp_path / "camera", "--size", f"{WIDTH}x{HEIGHT}", "--annotated", tmp_path / "drawn",
               "model.rknn", frames]  # fmt: skip
    done = run(model, command)
    assert done.returncode == 0, done.stderr
    expected = expected_objects(shim, filmed.detected)
    assert sum(map(len, expected)) > 4 * FRAMES and len({row[0] for objects in expected for row in objects}) > 5
    demand_objects(done.stdout, expected)
    drawn = np.fromfile(tmp_path / "drawn", np.uint8).reshape(filmed.frames.shape)
    for before, after, objects in zip(filmed.frames, drawn, expected):
        changed = before[:HEIGHT] != after[:HEIGHT]
        assert changed.any() == bool(objects)
        for _, _, _, x1, y1, x2, y2 in objects:
            assert changed[int(y1) : int(y2), int(x1) : int(x2)].mean() > 0.02


def build_with_fake_camera(model: StubModel, program) -> None:
    wrapped = [f"-Wl,--wrap={name}" for name in ("open", "ioctl", "mmap", "munmap", "close")]
    build(program, "cc", model.folder / "camera.c", model.folder / "detector.c", SOURCES / "fake_camera.c",
          flags=(*SANITIZERS, *wrapped))  # fmt: skip


def test_a_camera_gives_the_same_objects_as_a_file(filmed, shim, tmp_path):  # noqa: F811
    """A simulated camera with padded rows, single- and multi-planar; after its last frame it fails."""
    model = filmed.model
    build_with_fake_camera(model, tmp_path / "camera")
    expected = expected_objects(shim, filmed.detected)
    frames = str(model.folder.parent / "frames.nv12")
    for planar in ({}, {"CAMERA_PLANAR": "1"}):
        command = [tmp_path / "camera", "--size", f"{WIDTH}x{HEIGHT}", "--frames", FRAMES, "model.rknn", "/dev/video0"]
        done = run(model, command, env={"CAMERA_FRAMES": frames} | planar)
        assert done.returncode == 0, done.stderr
        demand_objects(done.stdout, expected)
    command[command.index(FRAMES)] = FRAMES + 1
    done = run(model, command, env={"CAMERA_FRAMES": frames} | planar)
    assert done.returncode == 1 and b"camera: Input/output error" in done.stderr
    command[-2:] = ["--format", "rgb", "model.rknn", "/dev/video0"]
    done = run(model, command, env={"CAMERA_FRAMES": frames})
    assert done.returncode == 1 and b"/dev/video0: does not support the pixel format of --format" in done.stderr


def test_damaged_frames_of_a_camera_are_skipped_and_counted(filmed, shim, tmp_path):  # noqa: F811
    """The objects are those without the damaged frames; many of them in succession end the program."""
    model = filmed.model
    build_with_fake_camera(model, tmp_path / "camera")
    command = [tmp_path / "camera", "--size", f"{WIDTH}x{HEIGHT}", "--frames", FRAMES, "model.rknn", "/dev/video0"]
    frames = {"CAMERA_FRAMES": str(model.folder.parent / "frames.nv12")}
    for planar in ({}, {"CAMERA_PLANAR": "1"}):
        # Four at a time, which are more than the camera has buffers: before frames 0, 5, 10, 15 and 20.
        done = run(model, command, env=frames | planar | {"CAMERA_DAMAGED": "4"})
        assert done.returncode == 0, done.stderr
        demand_objects(done.stdout, expected_objects(shim, filmed.detected), skipped=20)
        assert done.stderr.count(b"damaged") == 1
    done = run(model, command, env=frames | {"CAMERA_DAMAGED": "1000"}, timeout=60)
    assert done.returncode == 1 and b"camera: too many damaged frames one after the other" in done.stderr
    assert b'{"frame' not in done.stdout


def test_other_formats_and_errors(filmed, tmp_path):
    model = filmed.model
    build(tmp_path / "camera", "cc", model.folder / "camera.c", model.folder / "detector.c", flags=SANITIZERS)
    case = drawn_case(IMGSZ, 4, np.array([[2, 0.9, 40, 30, 90, 80]]))
    model.answer(None, case)
    for name, size in (("rgb", 3 * 30 * 20), ("bgr", 3 * 30 * 20), ("grey", 600), ("yuyv", 1200), ("nv21", 900)):
        command = [tmp_path / "camera", "--format", name, "--size", "30x20", "model.rknn", "-"]
        done = run(model, command, input=bytes(2 * size))
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert lines[-1] == {"frames": 2, "skipped": 0} and [row[:3] for row in lines[1]["objects"]] == [[1, 2, 0.902]]
    done = run(model, command, input=bytes(901))
    assert done.returncode == 1 and b"frames: the last one is incomplete" in done.stderr
    assert b'{"frame": 0' in done.stdout and b'{"frames": 1' not in done.stdout
    for words, said in (
        ([], "MODEL.rknn and a camera are needed"),
        (["--size", "0x4", "model.rknn", "-"], "--size: invalid option or value"),
        (["none.rknn", "-"], "none.rknn cannot be read"), (["model.rknn", "none"], "none: No such file"),
        (["--format", "yuyv", "--annotated", "x", "model.rknn", "-"], "yuyv: --annotated does not support it"),
    ):  # fmt: skip
        done = run(model, [tmp_path / "camera", *words])
        assert done.returncode in (1, 2) and said in done.stderr.decode(), done.stderr


def test_code_for_the_rtsp_example_compiles(filmed, tmp_path):
    """The code blocks of docs/camera.md, at the places that it names, compile as C++."""
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler (g++)")
    pieces = re.findall(r"```cpp\n(.*?)```", (ROOT / "docs" / "camera.md").read_text(), re.DOTALL)
    top, begin, loop = map(textwrap.dedent, pieces)
    (tmp_path / "main.cc").write_text(
        f"#include <stdio.h>\n{top}\nstruct Frame {{ struct {{ int pMbBlk; }} stVFrame; }};\nenum {{ RK_FALSE }};\n"
        f"void RK_MPI_SYS_MmzFlushCache(int block, int read_only);\nint width = 720, height = 480;\n"
        f"int main() {{\n{begin}\nFrame stVpssFrame = Frame();\nvoid *data = NULL;\nfor (;;) {{\n{loop}\n}}\n}}\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{SOURCES}", f"-I{filmed.model.folder}"]
    done = subprocess.run(["g++", *flags, tmp_path / "main.cc"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Seeds of models that see a few objects, all outputs blocked.
@pytest.mark.parametrize(("case_of", "seed"), [(pose_case, 3), (segment_case, 4), (obb_case, 11)])
def test_task_values_are_drawn_and_printed(tmp_path, case_of, seed):
    """A random model of each task; its keypoints, masks or rotated boxes are in the annotated frame."""
    case = case_of(seed)
    model = StubModel(tmp_path / "bundle", tmp_path / "answers", case)
    model.answer(None, case)
    command = [tmp_path / "camera", "--format", "rgb", "--size", "320x240", "--confidence", "0.5", "--annotated",
               tmp_path / "drawn", "model.rknn", "-"]  # fmt: skip
    text, annotated = (model.folder / "camera.c").read_text(), []
    without = "".join(f"#undef RV1106_{task}_H\n" for task in ("POSE", "SEGMENT", "OBB"))
    for source in (text, text.replace('#include "track.h"\n', f'#include "track.h"\n{without}')):
        (model.folder / "tried.c").write_text(source)
        build(tmp_path / "camera", "cc", model.folder / "tried.c", model.folder / "detector.c",
              flags=("-Wpedantic", *SANITIZERS))  # fmt: skip
        done = run(model, command, input=bytes([128]) * (320 * 240 * 3))
        assert done.returncode == 0, done.stderr
        objects = json.loads(done.stdout.decode().splitlines()[0])["objects"]
        assert objects and all(len(row) == 8 and row[7] for row in objects)
        annotated.append((tmp_path / "drawn").read_bytes())
    assert annotated[0] != annotated[1] != bytes([128]) * len(annotated[1])
