"""Rotated boxes from raw outputs: those of Ultralytics' own head, from the maps that leave it; and NMS."""

import numpy as np
import pytest

from lib import tasks
from lib.data.imgsz import ImageSize
from lib.data.letterbox import Letterbox
from lib.detector.families import OutputMap
from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.families.sides import STRIDES
from lib.detector.head import EXPORTED, SELECTED, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.step.errors import UserError
from lib.tasks.obb.decoding import predict
from lib.tasks.obb.maps import ANGLE, TURN
from lib.tasks.obb.nms import keep
from lib.tasks.obb.rectangles import corners, likeness

IMGSZ = ImageSize(96, 64)
CLASSES = 3
CHANNELS = (8, 12, 16)
instances = tasks.get("obb").instances


def spec(head, role, end2end=False):
    family = Dfl() if role == TURN else Distances()
    extras = tuple(OutputMap(role, stride, 1) for stride in STRIDES)
    return OutputSpec(IMGSZ, head, family, CLASSES, "obb", end2end, extras)


def head_of_ultralytics(role, end2end=False):
    """Its outputs as the heads `exported` (or `selected`) and `split` have them, of random weights and features."""
    torch = pytest.importorskip("torch")
    heads = pytest.importorskip("ultralytics.nn.modules.head")
    torch.manual_seed(0)
    kind, bins = (heads.OBB, 16) if role == TURN else (heads.OBB26, 1)
    head = kind(CLASSES, 1, bins, end2end, CHANNELS).eval()
    head.stride, head.export, head.end2end = torch.tensor([8.0, 16.0, 32.0]), True, end2end
    features = [
        torch.randn(1, channels, IMGSZ.height // stride, IMGSZ.width // stride) * 3
        for channels, stride in zip(CHANNELS, STRIDES)
    ]
    boxes, scores, angles = head.one2one.values() if end2end else head.one2many.values()
    with torch.no_grad():
        joined = head(list(features))
        maps = []
        for level, feature in enumerate(features):
            maps += [boxes[level](feature), scores[level](feature).sigmoid()]
        for level, feature in enumerate(features):
            angle = angles[level](feature)
            maps.append(angle.sigmoid() if role == TURN else angle)
    return joined.numpy(), [values.numpy() for values in maps]


@pytest.mark.parametrize("role", [TURN, ANGLE])
def test_maps_decode_to_what_ultralytics_head_gives(role):
    joined, maps = head_of_ultralytics(role)
    exported, split = predict(spec(EXPORTED, role), [joined]), predict(spec(SPLIT, role), maps)
    assert exported.columns.shape == (len(exported.predictions), 1) and np.ptp(split.columns) > 0.1
    np.testing.assert_allclose(split.predictions, exported.predictions, atol=1e-4)
    np.testing.assert_allclose(split.columns, exported.columns, atol=1e-6)
    np.testing.assert_allclose(exported.columns[:, 0], joined[0, -1])


def test_an_end_to_end_head_gives_rotated_boxes_not_corners():
    joined, maps = head_of_ultralytics(ANGLE, end2end=True)
    selected, split = predict(spec(SELECTED, ANGLE, True), [joined]), predict(spec(SPLIT, ANGLE, True), maps)
    fit = Letterbox(tuple(IMGSZ), 1.0, 0, 0)
    of_selected, of_split = (
        instances(spec(head, ANGLE, True), raw, fit, confidence=0)
        for head, raw in ((SELECTED, [joined]), (SPLIT, maps))
    )
    assert selected.columns.shape[1] == 1
    np.testing.assert_allclose(selected.predictions[:, :4], joined[0, :, :4])
    # The head gives the best classes of the best points; as long as scores differ, both are in one order.
    shared = min(len(of_selected), len(split.predictions))
    assert shared > 50
    np.testing.assert_allclose(of_selected.scores[:20], of_split.scores[:20], atol=1e-6)
    np.testing.assert_allclose(of_selected.extras["rotated"][:20], of_split.extras["rotated"][:20], atol=1e-4)


def raw_of(rectangles, scores, classes):
    """Maps that predict rectangles (cx, cy, w, h, angle in input pixels), one in a cell of the finest stride."""
    outputs = spec(SPLIT, ANGLE)
    raw = [np.zeros(output.shape(IMGSZ), np.float32) for output in outputs.maps()]
    for cx, cy, w, h, angle in rectangles:
        column, row = int(cx // 8), int(cy // 8)
        while raw[6][0, 0, row, column] or raw[1][0, :, row, column].any():
            column += 1
        right, down = cx / 8 - column - 0.5, cy / 8 - row - 0.5
        along, across = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
        raw[0][0, :, row, column] = w / 16 - along, h / 16 - across, w / 16 + along, h / 16 + across
        raw[1][0, classes.pop(0), row, column] = scores.pop(0)
        raw[6][0, 0, row, column] = angle
    return outputs, raw


def test_instances_lie_in_pixels_of_the_image_with_the_box_around_cut_at_its_edges():
    drawn = [(30, 20, 40, 10, 0.5), (60, 40, 20, 12, -0.3)]
    outputs, raw = raw_of(drawn, [0.9, 0.8], [2, 0])
    found = instances(outputs, raw, Letterbox((40, 20), 2.0, 8, 12))
    assert found.classes.tolist() == [2, 0] and found.scores.tolist() == pytest.approx([0.9, 0.8])
    expected = [((cx - 8) / 2, (cy - 12) / 2, w / 2, h / 2, angle) for cx, cy, w, h, angle in drawn]
    assert found.extras["rotated"].dtype == np.float32
    np.testing.assert_allclose(found.extras["rotated"], expected, atol=1e-5)
    points = corners(np.array(expected)).clip(0, (40, 20))
    np.testing.assert_allclose(found.boxes, np.concatenate([points.min(1), points.max(1)], axis=1), atol=1e-5)
    assert found.boxes[0, 1] == 0


def test_a_stretched_image_is_refused_unless_it_keeps_its_shape():
    outputs, raw = raw_of([(30, 20, 40, 10, 0.5)], [0.9], [1])
    with pytest.raises(UserError, match="the task obb cannot be used with letterbox: stretch"):
        instances(outputs, raw, Letterbox((48, 48), 2.0, 0, 0, 64 / 48))
    assert len(instances(outputs, raw, Letterbox((48, 32), 2.0, 0, 0, 2.0))) == 1


def test_of_rotated_boxes_that_overlap_the_best_remains_in_each_class():
    # The second is the first, moved a little; the third has the same box around it and lies across; the fourth is of
    # another class.
    drawn = [(40, 30, 40, 8, 0.7), (41, 30, 40, 8, 0.7), (40, 31, 40, 8, -0.7), (40, 32, 40, 8, 0.7)]
    outputs, raw = raw_of(drawn, [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1])
    found = instances(outputs, raw, Letterbox(tuple(IMGSZ), 1.0, 0, 0), confidence=0.5)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert len(instances(outputs, raw, Letterbox(tuple(IMGSZ), 1.0, 0, 0), confidence=0.65)) == 2
    assert len(instances(outputs, raw, Letterbox(tuple(IMGSZ), 1.0, 0, 0), most=1)) == 1


def test_nms_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    rectangles = rng.uniform((10, 10, 5, 5, -1), (50, 50, 40, 15, 3), (300, 5)).astype(np.float32)
    classes = rng.integers(0, 2, 300)
    expected = []
    for row in range(300):
        rivals = [other for other in expected if classes[other] == classes[row]]
        overlaps = [1 - np.sqrt(1 - np.sqrt(likeness(rectangles[other], rectangles[row]))) for other in rivals]
        if all(overlap <= 0.3 for overlap in overlaps):
            expected.append(row)
    assert keep(rectangles, classes, 0.3, 300).tolist() == expected
    assert keep(rectangles, classes, 0.3, 10).tolist() == expected[:10]
    assert keep(rectangles[:0], classes[:0], 0.3, 10).tolist() == []


def test_a_box_of_negative_size_is_a_line_or_a_point():
    outputs, raw = raw_of([(30, 20, 40, 10, 0.5)], [0.9], [1])
    raw[0][raw[0] != 0] = -1
    rotated = instances(outputs, raw, Letterbox(tuple(IMGSZ), 1.0, 0, 0)).extras["rotated"]
    assert rotated[0, 2:4].tolist() == [0, 0]


def test_nothing_is_found_in_nothing():
    outputs, raw = raw_of([], [], [])
    found = tasks.get("obb").instances(outputs, raw, Letterbox(tuple(IMGSZ), 1.0, 0, 0))
    assert len(found) == 0 and found.extras["rotated"].shape == (0, 5)


@pytest.mark.parametrize("role", [TURN, ANGLE])
@pytest.mark.parametrize("end2end", [True, False])
def test_the_contract_says_how_to_decode(role, end2end):
    lines = " ".join(tasks.get("obb").contract_lines(spec(SPLIT, role, end2end)))
    assert ("- 0.25) * pi" in lines) == (role == TURN)
    assert ("one-to-one" in lines) == end2end and ("probabilistic" in lines) != end2end
