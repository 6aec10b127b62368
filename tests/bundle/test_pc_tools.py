"""letterbox_image.py prepares a photo for the board's program; draw_detections.py draws the detections onto it."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import ROOT
from stub_board import StubModel, build, drawn_case

from lib import tasks
from lib.bundle.contract import CONTRACT, Proof
from lib.data.images import read_image, write_image
from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox

IMGSZ = ImageSize(160, 96)


@pytest.fixture
def model(tmp_path):
    """A bundle whose model sees one object, and a photo of 300 x 200 pixels."""
    case = drawn_case(IMGSZ, 3, np.array([[1, 0.8, 40, 20, 100, 60]]))
    model = StubModel(tmp_path / "bundle", tmp_path / "answers", case)
    replace(model.contract, proof=Proof(1, 1, 0.0, 0.0, 0.5)).write(model.folder / CONTRACT)
    rng = np.random.default_rng(0)
    write_image(tmp_path / "photo.png", cv2.resize(rng.integers(0, 60, (20, 30, 3)).astype(np.uint8), (300, 200)))
    return model


def tool(name: str, *words, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "scripts" / f"{name}.py", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, **options)


def test_from_the_photo_to_the_board_and_back(model, tmp_path):
    photo, bundle = tmp_path / "photo.png", ("--bundle", model.folder)
    done = tool("letterbox_image", photo, *bundle)
    fitted, fit = letterbox(read_image(photo), IMGSZ)
    assert done.returncode == 0 and done.stdout == fitted.tobytes(), done.stderr
    assert b"--image 300x200" in done.stderr
    done = tool("letterbox_image", photo, *bundle, "--output", tmp_path / "input.rgb")
    assert done.returncode == 0 and (tmp_path / "input.rgb").read_bytes() == fitted.tobytes()

    model.answer(fitted, model.case)
    build(tmp_path / "detect", "cc", model.folder / "detect.c", model.folder / "detector.c")
    command = [tmp_path / "detect", "--image", "300x200", model.folder / "model.rknn", tmp_path / "input.rgb"]
    done = subprocess.run(command, capture_output=True, env={"RKNN_STUB": str(model.answers.parent)})
    assert done.returncode == 0, done.stderr
    drawn = tool("draw_detections", photo, *bundle, "--output", tmp_path / "drawn.png", input=done.stdout)
    assert drawn.returncode == 0 and b"drawn: 1 detections" in drawn.stdout, drawn.stderr
    changed = np.abs(read_image(tmp_path / "drawn.png").astype(int) - read_image(photo)).max(axis=2) > 60
    assert changed.shape == (200, 300)
    [box] = tasks.get(tasks.DEFAULT).instances(model.case.spec, model.case.floats(), fit, 0.25, 0.7).boxes.astype(int)
    rows, columns = np.nonzero(changed)
    assert abs(rows.max() - box[3]) <= 2 and abs(columns.min() - box[0]) <= 2
    assert changed[box[1] + 10 : box[3] - 4, box[0] + 4 : box[2] - 4].mean() < 0.05

    (tmp_path / "lines.json").write_bytes(done.stdout)
    words = (photo, *bundle, "--output", tmp_path / "none.png", "--detections", tmp_path / "lines.json")
    done = tool("draw_detections", *words, "--confidence", "0.9")
    assert done.returncode == 0 and b"drawn: 0 detections" in done.stdout
    done = tool("draw_detections", *words, "--number", "1")
    assert done.returncode == 2 and b"detections of 1 images, counted from 0, so --number cannot be 1" in done.stderr


def test_missing_or_invalid_input_gives_one_message(model, tmp_path):
    bundle = ("--bundle", model.folder)
    done = tool("letterbox_image", tmp_path / "none.jpg", *bundle)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and not done.stdout
    done = tool("draw_detections", tmp_path / "photo.png", *bundle, "--output", tmp_path / "a.png", input=b"noise\n")
    assert (
        done.returncode == 2
        and b"standard input: 'noise' is not a line that" in done.stderr
        and not (tmp_path / "a.png").exists()
    )
