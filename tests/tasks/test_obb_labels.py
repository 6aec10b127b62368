"""Labels of rotated boxes: read as Ultralytics reads them, or one sentence with file and line."""

from contextlib import nullcontext

import cv2
import numpy as np
import pytest

from lib import tasks
from lib.data.checked_labels import CheckedLabel
from lib.detector.instances import IGNORED, IGNORED_CROWD
from lib.step.errors import UserError
from lib.tasks.obb.labels import check_label, read_label

LINE = "1 0.2 0.3 0.6 0.3 0.6 0.5 0.2 0.5\n"
TILTED = "0 0.5 0.2 0.8 0.5 0.5 0.8 0.2 0.5\n"


def test_corners_become_a_rotated_box_in_pixels(tmp_path):
    (tmp_path / "a.txt").write_text(LINE + TILTED)
    instances = read_label(tmp_path / "a.txt", (100, 100), 2)
    np.testing.assert_allclose(instances.boxes, [[20, 30, 60, 50], [20, 20, 80, 80]], atol=1e-4)
    np.testing.assert_allclose(instances.extras["rotated"][0], [40, 40, 40, 20, 0], atol=1e-4)
    np.testing.assert_allclose(instances.extras["rotated"][1, :4], [50, 50, *[60 / np.sqrt(2)] * 2], atol=1e-4)
    assert instances.classes.tolist() == [1, 0] and instances.scores.tolist() == [1, 1]
    assert set(instances.extras) == {"rotated"}


def test_corners_of_no_rectangle_are_the_one_of_least_area_around_them(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.2 0.3 0.6 0.31 0.6 0.5 0.2 0.5\n")
    rotated = read_label(tmp_path / "a.txt", (100, 100), 1).extras["rotated"]
    np.testing.assert_allclose(rotated, [[40, 40, 40, 20, 0]], atol=1e-4)


def test_labels_are_the_rotated_boxes_that_ultralytics_validates_with(tmp_path):
    """Of an image that is not scaled on its way through Ultralytics' data set."""
    dataset = pytest.importorskip("ultralytics.data.dataset")
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((320, 320, 3), np.uint8))
    corners = np.random.default_rng(0).uniform(0.2, 0.8, (6, 8)).round(4)
    corners[-1] = -0.1, 0.5, 0.2, 0.2, 0.4, 0.4, 0.1, 0.7
    lines = "".join(f"{n % 2} {' '.join(map(str, four))}\n" for n, four in enumerate(corners))
    (tmp_path / "labels" / "a.txt").write_text(lines)
    data = {"names": {0: "a", 1: "b"}, "nc": 2, "channels": 3}
    theirs = dataset.YOLODataset(str(tmp_path / "images"), data=data, task="obb", imgsz=320, augment=False, rect=False)[
        0
    ]
    ours = read_label(tmp_path / "labels" / "a.txt", (320, 320), 2)
    np.testing.assert_allclose(
        ours.extras["rotated"], theirs["bboxes"].numpy() * [320, 320, 320, 320, 1], atol=2e-3, rtol=1e-4
    )
    assert ours.classes.tolist() == theirs["cls"].flatten().tolist()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINE + TILTED, CheckedLabel(2, 0, None)),
        ("\n", CheckedLabel(0, 0, "")),
        (LINE * 2, CheckedLabel(1, 0, LINE, 1)),
        # The same numbers, spelled in another way.
        (LINE + "1 .2 0.30 6e-1 0.3 0.6 0.5 0.2 0.5\n", CheckedLabel(1, 0, LINE, 1)),
        # The same rectangle from another corner on is another line; Ultralytics keeps both.
        (LINE + "1 0.6 0.3 0.6 0.5 0.2 0.5 0.2 0.3\n", CheckedLabel(2, 0, None)),
        (LINE + TILTED.rstrip() + " crowd\n", CheckedLabel(1, 0, None, ignored=1)),
        (
            LINE * 2 + TILTED.rstrip() + " difficult\n",
            CheckedLabel(1, 0, LINE + TILTED.rstrip() + " difficult\n", 1, ignored=1),
        ),
    ],
)
def test_a_label_is_kept_as_it_is_where_it_is_plain(tmp_path, content, expected):
    (tmp_path / "a.txt").write_text(content)
    assert check_label(tmp_path / "a.txt", 2) == expected


def test_a_crowd_is_no_object_to_find(tmp_path):
    (tmp_path / "a.txt").write_text(LINE + TILTED.rstrip() + " crowd\n")
    assert read_label(tmp_path / "a.txt", (100, 100), 2).extras[IGNORED].tolist() == [0, IGNORED_CROWD]
    (tmp_path / "b.txt").touch()
    nothing = read_label(tmp_path / "b.txt", (100, 100), 2)
    assert len(nothing) == 0 and nothing.extras["rotated"].shape == (0, 5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.1 0.1", "a box without an angle, for the task detect"),
        ("0 0.5 0.5 0.1 0.1 0.5 0.5 2", "has 8 numbers; a rotated box has nine"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5", "has 7 numbers; a rotated box has nine"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.3 0.6 0.1 0.5", "has 11 numbers; a rotated box has nine"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.3 nan", "not nine numbers"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.3 0_5", "not nine numbers"),
        ("a 0.1 0.1 0.5 0.1 0.5 0.5 0.3 0.5", "not nine numbers"),
        ("4 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "class 4 is not in 0..3"),
        ("-1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "class -1"),
        ("0.5 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "class 0.5"),
        ("0 10 10 50 10 50 50 10 50", "the box's centre is outside the image"),
        ("0 -0.3 0.1 0.2 0.1 0.2 0.5 -0.3 0.5", "the box's centre is outside the image"),
        ("0 -0.1 0.1 1 0.1 1 0.5 -0.1 0.5", "the box is larger than the image"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4 0.4", "the box is empty"),
        ("0 0.1 0.1 0.1 0.1 0.1 0.1 0.1 0.1", "the box is empty"),
    ],
)
def test_a_broken_label_names_file_and_line(tmp_path, line, reason):
    (tmp_path / "a.txt").write_text(f"{LINE}{line}\n")
    with pytest.raises(UserError, match=reason) as error:
        check_label(tmp_path / "a.txt", 4)
    assert "a.txt, line 2" in str(error.value)


def test_a_label_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="label"):
        tasks.get("obb").read_label(tmp_path / "a.txt", (100, 100), 2)


def test_corners_of_a_box_that_an_edge_of_the_image_cuts_stay_outside(tmp_path):
    line = "0 -0.1 0.5 0.2 0.2 0.4 0.4 0.1 0.7\n"
    (tmp_path / "a.txt").write_text(line)
    assert check_label(tmp_path / "a.txt", 1) == CheckedLabel(1, 0, None)
    instances = read_label(tmp_path / "a.txt", (100, 100), 1)
    assert instances.boxes[0, 0] == 0
    np.testing.assert_allclose(
        instances.extras["rotated"][0, :4], [15, 45, 30 * np.sqrt(2), 20 * np.sqrt(2)], rtol=1e-4
    )


@pytest.mark.parametrize(
    "line",
    [
        "0 0.9 0.3 1.3 0.3 1.1 0.5 0.7 0.5",  # DOTA8 has corners up to 1.0147
        "0 0.9 0.3 1.4 0.3 1.4 0.5 0.9 0.5",
        "0 -0.1 0.1 1 0.1 1 0.5 -0.1 0.5",
    ],
)
def test_a_box_at_the_edge_is_refused_where_ultralytics_refuses_it(tmp_path, line):
    verify_image_label = pytest.importorskip("ultralytics.data.utils").verify_image_label
    (tmp_path / "a.txt").write_text(line)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((64, 64, 3), np.uint8))
    theirs = verify_image_label((str(tmp_path / "a.jpg"), str(tmp_path / "a.txt"), "", False, 1, 0, 0, False))[1]
    with nullcontext() if theirs is not None else pytest.raises(UserError):
        check_label(tmp_path / "a.txt", 1)
