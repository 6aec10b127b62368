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
from lib.data.scenes.canvas import Canvas
from lib.data.scenes.shapes import bolt as bolt_shape
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
    with pytest.raises(UserError, match="not a drawn data set"):
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


def numbers_of(scene, task):
    """The label lines of a scene: for each object its class, and its numbers in pixels of the image as [n, 2]."""
    for line in scene.label_lines(task):
        kind, *numbers = line.split()
        yield int(kind), np.array(numbers, float).reshape(-1, 2) * (WIDTH, HEIGHT)


def test_labels_of_all_tasks_are_of_the_same_objects_in_the_same_images(tmp_path):
    for task in scenes.TASKS:
        options = ["--count", "4", "--seed", "11", "--width", str(WIDTH), "--height", str(HEIGHT), "--task", task]
        main(["--output", str(tmp_path / task), *options])
    draw_dataset(tmp_path / "default", 4, 11, width=WIDTH, height=HEIGHT)
    assert read_tree(tmp_path / "default") == read_tree(tmp_path / "detect")
    for task in scenes.TASKS:
        for image in (tmp_path / "default" / "images").iterdir():
            assert (tmp_path / task / "images" / image.name).read_bytes() == image.read_bytes()
            kinds, expected = (
                [
                    line.split()[0]
                    for line in (tmp_path / name / "labels" / f"{image.stem}.txt").read_text().splitlines()
                ]
                for name in (task, "default")
            )
            assert kinds == expected


def test_a_polygon_is_the_outline_of_what_one_sees(drawn):
    for scene in drawn:
        for number, (kind, polygon) in enumerate(numbers_of(scene, "segment")):
            assert kind == scene.classes[number]
            box = scene.boxes[number]
            assert np.abs(np.concatenate((polygon.min(axis=0), polygon.max(axis=0))) - box).max() <= 0.51
            filled = np.zeros((HEIGHT * 8, WIDTH * 8), np.uint8)
            cv2.fillPoly(filled, [(polygon * 8).round().astype(np.int32)], 1)
            filled = filled[4::8, 4::8]  # the middles of the pixels
            mask = (scene.owner == number + 1).astype(np.uint8)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(mask, contours, -1, 1, cv2.FILLED)  # a polygon has no holes
            rim = mask - cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)
            assert (filled != mask).sum() <= 0.3 * rim.sum(), "more than a corner of a pixel here and there is wrong"


def test_a_turned_box_is_tight_around_what_one_sees_at_the_angle_of_the_part(drawn):
    turned = 0
    for scene in drawn:
        for number, (kind, corners) in enumerate(numbers_of(scene, "obb")):
            assert kind == scene.classes[number]
            if scene.angles[number] == 0:
                x1, y1, x2, y2 = scene.boxes[number]
                assert np.allclose(corners, [(x1, y1), (x2, y1), (x2, y2), (x1, y2)], atol=1e-3)
                continue
            assert (corners > -1e-3).all() and (corners < np.add((WIDTH, HEIGHT), 1e-3)).all()
            if (corners <= 1e-3).any() or (corners >= np.subtract((WIDTH, HEIGHT), 1e-3)).any():
                continue  # moved to the image's edge
            turned += 1
            along, down = corners[1] - corners[0], corners[3] - corners[0]
            lengths = np.linalg.norm(along) * np.linalg.norm(down)
            assert abs(along @ down) < 1e-3 * lengths, "no rectangle"  # written with six digits
            assert np.isclose(np.tan(np.arctan2(*along[::-1]) - scene.angles[number]), 0, atol=1e-2)
            rows, columns = np.nonzero(scene.owner == number + 1)
            for axis in (along, down):
                share = ((np.stack((columns, rows), axis=1) + 0.5 - corners[0]) @ axis) / (axis @ axis)
                slack = 0.75 / np.linalg.norm(axis)  # half the diagonal of a pixel
                assert 0 <= share.min() <= slack and 1 - slack <= share.max() <= 1
    assert turned > 20


def test_keypoints_are_the_ends_of_a_bolt_and_the_bore_of_what_has_one(drawn):
    bolt = scenes.CLASSES.index("bolt")
    for scene in drawn:
        for kind, points, angle in zip(scene.classes, scene.keypoints, scene.angles, strict=True):
            names = ("head", "neck", "tip") if kind == bolt else ("bore",)
            for name, (x, y, seen) in zip(scenes.KEYPOINTS, points, strict=True):
                assert seen in ((0, 1, 2) if name in names else (0,))
                assert (0 <= x < WIDTH and 0 <= y < HEIGHT) if seen else x == y == 0
            head, neck, tip, _ = points
            if head[2] and tip[2]:
                assert np.isclose(np.cos(np.arctan2(*(tip - head)[1::-1]) - angle), 1), "the angle is from head to tip"
                if neck[2]:
                    assert 0 < (neck - head)[:2] @ (tip - head)[:2] < 0.5 * ((tip - head)[:2] ** 2).sum()
    seen = np.concatenate([scene.keypoints[:, :, 2].ravel() for scene in drawn])
    assert {0, 1, 2} == set(seen)


def test_a_keypoint_under_something_else_is_hidden():
    canvas = Canvas(np.full((HEIGHT, WIDTH, 3), 0.5, np.float32), np.random.default_rng(0))
    pose = objects._draw_shape(canvas, np.random.default_rng(1), bolt_shape, (160, 120), 100, owner=1)
    assert objects.seen_keypoints(canvas, pose)[:, 2].tolist() == [2, 2, 2, 0]
    x, y = pose.keypoints[0].astype(int)
    canvas.stamp(np.ones((7, 7), np.float32), np.zeros(3), x - 3, y - 3)
    assert objects.seen_keypoints(canvas, pose)[:, 2].tolist() == [1, 2, 2, 0]


def test_a_data_yaml_says_how_many_keypoints_there_are():
    assert scenes.describe("obb") == {"names": dict(enumerate(scenes.CLASSES))}
    assert scenes.describe("pose")["kpt_shape"] == [len(scenes.KEYPOINTS), 3]
