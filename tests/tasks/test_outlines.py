"""The lines that say where an object is are those of its task: box, turned box, edges of the mask, keypoints."""

import numpy as np

from lib import tasks
from lib.detector.instances import Instances
from lib.results.detection_errors import Evaluated, detection_errors
from lib.results.sweep import Variant
from lib.tasks.obb.rectangles import corners
from lib.tasks.pose.keypoints import KEYPOINTS
from lib.tasks.segment.masks import MASK, as_rows, empty, encoded

SIZE = (40, 30)
BOXES = np.array([[2, 3, 12, 9], [20, 10, 30, 28]], float)


def outlines(task: str, **extras) -> list[list[list[list[float]]]]:
    """Of two instances, as plain lists."""
    instances = Instances(BOXES, np.ones(2), np.zeros(2, int), extras)
    return [[line.tolist() for line in lines] for lines in tasks.get(task).outlines(instances, SIZE)]


def test_boxes_are_closed_lines():
    assert outlines("detect")[0] == [[[2, 3], [12, 3], [12, 9], [2, 9], [2, 3]]]


def test_turned_boxes_go_by_their_corners():
    rotated = np.array([[7, 6, 10, 6, 0.3], [25, 19, 10, 18, -0.4]])
    for lines, expected in zip(outlines("obb", rotated=rotated), corners(rotated)):
        assert lines == [[*expected.tolist(), expected[0].tolist()]]


def test_masks_go_by_the_outer_edge_of_each_piece_and_by_the_box_where_they_have_no_pixel():
    # Columns x rows: a frame of 8 x 6 pixels at (2, 3) with a hole in it, and a single pixel beyond a gap.
    pixels = np.zeros((11, 6), bool)
    pixels[:8] = True
    pixels[3:5, 2:4] = False
    pixels[10, 0] = True
    masks = as_rows([encoded(pixels, (2, 3), SIZE), empty(SIZE)])
    pieces, box = outlines("segment", **{MASK: masks})
    assert sorted(map(len, pieces)) == [2, 5]
    frame = max(pieces, key=len)
    assert frame[0] == frame[-1]
    assert {tuple(point) for point in frame} == {(2.5, 3.5), (9.5, 3.5), (9.5, 8.5), (2.5, 8.5)}
    assert box == outlines("detect")[1]


def test_keypoints_are_dots_where_they_are_visible_and_a_person_has_limbs():
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, [5, 7, 9]] = [[1, 1, 1], [2, 5, 2], [3, 9, 0.1]]
    person, nobody = outlines("pose", **{KEYPOINTS: keypoints})
    box, limb, *dots = person
    assert len(box) == 5 and limb == [[1, 1], [2, 5]] and dots == [[[1, 1]], [[2, 5]]]
    assert len(nobody) == 1


def test_the_report_gets_keypoints_apart_from_lines_to_draw_them_larger():
    keypoints = np.zeros((2, 4, 3))
    keypoints[0, :2] = [[1, 1, 1], [2.5, 5, 2]]
    labels = Instances(BOXES, np.ones(2), np.zeros(2, int), {KEYPOINTS: keypoints})
    nothing = labels[:0]
    image = Evaluated("a.jpg", SIZE, labels, nothing, nothing)
    variant = Variant("model", "320", "split", "normal", 8)
    [drawn] = detection_errors(variant, 0.3, ["gear"], [image], tasks.get("pose")).drawn
    assert drawn.int8.dots == {"missed": "M1 1h0M2.5 5h0"} and drawn.int8.lines["missed"].count("M") == 2
    boxes = Evaluated("a.jpg", SIZE, Instances(BOXES, np.ones(2), np.zeros(2, int)), nothing, nothing)
    assert "dots" not in detection_errors(variant, 0.3, ["gear"], [boxes], tasks.get("detect")).drawn[0].int8.to_json()
