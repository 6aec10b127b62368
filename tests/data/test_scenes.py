"""The example's images: the same from the same seed, and labelled with what one can see in them."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT

from draw_scenes import draw_dataset, main
from lib.data import scenes
from lib.data.scenes import objects
from lib.step.errors import UserError

SCRIPT = ROOT / "scripts" / "draw_scenes.py"
WIDTH, HEIGHT = 320, 240  # a quarter of the example's pixels: the code is the same, the test is quicker


@pytest.fixture(scope="module")
def drawn():
    """Thirty scenes of one series."""
    return [scenes.draw_scene(11, index, WIDTH, HEIGHT) for index in range(30)]


def read_tree(folder):
    """Every file under `folder`: its relative path to its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_drawing_does_not_hang_where_opencv_already_has_threads(tmp_path):
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (3000, 3000))
    draw_dataset(tmp_path / "one", 1, 5, width=WIDTH, height=HEIGHT, processes=2)
    assert (tmp_path / "one" / "images" / "000000.jpg").exists()


def test_same_seed_same_bytes_however_many_images_and_jobs(tmp_path):
    draw_dataset(tmp_path / "two", 2, 5, width=WIDTH, height=HEIGHT, processes=1)
    draw_dataset(tmp_path / "four", 4, 5, width=WIDTH, height=HEIGHT, processes=2)
    two, four = read_tree(tmp_path / "two"), read_tree(tmp_path / "four")
    assert sorted(two) == ["images/000000.jpg", "images/000001.jpg", "labels/000000.txt", "labels/000001.txt"]
    assert two.items() < four.items()
    assert not list(tmp_path.glob(".*")), "a temporary folder was left behind"


def test_other_seed_and_other_index_give_other_images(drawn):
    assert not np.array_equal(drawn[0].image, scenes.draw_scene(12, 0, WIDTH, HEIGHT).image)
    assert not np.array_equal(drawn[0].image, drawn[1].image)


def test_images_are_what_they_promise(drawn):
    for scene in drawn:
        assert scene.image.shape == (HEIGHT, WIDTH, 3) and scene.image.dtype == np.uint8
        assert scene.owner.shape == (HEIGHT, WIDTH)
        assert scene.image.std() > 5, "the image is flat"
        assert len(scene.classes) == len(scene.boxes) <= objects.MAX_OBJECTS


def test_labels_are_valid(drawn):
    for scene in drawn:
        for line in scene.label_lines():
            kind, *box = line.split()
            assert 0 <= int(kind) < len(scenes.CLASSES)
            x, y, w, h = (float(value) for value in box)
            assert 0 < w <= 1 and 0 < h <= 1
            assert min(x - w / 2, y - h / 2) >= -1e-6
            assert max(x + w / 2, y + h / 2) <= 1 + 1e-6


def test_boxes_are_those_of_the_visible_masks(drawn):
    for scene in drawn:
        assert set(np.unique(scene.owner)) <= set(range(len(scene.classes) + 1))
        for number, (x1, y1, x2, y2) in enumerate(scene.boxes, start=1):
            rows, columns = np.nonzero(scene.owner == number)
            assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert max(x2 - x1, y2 - y1) >= objects.MIN_VISIBLE_SIDE


def test_objects_are_visible_in_the_image():
    """The image shows what the masks say: a part differs from the bench that it lies on."""
    scene = next(scene for index in range(30) if len((scene := scenes.draw_scene(4, index)).classes) > 3)
    inside = scene.image[scene.owner > 0].astype(float)
    outside = scene.image[scene.owner == 0].astype(float)
    assert np.abs(inside.mean(axis=0) - outside.mean(axis=0)).max() > 5


def test_every_class_and_an_empty_image_appear(drawn):
    assert {kind for scene in drawn for kind in scene.classes} == set(range(len(scenes.CLASSES)))
    assert any(not scene.classes for scene in drawn)


@pytest.mark.parametrize("size", [(64, 64), (1300, 1000)])
def test_other_sizes(size):
    for index in range(3):
        assert scenes.draw_scene(6, index, *size).image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("arguments", [(-1, 0), (0, -1), (0, 0, 32, 240), (0, 0, 320, 63)])
def test_draw_scene_refuses_what_it_cannot_draw(arguments):
    with pytest.raises(ValueError):
        scenes.draw_scene(*arguments)


def test_draw_dataset_replaces_a_data_set_and_nothing_else(tmp_path):
    output = tmp_path / "set"
    draw_dataset(output, 2, 5, width=WIDTH, height=HEIGHT, processes=1)
    draw_dataset(output, 1, 5, width=WIDTH, height=HEIGHT, processes=1)
    assert len(read_tree(output)) == 2
    (output / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="no drawn data set"):
        draw_dataset(output, 1, 5, width=WIDTH, height=HEIGHT, processes=1)
    assert (output / "thesis.txt").exists()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--count", "-1", "--seed", "1"], "-1 is below 0"),
        (["--count", "two", "--seed", "1"], "two"),
        (["--count", "1", "--seed", "-1"], "-1 is below 0"),
        (["--count", "1", "--seed", "1", "--width", "8"], "8 is below 64"),
        (["--count", "1"], "--seed"),
    ],
)
def test_bad_arguments_end_in_one_sentence(tmp_path, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as refusal:
        main(["--output", str(tmp_path / "out"), *arguments])
    assert refusal.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert sentence in said[0]
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_one_sentence_and_exit_code_2(tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ["--output", tmp_path / "file" / "out", "--count", "1", "--seed", "1"]
    result = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("error: cannot write")
    assert result.stderr.count("\n") == 1
