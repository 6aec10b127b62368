"""Labels of each task: read whole, or one sentence with file and line."""

import cv2
import numpy as np
import pytest

from lib.data.checked_labels import CheckedLabel
from lib.step.errors import UserError
from lib.tasks.detect.labels import check_label, read_label

LINE = "1 0.5 0.5 0.4 0.3\n"


def boxes_of(path):
    """Boxes x1, y1, x2, y2 in an image of 100 x 100 pixels, and their classes."""
    instances = read_label(path, (100, 100), 4)
    return instances.boxes, instances.classes.tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_label_with_a_byte_order_mark_is_read(tmp_path, encoding):
    (tmp_path / "a.txt").write_text(LINE, encoding=encoding)
    assert boxes_of(tmp_path / "a.txt") == (pytest.approx(np.array([[30, 35, 70, 65]])), [1])


@pytest.mark.parametrize("content", [LINE.encode("utf-16-le"), b"1 0.5 0.5 0.4 0.3 \xe9\n", b"\x89PNG\r\n\x1a\n\xff"])
def test_a_label_in_another_encoding_is_told(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.txt is not text in UTF-8; save it as UTF-8"):
        check_label(tmp_path / "a.txt", 4)


def test_a_polygon_is_its_bounding_box(tmp_path):
    (tmp_path / "a.txt").write_text(LINE + "2 0.1 0.2 0.5 0.2 0.3 0.8\n0 0 0 1 0 1 1 0 1\n")
    boxes, classes = boxes_of(tmp_path / "a.txt")
    assert check_label(tmp_path / "a.txt", 4).polygons == 2 and classes == [1, 2, 0]
    np.testing.assert_allclose(boxes, [[30, 35, 70, 65], [10, 20, 50, 80], [0, 0, 100, 100]], atol=1e-12)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.1 0.1 0.5 0.1 0.5", "nor a polygon"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1", "nor a polygon"),
        ("0 0.1 0.1 0.5 0.1 0.5 1.5", "leaves the image"),
        ("0 0.1 0.1 0.5 0.1 1.5 0.1", "leaves the image"),
        ("0 0.1 0.1 0.5 nan 0.9 0.1", "nor a polygon"),
        ("0 0.1 0.1 0.5 inf 0.9 0.1", "nor a polygon"),
        ("9 0.1 0.1 0.5 0.1 0.5 0.5", "class 9"),
    ],
)
def test_a_polygon_that_is_none_is_told(tmp_path, line, reason):
    (tmp_path / "a.txt").write_text(line)
    with pytest.raises(UserError, match=reason):
        check_label(tmp_path / "a.txt", 4)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.1", "not five numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "not five numbers"),
        ("0 a 0.5 0.1 0.1", "not five numbers"),
        ("0 nan 0.5 0.1 0.1", "not five numbers"),
        ("0_1 0.5 0.5 0.1 0.1", "not five numbers"),
        ("1 0.5 0.5 0.1 0.1_5", "not five numbers"),
        ("١ 0.5 0.5 0.1 0.1", "not five numbers"),
        ("0x1 0.5 0.5 0.1 0.1", "not five numbers"),
        ("1 0.5 0.5 0.1 1e999", "not five numbers"),
        ("4 0.5 0.5 0.1 0.1", "class 4 is not in 0..3"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("1.5 0.5 0.5 0.1 0.1", "class 1.5"),
        ("0 0.5 0.5 -0.1 0.1", "its size is negative"),
        ("0 1.02 0.5 0.1 0.1", "leaves the image by more than 1 %"),
        ("0 0.5 0.5 0.1 1.02", "leaves the image by more than 1 %"),
        ("0 320 240 50 40", "leaves the image by more than 1 %"),
        ("0 320 240 0 0", "leaves the image by more than 1 %"),
        ("1 0.5 0.5 0.4 0.3 0.9", "five numbers .*; leave out the sixth number, such as a confidence"),
        ("dog 0.5 0.5 0.4 0.3", "five numbers .*; write the number of the class instead of its name"),
        ("1,0.5,0.5,0.4,0.3", "five numbers .*; write spaces instead of commas"),
        ("1 0,5 0,5 0,4 0,3", "five numbers .*; write spaces instead of commas"),
    ],
)
def test_broken_label_names_file_and_line(tmp_path, line, reason):
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(UserError, match=reason) as error:
        check_label(tmp_path / "a.txt", 4)
    assert "a.txt, line 2" in str(error.value)


def test_box_that_touches_the_edge_is_fine(tmp_path):
    (tmp_path / "a.txt").write_text("3 0.95 0.5 0.1 1.0\n\n")
    assert boxes_of(tmp_path / "a.txt") == (pytest.approx(np.array([[90, 0, 100, 100]])), [3])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINE.encode(), CheckedLabel(1, 0, None)),
        (b"\n", CheckedLabel(0, 0, "")),
        (LINE.encode("utf-8-sig"), CheckedLabel(1, 0, LINE)),
        (b"2 0.25 0.25 0.75 0.25 0.5 0.75\n", CheckedLabel(1, 1, "2 0.5 0.5 0.5 0.5\n", lengths={7})),
    ],
)
def test_a_label_is_kept_as_it_is_where_it_is_plain(tmp_path, content, expected):
    (tmp_path / "a.txt").write_bytes(content)
    assert check_label(tmp_path / "a.txt", 4) == expected


@pytest.mark.parametrize("word", ["3", "3.", "3.0", "+3", "3e0", "30E-1", ".3e+1"])
def test_a_number_is_read_however_it_is_spelled(tmp_path, word):
    (tmp_path / "a.txt").write_text(f"{word} 0.5 5e-1 .5 0.25\n")
    assert boxes_of(tmp_path / "a.txt") == (pytest.approx(np.array([[25, 37.5, 75, 62.5]])), [3])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3 0.5 0.95 0.5 0.101", CheckedLabel(2, 0, None)),  # rounding
        ("3 0.5 0.96 0.5 0.1", CheckedLabel(2, 0, LINE + "3 0.5 0.955 0.5 0.09\n", cut=1)),
        ("3 0.9 0.5 0.5 0.1", CheckedLabel(2, 0, LINE + "3 0.825 0.5 0.35 0.1\n", cut=1, far=1)),
        ("3 0.5 -0.009 0.5 0.002", CheckedLabel(1, 0, LINE, empty=(3,))),
        ("3 0.5 0.5 0 0.1", CheckedLabel(1, 0, LINE, empty=(3,))),
        ("3 0.5 0.5 0.1 0 crowd", CheckedLabel(1, 0, LINE, empty=(3,))),
        ("2 0.25 0.5 1.01 0.5 0.75 0.75", CheckedLabel(2, 1, LINE + "2 0.625 0.625 0.75 0.25\n", lengths={7}, cut=1)),
        (
            "2 0.25 0.5 1.25 0.5 0.75 0.75",
            CheckedLabel(2, 1, LINE + "2 0.625 0.625 0.75 0.25\n", lengths={7}, cut=1, far=1),
        ),
        ("2 0.1 0.1 0.5 0.1 0.9 0.1", CheckedLabel(1, 0, LINE, empty=(2,))),
        ("2 0.5 0.5 0.5 0.5 0.5 0.5", CheckedLabel(1, 0, LINE, empty=(2,))),
    ],
)
def test_what_is_a_little_outside_is_cut_and_what_has_no_area_is_dropped(tmp_path, line, expected):
    (tmp_path / "a.txt").write_text(f"{LINE}{line}\n")
    label = check_label(tmp_path / "a.txt", 4)
    assert label._replace(text=None) == expected._replace(text=None)
    boxes, _ = boxes_of(tmp_path / "a.txt")
    assert len(boxes) == expected.objects
    if expected.text is not None:
        assert numbers_of(label.text) == [pytest.approx(numbers) for numbers in numbers_of(expected.text)]
        (tmp_path / "a.txt").write_text(label.text)
        np.testing.assert_allclose(boxes_of(tmp_path / "a.txt")[0], boxes, atol=1e-9)
        assert boxes.min() >= 0 and boxes.max() <= 100


def numbers_of(text):
    return [list(map(float, line.split())) for line in text.splitlines()]


TRIANGLE = "2 0.25 0.25 0.75 0.25 0.5 0.75\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINE * 2, CheckedLabel(1, 0, LINE, 1)),
        (LINE + "2" + LINE[1:] + LINE * 2, CheckedLabel(2, 0, LINE + "2" + LINE[1:], 2)),
        # The same numbers, spelled in another way, and two that are one in float32.
        (LINE + "1 .5 0.50 4e-1 0.3\n", CheckedLabel(1, 0, LINE, 1)),
        (LINE + "1 0.5 0.5 0.4000000001 0.3\n", CheckedLabel(1, 0, LINE, 1)),
        (LINE + "1 0.5 0.5 0.400001 0.3\n", CheckedLabel(2, 0, None)),
        (TRIANGLE * 2, CheckedLabel(1, 1, "2 0.5 0.5 0.5 0.5\n", 1, lengths={7})),
        # Two polygons with one box around them are two objects.
        (TRIANGLE + "2 0.25 0.25 0.75 0.25 0.75 0.75\n", CheckedLabel(2, 2, "2 0.5 0.5 0.5 0.5\n" * 2, lengths={7})),
    ],
)
def test_duplicates_are_dropped_and_counted_as_ultralytics_does(tmp_path, content, expected):
    (tmp_path / "a.txt").write_text(content)
    assert check_label(tmp_path / "a.txt", 4) == expected
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((64, 64, 3), np.uint8))
    verify_image_label = pytest.importorskip("ultralytics.data.utils").verify_image_label
    kept = verify_image_label((str(tmp_path / "a.jpg"), str(tmp_path / "a.txt"), "", False, 4, 0, 0, False))[1]
    assert len(kept) == expected.objects


def test_labels_are_instances_in_pixels(tmp_path):
    (tmp_path / "a.txt").write_text(LINE + "3 0.25 0.5 0.5 1\n")
    instances = read_label(tmp_path / "a.txt", (200, 100), 4)
    np.testing.assert_allclose(instances.boxes, [[60, 35, 140, 65], [0, 0, 100, 100]])
    assert instances.classes.tolist() == [1, 3] and instances.scores.tolist() == [1, 1] and instances.extras == {}
    (tmp_path / "b.txt").touch()
    assert len(read_label(tmp_path / "b.txt", (200, 100), 4)) == 0
