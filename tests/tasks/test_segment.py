"""Masks: what labels say, what coefficients and prototypes give, how far two are the same, and their mAP."""

import cv2
import numpy as np
import pytest

import fetch_dataset
from lib import tasks
from lib.accuracy.average_precision import average_precision
from lib.accuracy.bootstrap import resampled_map
from lib.accuracy.detection_set import DetectionSet, read_detections, write_detections
from lib.accuracy.evaluation import measure
from lib.accuracy.true_positives import true_positives
from lib.data.checked_labels import CheckedLabel
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import fit_of
from lib.detector.families import OutputMap
from lib.detector.families.distances import Distances
from lib.detector.families.sides import STRIDES
from lib.detector.head import EXPORTED, SELECTED, SPLIT
from lib.detector.instances import IGNORED, IGNORED_CROWD, Instances
from lib.detector.output_spec import OutputSpec
from lib.results.plots import detection_grid
from lib.step.errors import UserError
from lib.tasks.segment.decoding import masks_of
from lib.tasks.segment.labels import check_label, read_label
from lib.tasks.segment.masks import MASK, as_coco, as_rows, decoded, encoded, of_polygon, overlap, share_inside

SEGMENT = tasks.get("segment")
TRIANGLE = "2 0.25 0.25 0.75 0.25 0.5 0.75\n"
MASKS, SIDE = 6, 96  # prototypes and input of the models here


# Labels.


def test_a_polygon_is_the_pixels_in_it_and_the_box_around_it(tmp_path):
    (tmp_path / "a.txt").write_text("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n" + TRIANGLE)
    labels = read_label(tmp_path / "a.txt", (200, 100), 4)
    np.testing.assert_allclose(labels.boxes, [[20, 20, 100, 60], [50, 25, 150, 75]])
    assert labels.classes.tolist() == [1, 2] and labels.scores.tolist() == [1, 1] and list(labels.extras) == [MASK]
    square, triangle = decoded(labels.extras[MASK], (200, 100))
    assert square[20:60, 20:100].all() and square.sum() == 80 * 40
    drawn = cv2.fillPoly(np.zeros((100, 200), np.uint8), [np.array([[50, 25], [150, 25], [100, 75]])], 1)
    assert (drawn != triangle).sum() < 160  # COCO leaves out the outline, of some 240 pixels in length


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2 0.2", "is a box, a label for the task detect; a mask's label is a polygon 'class x1 y1"),
        ("0 0.5 0.5 0.4 0.4 0.5 0.5 2", "is a box with keypoints, a label for the task pose; a mask's label is a poly"),
        ("0 0.1 0.1 0.5 0.1", "is a box"),
        ("0 0.1 0.1 0.5 0.1 0.5", "not a polygon 'class x1 y1 x2 y2 x3 y3 …' of three or more points"),
        ("0 0.1 0.1 0.5 0.1 0.5 nan", "not a polygon"),
        ("0 0.1 0.1 0.5 0.1 a 0.5", "not a polygon"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 thing", "not a polygon"),
        ("0", "not a polygon"),
        ("0 0.1 0.1 0.5 0.1 0.5 1.5", "the polygon leaves the image by more than 1 %"),
        ("0 64 64 320 64 320 320", "the polygon leaves the image .*; numbers are fractions"),
        ("4 0.1 0.1 0.5 0.1 0.5 0.5", "class 4 is not in 0..3; the data set has 4 names"),
        ("-1 0.1 0.1 0.5 0.1 0.5 0.5", "class -1 is not"),
        ("0.5 0.1 0.1 0.5 0.1 0.5 0.5", "class 0.5 is not"),
    ],
)
def test_what_is_no_polygon_is_told_by_file_and_line(tmp_path, line, reason):
    (tmp_path / "a.txt").write_text(TRIANGLE + line + "\n")
    with pytest.raises(UserError, match=reason) as error:
        check_label(tmp_path / "a.txt", 4)
    assert str(error.value).startswith(f"label {tmp_path / 'a.txt'}, line 2 ('{line[:60]}')")
    with pytest.raises(UserError, match="line 2"):
        read_label(tmp_path / "a.txt", (64, 64), 4)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TRIANGLE, CheckedLabel(1, 0, None)),
        # What is outside is cut; what has no area is dropped.
        ("0 0.8 0.1 1.004 0.1 1.004 0.4\n", CheckedLabel(1, 0, "0 0.8 0.1 1.0 0.1 1.0 0.4\n", cut=1)),
        ("0 0.8 0.1 1.2 0.1 1.2 0.4\n", CheckedLabel(1, 0, "0 0.8 0.1 1.0 0.1 1.0 0.4\n", cut=1, far=1)),
        (TRIANGLE + "0 0.1 0.1 0.5 0.1 0.9 0.1\n", CheckedLabel(1, 0, TRIANGLE, empty=(0,))),
        ("\n", CheckedLabel(0, 0, "")),
        (TRIANGLE * 2, CheckedLabel(1, 0, TRIANGLE, 1)),
        (TRIANGLE + TRIANGLE.rstrip() + " crowd\n", CheckedLabel(1, 0, None, ignored=1)),
    ],
)
def test_a_label_is_kept_as_it_is_where_no_line_is_there_twice(tmp_path, content, expected):
    (tmp_path / "a.txt").write_text(content)
    assert check_label(tmp_path / "a.txt", 4) == expected


def test_a_crowd_is_marked(tmp_path):
    (tmp_path / "a.txt").write_text(TRIANGLE + TRIANGLE.rstrip() + " crowd\n")
    assert read_label(tmp_path / "a.txt", (64, 64), 4).extras[IGNORED].tolist() == [0, IGNORED_CROWD]
    (tmp_path / "b.txt").touch()
    assert len(read_label(tmp_path / "b.txt", (64, 64), 4)) == 0


def test_labels_stay_polygons_in_a_data_set_for_masks(tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / "source" / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "source/images/a.png"), np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "source/labels/a.txt").write_text(TRIANGLE)
    options = ["--archive", tmp_path / "source", "--names", "a", "b", "c", "--output", tmp_path / "out"]
    fetch_dataset.main([*map(str, options), "--task", "segment"])
    assert (tmp_path / "out/labels/a.txt").read_text() == TRIANGLE
    assert "the boxes around them" not in capsys.readouterr().out


# Masks as COCO keeps them.


@pytest.mark.parametrize(
    ("place", "shape", "size"),
    [((3, 2), (5, 4), (12, 9)), ((0, 0), (5, 9), (12, 9)), ((7, 0), (5, 9), (12, 9)), ((0, 0), (12, 9), (12, 9)),
     ((11, 8), (1, 1), (12, 9)), ((0, 4), (12, 5), (12, 9)), ((0, 0), (12, 4), (12, 9)), ((2, 0), (1, 9), (3, 9))],
)  # fmt: skip
def test_a_mask_is_encoded_as_the_library_does(place, shape, size):
    mask = pytest.importorskip("faster_coco_eval").mask
    random = np.random.default_rng(0)
    for share in (0, 0.2, 0.6, 1):
        for _ in range(20):
            columns = random.random(shape) < share
            whole = np.zeros((size[1], size[0]), np.uint8, order="F")
            whole[place[1] : place[1] + shape[1], place[0] : place[0] + shape[0]] = columns.T
            text = encoded(columns, place, size)
            assert text == mask.encode(whole)["counts"]
            np.testing.assert_array_equal(decoded(as_rows([text]), size)[0], whole)


def masked(*masks: np.ndarray) -> Instances:
    """Instances with these masks, bool [h, w]."""
    size = masks[0].shape[::-1]
    rows = as_rows([encoded(mask.T, (0, 0), size) for mask in masks])
    return Instances(np.zeros((len(masks), 4)), np.ones(len(masks)), np.zeros(len(masks), int), {MASK: rows})


def test_masks_overlap_by_their_pixels():
    random = np.random.default_rng(1)
    first, second = random.random((2, 7, 40, 31)) < random.uniform(0.1, 0.9, (2, 7, 1, 1))
    second[0] = False
    both = (first[:, None] & second).sum((2, 3))
    np.testing.assert_allclose(
        overlap(masked(*first), masked(*second)), both / (first[:, None] | second).sum((2, 3)), rtol=1e-14
    )
    np.testing.assert_allclose(
        share_inside(masked(*first), masked(*second)), both / first.sum((1, 2))[:, None], rtol=1e-14
    )
    assert overlap(masked(second[0]), masked(second[0])).tolist() == [[0]]
    nothing = masked(second[0])[:0]
    assert overlap(nothing, masked(*first)).shape == (0, 7) and overlap(masked(*first), nothing).shape == (7, 0)


# Decoding.


def outputs(head: str, end2end: bool = False) -> OutputSpec:
    extras = tuple(OutputMap("coefficients", stride, MASKS) for stride in STRIDES)
    return OutputSpec(
        ImageSize(SIDE, SIDE),
        head,
        Distances(),
        classes=3,
        task="segment",
        end2end=end2end,
        extras=(*extras, OutputMap("prototypes", 4, MASKS)),
    )


def raw_outputs(seed: int) -> list[np.ndarray]:
    """Raw outputs of the head `split`: a few cells see something, prototypes are smooth."""
    random = np.random.default_rng(seed)
    raw = [random.normal(size=output.shape(ImageSize(SIDE, SIDE))) for output in outputs(SPLIT).maps()]
    for number in range(len(STRIDES)):
        raw[2 * number] = random.uniform(0.5, 3, raw[2 * number].shape)
        raw[2 * number + 1] = np.clip(raw[2 * number + 1] / 4, 0, 1)
    raw[-1] = np.stack([cv2.GaussianBlur(prototype, (0, 0), 2) for prototype in raw[-1][0]])[None]
    return [output.astype(np.float32) for output in raw]


def test_all_heads_predict_the_same():
    raw = raw_outputs(0)
    split = SEGMENT.predict(outputs(SPLIT), raw)
    points = SIDE**2 // 64 + SIDE**2 // 256 + SIDE**2 // 1024
    assert split.columns.shape == (points, MASKS)
    np.testing.assert_array_equal(split.columns[13], raw[6][0, :, 1, 1])
    joined = np.concatenate([split.predictions, split.columns], axis=1).T[None]
    exported = SEGMENT.predict(outputs(EXPORTED), [joined, raw[-1]])
    for ours, theirs in zip((*split[:2], *split.shared), (*exported[:2], *exported.shared), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    best = split.predictions[:, 4:].max(axis=1, keepdims=True)
    kinds = split.predictions[:, 4:].argmax(axis=1)[:, None]
    low = split.predictions[:, :2] - split.predictions[:, 2:4] / 2
    rows = np.concatenate([low, low + split.predictions[:, 2:4], best, kinds, split.columns], axis=1)
    selected = SEGMENT.predict(outputs(SELECTED, end2end=True), [rows[None].astype(np.float32), raw[-1]])
    np.testing.assert_allclose(selected.predictions[:, :4], split.predictions[:, :4], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(selected.columns, split.columns)


def by_definition(box, coefficients, prototypes, stride, fit) -> np.ndarray:
    """The mask of one object, in float64."""
    width, height = fit.source
    sums = np.einsum("m,mhw->hw", coefficients.astype(float), prototypes.astype(float))
    across = ((np.arange(width) + 0.5) * fit.scales[0] + fit.left) / stride - 0.5
    down = ((np.arange(height)[:, None] + 0.5) * fit.scales[1] + fit.top) / stride - 0.5
    across, down = np.clip(across, 0, sums.shape[1] - 1), np.clip(down, 0, sums.shape[0] - 1)
    x0, y0 = across.astype(int), down.astype(int)
    x1, y1 = np.minimum(x0 + 1, sums.shape[1] - 1), np.minimum(y0 + 1, sums.shape[0] - 1)
    upper = sums[y0, x0] + (sums[y0, x1] - sums[y0, x0]) * (across - x0)
    lower = sums[y1, x0] + (sums[y1, x1] - sums[y1, x0]) * (across - x0)
    values = upper + (lower - upper) * (down - y0)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    inside = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
    return (values > 0) & inside


@pytest.mark.parametrize("place", ["centre", "top_left", "stretch"])
@pytest.mark.parametrize("source", [(96, 96), (61, 40), (31, 70), (200, 37)])
def test_masks_are_those_of_their_definition(source, place):
    random = np.random.default_rng(sum(source))
    fit = fit_of(source, ImageSize(SIDE, SIDE), InputForm(letterbox=place))
    prototypes = np.stack([cv2.GaussianBlur(random.normal(size=(24, 24)), (0, 0), 2) for _ in range(MASKS)])
    coefficients = random.normal(size=(9, MASKS)).astype(np.float32)
    corners = np.sort(random.uniform(0, 1, (9, 2, 2)), axis=1) * source
    corners[0] = [(0, 0), source]  # the whole image
    corners[1, 1] = corners[1, 0]  # nothing
    boxes = corners.reshape(9, 4).astype(np.float32)
    masks = decoded(masks_of(boxes, coefficients, prototypes.astype(np.float32), 4, fit), source)
    expected = [by_definition(box, row, prototypes, 4, fit) for box, row in zip(boxes, coefficients)]
    assert (masks != expected).sum() <= 2  # where the sum is 0 to rounding
    assert masks[0].any() and not masks[1].any()


def test_masks_are_ultralytics_own():
    ops, torch = pytest.importorskip("ultralytics.utils.ops"), pytest.importorskip("torch")
    random = np.random.default_rng(3)
    # Two cells of grey above and below: Ultralytics cuts whole cells off.
    source, size = (128, 96), ImageSize(64, 64)
    fit = fit_of(source, size)
    prototypes = np.stack([cv2.GaussianBlur(random.normal(size=(16, 16)), (0, 0), 2) for _ in range(MASKS)])
    prototypes, coefficients = prototypes.astype(np.float32), random.normal(size=(5, MASKS)).astype(np.float32)
    boxes = np.array([[10.2, 12, 90, 70.5], [0, 6, 128, 90], [40, 8, 41, 80], [3, 20, 60, 21], [64, 48, 120, 88]])
    theirs = ops.process_mask_native(*map(torch.tensor, (prototypes, coefficients, boxes)), source[::-1]).numpy()
    ours = decoded(masks_of(boxes, coefficients, prototypes, 4, fit), source)
    # Theirs holds the value of the last cell of the image where ours looks at the grey's.
    assert (ours[:, 6:-6] == theirs[:, 6:-6]).all() and ours.any(axis=(1, 2)).sum() > 3


def test_detections_have_masks_of_the_images_size():
    fit = fit_of((80, 60), ImageSize(SIDE, SIDE))
    found = SEGMENT.instances(outputs(SPLIT), raw_outputs(1), fit, 0.25, 0.7, 20)
    boxes = tasks.get(tasks.DEFAULT).instances(outputs(SPLIT), raw_outputs(1), fit, 0.25, 0.7, 20)
    np.testing.assert_array_equal(found.boxes, boxes.boxes)
    np.testing.assert_array_equal(found.scores, boxes.scores)
    masks = decoded(found.extras[MASK], (80, 60))
    assert masks.shape == (len(found), 60, 80) and masks.any(axis=(1, 2)).sum() > len(found) / 2
    for (x1, y1, x2, y2), mask in zip(found.boxes, masks):
        rows, columns = np.nonzero(mask)
        assert not len(rows) or (columns.min() >= x1 and columns.max() < x2 and rows.min() >= y1 and rows.max() < y2)
    assert len(SEGMENT.instances(outputs(SPLIT), raw_outputs(1), fit, 1.0)) == 0


def test_the_contract_says_how_a_mask_is_made():
    lines = SEGMENT.contract_lines(outputs(SPLIT))
    assert any("prototypes[5] * coefficient[5]" in line for line in lines)
    assert "along x: ((i + 0.5) * letterbox scale + left) / 4 - 0.5" in " ".join(lines)


# Evaluation.

SIZE = (120, 90)
NAMES = ["a", "b"]


def disc(centre, radius) -> bytes:
    return of_polygon(
        np.array([(centre[0] + radius * np.cos(t), centre[1] + radius * np.sin(t)) for t in np.arange(0, 6.28, 0.2)]),
        SIZE,
    )


def scene(seed: int, crowds: bool) -> tuple[list[Instances], list[Instances]]:
    """Discs as labels, and detections near them and elsewhere, of eight images."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(8):
        centres, radii, kinds = random.uniform(20, 70, (5, 2)), random.uniform(6, 18, 5), random.integers(0, 2, 5)
        marks = np.where(random.random(5) < 0.3, IGNORED_CROWD, 0).astype(np.uint8) if crowds else np.zeros(5, np.uint8)
        extras = {IGNORED: marks} if marks.any() else {}
        masks = as_rows([disc(*each) for each in zip(centres, radii)])
        boxes = np.concatenate([centres - radii[:, None], centres + radii[:, None]], axis=1)
        truth.append(Instances(boxes, np.ones(5), kinds, {MASK: masks} | extras))
        centres = np.concatenate(
            [np.repeat(centres, 2, axis=0) + random.normal(0, 2, (10, 2)), random.uniform(9, 80, (3, 2))]
        )
        radii = np.concatenate([np.repeat(radii, 2) * random.uniform(0.7, 1.2, 10), random.uniform(5, 9, 3)])
        kinds = np.concatenate([np.repeat(kinds, 2), random.integers(0, 2, 3)])
        masks = as_rows([disc(*each) for each in zip(centres, radii)])
        boxes = np.concatenate([centres - radii[:, None], centres + radii[:, None] * 1.5], axis=1)
        scores = np.sort(random.random(13))[::-1].astype(np.float32)
        order = random.permutation(13)
        found.append(Instances(boxes[order], scores, kinds[order], {MASK: masks[order]}))
    return truth, found


def detection_set(found) -> DetectionSet:
    return DetectionSet([f"{n}.jpg" for n in range(len(found))], [SIZE] * len(found), found, "segment")


def coco(tool, evaluation, truth, found, kind) -> float:
    """mAP50-95 as COCO's own evaluation gives it, from its own JSON."""
    annotations, results = [], []
    for image, (labels, detections) in enumerate(zip(truth, found), start=1):
        for objects, rows in ((labels, annotations), (detections, results)):
            marks = objects.extras.get(IGNORED, np.zeros(len(objects)))
            segmentation = as_coco(objects.extras[MASK], SIZE)
            for box, score, c, rle, mark in zip(objects.boxes, objects.scores, objects.classes, segmentation, marks):
                x1, y1, x2, y2 = map(float, box)
                rows.append(
                    {"id": len(rows) + 1, "image_id": image, "category_id": int(c) + 1, "iscrowd": int(mark > 0),
                     "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "segmentation": rle,
                     "score": float(score)}
                )  # fmt: skip
    reference = tool()
    images = [{"id": image + 1, "width": SIZE[0], "height": SIZE[1]} for image in range(len(truth))]
    reference.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
    reference.createIndex()
    measured = evaluation(reference, reference.loadRes(results), kind)
    measured.evaluate()
    measured.accumulate()
    precision = measured.eval["precision"][:, :, :, 0, -1]
    return float(np.mean([precision[:, :, c].mean() for c in range(2) if (precision[:, :, c] > -1).all()]))


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_map_is_that_of_pycocotools(seed, crowds):
    pycocotools = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval
    truth, found = scene(seed, crowds)
    metrics, _ = measure(truth, detection_set(found), NAMES, 20, 0)
    assert metrics.map50_95 == pytest.approx(coco(pycocotools.COCO, evaluation, truth, found, "segm"), abs=1e-6)
    assert metrics.box_map50_95 == pytest.approx(coco(pycocotools.COCO, evaluation, truth, found, "bbox"), abs=1e-6)


@pytest.mark.parametrize("crowds", [False, True])
def test_the_map_is_by_masks_and_box_map_beside_it(crowds, tmp_path):
    truth, found = scene(5, crowds)
    write_detections(tmp_path / "d.npz", detection_set(found))
    detections = read_detections(tmp_path / "d.npz")
    assert detections.task == "segment"
    metrics, _ = measure(truth, detections, NAMES, 50, 0)
    assert 0.1 < metrics.box_map50_95 < metrics.map50_95 < 0.9 and metrics.task == "segment"
    assert metrics.map50_95_low < metrics.map50_95 < metrics.map50_95_high
    # Resampled once as they are, images give the plain mAP: the matches are those of the library.
    matches = true_positives(truth, detections.instances, 2, overlap, share_inside)
    again = resampled_map(matches, np.ones((1, len(truth)), int))
    assert again[0] == pytest.approx(average_precision(truth, detections, NAMES).map50_95, abs=1e-12)


def test_masks_are_drawn_over_an_image(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((SIZE[1], SIZE[0], 3), 128, np.uint8))
    _, found = scene(0, False)
    for name, shown in (("masks", found[:1]), ("none", [found[0][:0]])):
        detection_grid([tmp_path / "a.png"], {"FP32": shown}, NAMES, 0.1, SEGMENT.draw, tmp_path / f"{name}.png")
    masks, none = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("masks", "none"))
    assert masks.shape == none.shape and (masks != none).any(axis=2).mean() > 0.1
