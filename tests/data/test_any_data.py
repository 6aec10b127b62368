"""Data that people really have, and data that they should not: encodings, polygons, broken images, zip bombs."""

import os
import resource
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
from conftest import ROOT, image
from PIL import Image, ImageOps

from lib.data.archives import unpack
from lib.data.images import ORIENTATION, damage, read_image
from lib.data.names import read_names
from lib.step.errors import UserError


def test_names_with_a_mark_have_no_mark_in_the_first_name(tmp_path):
    (tmp_path / "names").write_text("bolt\nSchlüssel\n", encoding="utf-8-sig")
    assert read_names([str(tmp_path / "names")]) == ["bolt", "Schlüssel"]


LINE = "1 0.5 0.5 0.4 0.3\n"


def fetch(step, dataset, out, *options):
    return step("fetch_dataset", "--archive", dataset, "--names", *"abcd", "--threads", "2", "--output", out, *options)


def test_polygons_and_marks_become_plain_boxes_and_are_counted(step, dataset, tmp_path):
    (dataset / "labels/train/01.txt").write_text("2 0.1 0.2 0.5 0.2 0.3 0.8\n")
    (dataset / "labels/train/02.txt").write_text(LINE, encoding="utf-16")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 0, done.stderr
    assert "1 of 9 labels are polygons; the boxes around them are used" in done.stdout
    kind, *box = map(float, (tmp_path / "ds/labels/01.txt").read_text().split())
    assert kind == 2 and box == pytest.approx([0.3, 0.5, 0.4, 0.6])
    assert (tmp_path / "ds/labels/02.txt").read_text() == LINE


def test_labels_that_are_all_there_twice_count_once_and_one_line_says_so(step, dataset, tmp_path):
    plain = fetch(step, dataset, tmp_path / "plain")
    for label in (dataset / "labels/train").iterdir():
        label.write_text(label.read_text() * 2)
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 0, done.stderr
    assert "duplicate" not in plain.stdout and done.stdout.count("duplicate") == 1
    assert "9 duplicate labels are dropped" in done.stdout and "(1 background), 9 boxes" in done.stdout
    for label in sorted((tmp_path / "plain/labels").iterdir()):
        assert (tmp_path / "ds/labels" / label.name).read_text() == label.read_text()


POSE = "0 .5 .5 .2 .2"
UNSEEN = " 0 0 0"


@pytest.mark.parametrize(
    "line",
    [
        POSE + " .45 .45",
        POSE + " .45 .45 .55 .6",
        POSE + " .45 .45 2 .55 .6 1",
        POSE + " .45 .45 2 .55 .6 1" + UNSEEN,
        POSE + " .45 .45 2" + UNSEEN * 16,
    ],
)
def test_labels_for_pose_are_told_apart_and_refused_in_one_sentence(step, dataset, tmp_path, line):
    for number in range(1, 6):
        (dataset / f"labels/train/0{number}.txt").write_text(f"{line}\n")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "for pose; for a detector, keep the first five numbers of every line" in done.stderr
    assert list((tmp_path / "ds").iterdir()) == []


def test_polygons_near_the_middle_are_still_polygons(step, dataset, tmp_path):
    # Both may be read as a box and keypoints, but are not of one length.
    (dataset / "labels/train/01.txt").write_text("0 .5 .5 .55 .5 .55 .55\n")
    (dataset / "labels/train/02.txt").write_text("0 .5 .5 .55 .5 .55 .55 .5 .55\n")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 0 and "2 of 9 labels are polygons" in done.stdout, done.stderr
    # Of one length, but only one of three may be read so.
    (dataset / "labels/train/02.txt").write_text("0 .1 .5 .55 .5 .55 .55\n")
    (dataset / "labels/train/03.txt").write_text("0 .1 .1 .5 .1 .3 .4\n")
    done = fetch(step, dataset, tmp_path / "again")
    assert done.returncode == 0 and "3 of 9 labels are polygons" in done.stdout, done.stderr


def test_images_that_are_none_are_all_told_at_once_and_nothing_is_left(step, dataset, tmp_path):
    images = dataset / "images/train"
    whole = (images / "03.jpg").read_bytes()
    (images / "01.jpg").write_bytes(b"")
    (images / "02.jpg").write_bytes(b"<!DOCTYPE html><title>404</title>")
    (images / "03.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "04.jpg").write_bytes(b"\0" * 5000)
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert told[-5].startswith("error: 4 of 10 images are truncated or not images")
    for line, name, reason in zip(
        told[-4:], ("01", "02", "03", "04"), ("empty", "a web page", "truncated", "cannot be decoded")
    ):
        assert f"{name}.jpg: {reason}" in line
    assert list((tmp_path / "ds").iterdir()) == []


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9, 0.99])
def test_an_image_cut_anywhere_is_damaged(tmp_path, suffix, kept):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), image(1, 320, 240))
    assert damage(path) is None
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert damage(path) in ("truncated", "cannot be decoded", "cannot be decoded by OpenCV")


def test_links_to_nothing_and_names_that_break_lists_are_told(step, dataset, tmp_path):
    (dataset / "images/train/x.jpg").symlink_to("/no/where.jpg")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 2 and "1 images are broken links, the first" in done.stderr
    (dataset / "images/train/x.jpg").unlink()
    (dataset / "images/train/01.jpg").rename(dataset / "images/train/1\n2.jpg")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 2 and "cannot be printed; rename the file" in done.stderr


def test_what_is_left_out_is_told(step, dataset, tmp_path):
    cv2.imwrite(str(dataset / "images/train/x.bmp"), image(0))
    (dataset / "labels/train/01.txt").rename(dataset / "labels/train/01.TXT")
    (dataset / "images/train/._01.jpg").write_bytes(b"what macOS leaves")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 0, done.stderr
    assert "WARNING: 1 files are not jpg, png or webp and are left out: x.bmp" in done.stdout
    assert "WARNING: 1 label files belong to no image: 01.TXT" in done.stdout


def test_no_label_at_all_is_told_before_the_expensive_steps(step, dataset, tmp_path):
    (dataset / "labels").rename(dataset / "annotations")
    done = fetch(step, dataset, tmp_path / "ds")
    assert done.returncode == 2 and "no image in" in done.stderr and "has a label with a box" in done.stderr


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_turned_as_its_exif_says_or_refused_whatever_its_name(tmp_path, form, orientation):
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[:16, :16] = 255  # in another corner, or of another shape, however it is turned
    upright = Image.fromarray(pixels)
    exif = upright.getexif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    upright.save(tmp_path / "a.jpg", form, exif=exif, **options)
    if form == "WEBP" and orientation > 1:
        assert (
            damage(tmp_path / "a.jpg") == "WEBP with an EXIF rotation, which is not supported for WEBP; save it upright"
        )
    else:
        assert damage(tmp_path / "a.jpg") is None
        with Image.open(tmp_path / "a.jpg") as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        read = read_image(tmp_path / "a.jpg")
        assert read.shape == expected.shape and np.abs(read.astype(int) - expected).max() < 8


def test_several_folders_of_images_are_told(step, dataset, tmp_path):
    (tmp_path / "both").mkdir()
    for part in ("train", "valid"):
        (tmp_path / "both" / part).mkdir()
        (tmp_path / "both" / part / "images").symlink_to(dataset / "images")
    done = fetch(step, tmp_path / "both", tmp_path / "ds")
    assert done.returncode == 2 and "several folders 'images', in train, valid" in done.stderr


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def test_a_zip_bomb_is_refused_before_anything_is_written(tmp_path):
    bomb = zipped(tmp_path / "a.zip", {"images/a.jpg": b"\0" * 20_000_000})
    with pytest.raises(UserError, match=r"20 MB, \d+ times its size.*name its folder in dataset\.archive"):
        unpack(bomb, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_compresses_well_is_no_bomb(tmp_path):
    plain = cv2.imencode(".png", np.full((480, 640, 3), 114, np.uint8))[1].tobytes()
    files = {f"images/{n}.png": plain for n in range(20)} | {f"labels/{n}.txt": LINE * 50 for n in range(20)}
    unpack(zipped(tmp_path / "a.zip", files), tmp_path / "out")
    assert len(list((tmp_path / "out/images").iterdir())) == 20


def test_what_is_no_image_and_no_label_stays_in_the_zip(tmp_path):
    files = {"ds/images/a.jpg": b"a", "ds/labels/a.txt": LINE, "ds/video.mp4": b"\0" * 20_000_000, "ds/evil.sh": b"rm"}
    unpack(zipped(tmp_path / "a.zip", files), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/ds").rglob("*.*")) == ["a.jpg", "a.txt"]


def test_a_zip_larger_than_the_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    archive = zipped(tmp_path / "a.zip", {"images/a.jpg": np.random.default_rng(0).bytes(5000)})
    with pytest.raises(UserError, match="has 0 MB left; free some space, or set TMPDIR"):
        unpack(archive, tmp_path / "out")


@pytest.fixture(scope="module")
def on_a_full_disk():
    """Run a step that may write `size` bytes to any file and no more, as on a disk that is full."""

    def run(size, name, *arguments):
        command = [sys.executable, ROOT / "scripts" / f"{name}.py", *map(str, arguments)]
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
        # Python would leave half a .pyc, and fail at it from then on.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, preexec_fn=limit
        )

    return run


@pytest.fixture(scope="module")
def steps(exported, split_onnx, heldout, pool, listed, quantized):
    """Each step with inputs that are fine; `OUT` stands for the folder it writes to."""
    dataset, names = ("--dataset", heldout), ("--names", *"abcd")
    images = ("--images", pool)
    return {
        "draw_scenes": ("--count", 2, "--seed", 0, "--output", "OUT/drawn"),
        "split_dataset": (*dataset, "--calibration", 1, "--seed", 0, "--output", "OUT/split.csv"),
        "letterbox_pool": (*dataset, "--split", "SPLIT", "--imgsz", 64, "--output", "OUT/pool"),
        "sample_calibration": ("--pool", pool, "--max-images", 4, "--seed", 0, "--output", "OUT/images.txt"),
        "simplify_onnx": ("--onnx", exported[0], *images, "--output", "OUT/simplified.onnx"),
        "graph_surgery": ("--onnx", exported[0], "--head", "split", *images, "--output", "OUT/split.onnx",
                          "--proof", "OUT/split.json"),
        "detect": ("--onnx", split_onnx, *dataset, *names, "--detections", "OUT/found.npz"),
        "evaluate": ("--detections", quantized / "detections.npz", *dataset, *names, "--resamples", 10, "--seed", 0,
                     "--metrics", "OUT/metrics.json", "--resampled", "OUT/metrics.npz"),
        "judge": ("--build", quantized / "build.json", "--cma-mb", 66, "--clock-mhz", 420,
                  "--measured", ROOT / "config/measured.csv",
                  "--verdict", "OUT/verdict.json"),
    }  # fmt: skip


@pytest.mark.toolkit
@pytest.mark.parametrize(
    "name",
    ["draw_scenes", "split_dataset", "letterbox_pool", "sample_calibration", "simplify_onnx", "graph_surgery", "detect",
     "evaluate", "judge"],
)  # fmt: skip
def test_a_full_disk_is_one_sentence_and_leaves_nothing(name, steps, on_a_full_disk, heldout, tmp_path):
    (tmp_path / "split.csv").write_text("image,part\n" + "".join(f"{n}.png,calibration\n" for n in "abc"))
    places = {"OUT": str(tmp_path / "out"), "SPLIT": str(tmp_path / "split.csv")}
    arguments = [str(each) for each in steps[name]]
    for word, place in places.items():
        arguments = [each.replace(word, place) for each in arguments]
    # Steps with worker processes need some bytes for their semaphores.
    done = on_a_full_disk(500 if name in ("draw_scenes", "detect") else 10, name, *arguments)
    assert done.returncode == 2, done.stderr
    told = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(told) == 1 and "free some space and run it again" in told[0]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_full_disk_while_a_data_set_comes(on_a_full_disk, dataset, tmp_path):
    done = on_a_full_disk(10, "fetch_dataset", "--archive", dataset, "--names", *"abcd", "--output", tmp_path / "ds")
    assert done.returncode == 2 and "free some space and run it again" in done.stderr and "Traceback" not in done.stderr
    assert list((tmp_path / "ds").iterdir()) == []
    (tmp_path / "w.pt").write_bytes(b"w" * 100)
    done = on_a_full_disk(10, "download_weights", "--weights", tmp_path / "w.pt", "--sha256", "0" * 64, "--output",
                          tmp_path / "weights")  # fmt: skip
    assert done.returncode == 2 and "free some space and run it again" in done.stderr
    assert not (tmp_path / "weights").exists()


@pytest.mark.toolkit
def test_a_full_disk_while_the_toolkit_builds(on_a_full_disk, quantize, split_onnx, listed, heldout, tmp_path):
    done = on_a_full_disk(200_000, "quantize", "--onnx", split_onnx, "--calibration", listed, "--platform", "rv1106",
                          "--algorithm", "normal", "--dataset", heldout, "--names", *"abcd", "--output",
                          tmp_path / "o/m.rknn", "--build", tmp_path / "o/b.json", "--detections", tmp_path / "o/d.npz",
                          "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
    assert list((tmp_path / "o").rglob("*")) == []
