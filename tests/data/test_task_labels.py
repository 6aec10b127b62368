"""Data sets of tasks other than boxes: what their labels say is kept, whatever form it comes in, or one sentence."""

import json

import cv2
import numpy as np
import pytest
from conftest import image

from lib.data.checked_labels import CheckedLabel, Labelling
from lib.data.dataset import gather
from lib.data.formats.keypoint_rows import shape_of, with_three_values
from lib.data.formats.lines import corner_line, keypoint_line, outline_line
from lib.data.formats.outlines import joined, parts_of
from lib.data.formats.source import CROWD, Annotation, Box, Boxes, Item, Source, box_line
from lib.data.keypoints import KeypointShape
from lib.step.errors import UserError

FRAME = (100, 50)
WHERE = "a.json: annotation 7"
TRIANGLE = [10, 5, 50, 5, 50, 45]
SQUARE = [20, 10, 40, 10, 40, 20, 20, 20]


def box(keypoints=None, segmentation=None, area=None, count=0, mark="", corners=(10, 5, 50, 45)):
    return Box(1, corners, mark, Annotation(WHERE, keypoints, segmentation, area, count))


def test_keypoints_of_coco_are_fractions_with_the_area_behind_them():
    line = keypoint_line(box([10, 5, 2, "50", 25.0, 1, 0, 0, 0], area=1600.0, count=3), FRAME)
    assert line.numbers == (0.3, 0.5, 0.4, 0.8, 0.1, 0.1, 2, 0.5, 0.5, 1, 0, 0, 0, 0.32)
    assert (line.cut, line.outside) == (False, 0)
    # What has none where others have some, and what lies outside, is not labelled.
    assert keypoint_line(box(count=2), FRAME).numbers[4:] == (*(0,) * 6, 0.53 * 0.4 * 0.8)
    line = keypoint_line(box([101, 5, 2, 50, 50, 2], count=2, area="?"), FRAME)
    assert (line.numbers[4:], line.outside) == ((0, 0, 0, 0.5, 1, 2, 0.53 * 0.4 * 0.8), 1)
    assert keypoint_line(box([1, 1, 2], count=1, corners=(5, 5, 5, 9)), FRAME) is None


def test_an_outline_is_one_polygon_inside_the_image():
    assert outline_line(box(segmentation=[TRIANGLE]), FRAME).numbers == (0.1, 0.1, 0.5, 0.1, 0.5, 0.9)
    line = outline_line(box(segmentation=[[-10, 0, 120, 0, 50, 60]]), FRAME)
    assert (line.numbers, line.cut) == ((0, 0, 1, 0, 0.5, 1), True)
    line = outline_line(box(), FRAME)
    assert (line.numbers, line.boxed) == ((0.1, 0.1, 0.5, 0.1, 0.5, 0.9, 0.1, 0.9), True)
    assert outline_line(box(segmentation=[[1, 2, 3, 4]]), FRAME).boxed
    assert outline_line(box(segmentation=[[200, 2, 300, 4, 200, 20]]), FRAME) is None


def test_parts_are_joined_as_ultralytics_joins_them():
    merge_multi_segment = pytest.importorskip("ultralytics.data.converter").merge_multi_segment
    rng = np.random.default_rng(0)
    for _ in range(100):
        parts = [rng.uniform(0, 99, 2 * rng.integers(3, 9)).tolist() for _ in range(rng.integers(2, 6))]
        expected = np.concatenate(merge_multi_segment(parts))
        assert np.array_equal(joined(parts_of(parts, FRAME, WHERE)), expected)


def test_run_lengths_become_the_outlines_of_their_parts():
    mask = pytest.importorskip("faster_coco_eval.core.mask")
    pixels = np.zeros((50, 100), np.uint8)
    pixels[5:20, 10:30] = pixels[10:40, 50:51] = 1
    encoded = mask.encode(np.asfortranarray(pixels))
    text = {"size": [50, 100], "counts": bytes(encoded["counts"]).decode()}
    counts = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], pixels.T.ravel(), [2]])))).tolist()
    for segmentation in (text, {"size": [50, 100], "counts": counts}):
        parts = parts_of(segmentation, FRAME, WHERE)
        assert sorted(len(part) for part in parts) == [4, 4]
        polygons = [joined(parts).ravel().tolist()]
        assert np.array_equal(mask.decode(mask.merge(mask.frPyObjects(polygons, 50, 100))), pixels)


@pytest.mark.parametrize("last", [[], SQUARE[:2]])
def test_four_corners_are_an_oriented_box(last):
    assert corner_line(box(segmentation=[SQUARE + last]), FRAME).numbers == (0.2, 0.2, 0.4, 0.2, 0.4, 0.4, 0.2, 0.4)
    assert corner_line(box(mark=CROWD), FRAME).numbers == (0.1, 0.1, 0.5, 0.1, 0.5, 0.9, 0.1, 0.9)


@pytest.mark.parametrize(
    ("line_of", "annotation", "sentence"),
    [
        (keypoint_line, {}, "has no keypoints, nor does any other; the task pose needs them"),
        (
            keypoint_line,
            {"keypoints": [1, 2], "count": 1},
            "its keypoints are not a list of numbers, x, y and 0, 1 or 2",
        ),
        (
            keypoint_line,
            {"keypoints": [1, 2, 3], "count": 1},
            "its keypoints are not a list of numbers, x, y and 0, 1 or 2",
        ),
        (
            keypoint_line,
            {"keypoints": [1, "x", 2], "count": 1},
            "its keypoints are not a list of numbers, x, y and 0, 1 or 2",
        ),
        (
            keypoint_line,
            {"keypoints": {"a": 1}, "count": 1},
            "its keypoints are not a list of numbers, x, y and 0, 1 or 2",
        ),
        (keypoint_line, {"keypoints": 5, "count": 1}, "its keypoints are not a list of numbers, x, y and 0, 1 or 2"),
        (
            keypoint_line,
            {"keypoints": [1, 2, 2], "count": 4},
            "has 1 keypoints, others have 4; all need the same number",
        ),
        (outline_line, {"segmentation": "x"}, "its segmentation is neither polygons nor a mask"),
        (outline_line, {"segmentation": [[1, 2, 3]]}, "a polygon that is not a list of numbers x1, y1, x2, y2 …"),
        (
            outline_line,
            {"segmentation": [[1, 2, 3, 4, None, 6]]},
            "a polygon that is not a list of numbers x1, y1, x2, y2 …",
        ),
        (
            outline_line,
            {"segmentation": [[1, 2, 3, 4, float("nan"), 6]]},
            "a polygon that is not a list of numbers x1, y1, x2, y2 …",
        ),
        (
            outline_line,
            {"segmentation": [1, 2, 3, 4, 5, "x"]},
            "a polygon that is not a list of numbers x1, y1, x2, y2 …",
        ),
        (outline_line, {"segmentation": {"counts": [1]}}, "its segmentation is not a mask with size and counts"),
        (outline_line, {"segmentation": {"size": [50, 100], "counts": "a b"}}, "is not a mask with size and counts"),
        (outline_line, {"segmentation": {"size": [50, 100], "counts": "oo"}}, "is not a mask with size and counts"),
        (outline_line, {"segmentation": {"size": [5, 100], "counts": [500]}}, "its mask is 100x5 pixels"),
        (outline_line, {"segmentation": {"size": [50, 100], "counts": [9, 9]}}, "do not add up to 100x50 pixels"),
        (outline_line, {"segmentation": {"size": [50, 100], "counts": [-1, 5001]}}, "not add up to 100x50 pixels"),
        (corner_line, {"segmentation": [TRIANGLE]}, "its segmentation has 3 corners; an oriented box has four"),
        (corner_line, {"segmentation": [SQUARE, SQUARE]}, "its segmentation has 4 and 4 corners; an oriented box"),
        (corner_line, {}, "its segmentation has no corners; an oriented box has four"),
    ],
)
def test_an_annotation_that_lacks_what_the_task_needs_is_one_sentence(line_of, annotation, sentence):
    with pytest.raises(UserError) as error:
        line_of(box(**annotation), FRAME)
    assert str(error.value).startswith(WHERE) and sentence in str(error.value)


def test_a_format_of_boxes_alone_is_told():
    for line_of in (keypoint_line, outline_line, corner_line):
        with pytest.raises(UserError, match="the data set has an object with only a box that is not rotated"):
            line_of(Box(0, (1, 1, 9, 9)), FRAME)
    assert box_line(Box(0, (0, 0, 50, 25)), FRAME).numbers == (0.25, 0.25, 0.5, 0.5)


@pytest.fixture
def labels(tmp_path):
    """A function: label files with so many lines each, as items of a data set."""

    def write(*texts, kpt_shape=None):
        items = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.txt"
            path.write_text(text)
            cv2.imwrite(str(tmp_path / f"{number}.png"), image(number))
            items.append(Item(tmp_path / f"{number}.png", path))
        return Source(tmp_path, tuple(items), ("a",), kpt_shape=kpt_shape)

    return write


TWO = "0 .5 .5 .4 .4 .4 .5 .6 .5\n"  # two keypoints of two values
THREE = "0 .5 .5 .4 .4 .4 .5 2 .6 .5 1\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((TWO, TWO * 2), (2, 2)),
        ((THREE, "", "\n"), (2, 3)),
        # Three of two values or two of three: the third values are visibilities, or they are not.
        (("0 .5 .5 .4 .4 .4 .5 2 .6 .5 0\n", THREE), (2, 3)),
        (("0 .5 .5 .4 .4 .4 .5 .4 .6 .5 .6\n",), (3, 2)),
        (("0 .5 .5 .4 .4 .4 .5 crowd\n",), (1, 2)),
        (("0 .5 .5 .4 .4 .4 .5 2 0.1 difficult\n",), (1, 3)),
        (("", ""), None),
        (("0 .5 .5 .4 .4\n",), None),  # what the task's own check tells
        (("0 .5 .5 .4 .4 x .5\n",), None),
    ],
)
def test_the_shape_of_labels_is_found_where_they_leave_no_choice(labels, texts, expected):
    paths = [item.label for item in labels(*texts).items]
    assert shape_of(paths) == (expected and KeypointShape(*expected))


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ((TWO, TWO + THREE), "1.txt, line 2 has 11 numbers, label .*0.txt, line 1 has 9; for the task pose all lines"),
        (("0 .1 .1 .9 .1 .9 .9 .1 .9\n",), "0.txt, line 1 is not a box with keypoints"),
        (("0 .5 .5 .2 .2 0 0 0 0 0 0\n",), "line 1 may have 2 keypoints of 3 or 3 keypoints of 2 values; set dataset"),
        (("0 .5 .5 .2 .2 .9 .9 .9 .9 .1 .1\n",), "0.txt, line 1 is not a box with keypoints"),
        (("0 .5 .5 .2 .2 .9\n",), "0.txt, line 1 is not a box with keypoints"),
    ],
)
def test_labels_that_leave_it_open_are_one_sentence(labels, texts, sentence):
    with pytest.raises(UserError, match=sentence):
        with_three_values(labels(*texts), None)


def test_the_shape_of_a_data_yaml_or_of_the_config_counts(labels):
    words_of = with_three_values(labels(TWO, kpt_shape=[2, 2]), None)
    for line, expected in {
        TWO: "0 .5 .5 .4 .4 .4 .5 2 .6 .5 2",
        "0 .5 .5 .4 .4 0 0.0 -1 .5 crowd": "0 .5 .5 .4 .4 0 0.0 0 -1 .5 0 crowd",
        "0 .5 .5 .4 .4": "0 .5 .5 .4 .4",
    }.items():
        assert " ".join(words_of(line.split())) == expected
    words_of = with_three_values(labels(THREE), [2, 3])
    assert words_of(THREE.split()) == THREE.split()
    assert words_of([*THREE.split(), "0.1"]) == [*THREE.split(), "0.1"]
    with pytest.raises(UserError, match=r"has 9 numbers; 11 are 'class cx cy w h' and 2 keypoints of 3 values each"):
        words_of(TWO.split())
    with pytest.raises(UserError, match=r"dataset.kpt_shape is \[2, 3\], .* says \[2, 2\]; leave the key out"):
        with_three_values(labels(TWO, kpt_shape=[2, 2]), [2, 3])
    for given, own in (([2], None), (None, [2, 4]), (None, "x")):
        with pytest.raises(UserError, match=r"kpt_shape.* is .*, not the number of keypoints"):
            with_three_values(labels(TWO, kpt_shape=own), given)


def test_rewritten_labels_are_checked_and_named_as_they_were(labels, tmp_path):
    source = labels(TWO, "\n" + TWO * 2, kpt_shape=[2, 2])
    checked = []

    def check(path):
        checked.append(path.read_text())
        return CheckedLabel(len(checked[-1].splitlines()), 0, None, points=2)

    labelling = Labelling(check, words_of=with_three_values(source, None))
    gathered = gather(source, tmp_path / "images", tmp_path / "labels", labelling)
    assert (gathered.objects, gathered.keypoints) == (3, 4)
    assert (tmp_path / "labels/0.txt").read_text() == checked[0] == "0 .5 .5 .4 .4 .4 .5 2 .6 .5 2\n"
    (tmp_path / "1.txt").write_text(TWO + THREE)
    with pytest.raises(UserError, match=r"label .*1\.txt, line 2 \('0 .5 .5 .4 .4 .4 .5 2 .6 .5 1'\) has 11 numbers"):
        gather(source, tmp_path / "i", tmp_path / "l", labelling)


def test_a_set_without_any_outline_is_told(labels, tmp_path):
    drawn = Boxes((Box(0, (1, 1, 9, 9), annotation=Annotation("x")),))
    source = Source(tmp_path, (Item(labels("").items[0].image, drawn),), ("a",))
    labelling = Labelling(lambda path: CheckedLabel(1, 0, None), outline_line)
    with pytest.raises(UserError, match=r"no object in .* has an outline"):
        gather(source, tmp_path / "images", tmp_path / "labels", labelling)


def test_an_error_in_what_was_made_of_annotations_names_the_image(labels, tmp_path):
    def check(path):
        raise UserError(f"label {path}, line 1 is odd")

    source = Source(tmp_path, (Item(labels("").items[0].image, Boxes((Box(0, (1, 1, 9, 9)),))),), ("a",))
    with pytest.raises(UserError) as error:
        gather(source, tmp_path / "images", tmp_path / "labels", Labelling(check))
    assert str(error.value) == f"{tmp_path}, image 0.png, line 1 is odd"


def test_the_file_with_keypoints_is_taken_where_they_are_wanted(tmp_path):
    from lib.data.formats import coco
    from lib.data.formats.source import Hints

    plain = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    named = plain | {"annotations": [{"keypoints": [1, 2, 2]}], "categories": [{"name": "a", "keypoints": ["x"]}]}
    for name, data in (("instances_val", plain), ("person_keypoints_val", named), ("other", plain)):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    assert coco.find(tmp_path, Hints()).name == "instances_val.json"
    assert coco.find(tmp_path, Hints(keypoints=True)).name == "person_keypoints_val.json"
