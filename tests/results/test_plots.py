"""Names in plots lie on nothing, and a change looks as large as it is."""

import itertools

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.transforms import Bbox

from lib.detector.instances import Instances
from lib.results import plots
from lib.results.choice import CYCLES, TIME, pareto_front
from lib.results.label_places import name_points
from lib.tasks import get


def shared(first: Bbox, second: Bbox) -> float:
    """Square pixels that two boxes share."""
    both = Bbox.intersection(first, second)
    return both.width * both.height if both else 0


@pytest.mark.parametrize("seed", range(4))
def test_names_lie_on_no_point_no_bar_and_no_other_name(seed):
    rng = np.random.default_rng(seed)
    figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
    points = rng.uniform(0, 1, (12, 2))
    # Several of them all but on each other, and at the edge.
    points[1:4] = points[0] + rng.normal(0, 0.01, (3, 2))
    points[4] = 1, 1
    axis.plot(*points.T, "o")
    axis.margins(0.05)
    figure.draw_without_rendering()
    bars = [Bbox.from_bounds(x - 4, y - 20, 8, 40) for x, y in axis.transData.transform(points)]
    names = [f"yolov8n {n} split, 64" for n in range(12)]
    texts = name_points(axis, list(map(tuple, points)), names, bars, fontsize=8)
    boxes = [text.get_window_extent() for text in texts]
    plt.close(figure)
    assert [text.get_text() for text in texts] == names
    assert max(shared(*pair) for pair in itertools.product(boxes, bars)) < 1
    assert max(shared(*pair) for pair in itertools.combinations(boxes, 2)) < 1
    inside = axis.get_window_extent()
    assert all(shared(box, inside) == pytest.approx(box.width * box.height) for box in boxes)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, in place of files; closed in the end."""
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    yield figures
    for figure in figures:
        plt.close(figure)


def variants_of(models: list[str]) -> pd.DataFrame:
    """A table of two sizes and heads of each model."""
    rows = [
        {
            "model": model, "imgsz": imgsz, "head": head, "algorithm": "normal", "max_images": 64,
            "map50_95_fp32": 0.5, "map50_95_int8": 0.5 - 0.02 * n, "retention_low": 0.9, "retention_high": 1.1,
            "npu_mcycles": 9.0 - n, "ms_high": 20.0 + (n * 7) % 4, "verdict": "runs",
        }
        for n, (model, imgsz, head) in enumerate(itertools.product(models, ("320", "416x256"), ("single", "split")))
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("models", [["yolov8n"], ["yolov8n", "yolo26n"]])
def test_each_cost_has_its_front_with_names_that_say_the_model_where_there_are_several(drawn, models):
    table = variants_of(models)
    plots.pareto(table, "pareto.png")
    [figure] = drawn
    assert pareto_front(table, TIME) != pareto_front(table, CYCLES)
    for axis, cost in zip(figure.axes, (TIME, CYCLES)):
        names = [text.get_text() for text in axis.texts if text.get_text()]
        front = table.loc[pareto_front(table, cost)]
        assert len(names) == len(front)
        assert all(name.startswith("yolo") == (len(models) > 1) for name in names)
        assert f"{front.imgsz.iloc[0]} {front['head'].iloc[0]}, 64" in names[0]
    # A legend beside the panels lies on none of their points.
    assert len(figure.legends) == 1 and not any(axis.get_legend() for axis in figure.axes)


@pytest.mark.parametrize(("changes", "width"), [([-0.004], 0.1), ([-0.1, 0.05], 0.1), ([0.101, 0], 0.25), ([-0.9], 1)])
def test_class_changes_have_a_fixed_axis_and_bars_of_one_height(drawn, changes, width):
    classes = pd.DataFrame({"name": [f"c{n}" for n in range(len(changes))], "boxes": 3, "difference": changes})
    plots.class_changes(classes, "title", "classes.png")
    [axis] = drawn[0].axes
    assert axis.get_xlim() == (-width, width)
    figure, (low, high) = drawn[0], axis.get_ylim()
    figure.draw_without_rendering()
    # In inches: one class has a bar as high as that of many.
    assert axis.get_window_extent().height / figure.dpi * 0.8 / (high - low) < 0.6
    assert [bar.get_width() for bar in axis.patches] == sorted(changes, reverse=True)


def test_titles_of_objects_at_an_edge_lie_within_the_image(drawn, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((240, 320, 3), np.uint8))
    boxes = np.array([[5.0, 0, 100, 80], [310, -3, 330, 90], [-20, 230, 50, 260], [0, 100, 9, 110]])
    instances = Instances(boxes, np.ones(4), np.arange(4))
    names = ["washer", "bolt", "nut", "a name that is longer than the image is wide " * 3]
    plots.detection_grid(
        [tmp_path / "a.png"] * 2, {"INT8": [instances] * 2}, names, 0.3, get("detect").draw, "grid.png"
    )
    plots.drawn_photo(tmp_path / "a.png", instances, names, get("detect").draw, "photo.png")
    for axis in [axis for figure in drawn for axis in figure.axes]:
        axis.figure.draw_without_rendering()
        inside = axis.get_window_extent()
        *short, long = [title.get_bbox_patch().get_window_extent() for title in axis.texts]
        for box in short:
            assert shared(inside, box) == pytest.approx(box.width * box.height, rel=1e-3)
        assert long.x0 == pytest.approx(inside.x0) and long.width > inside.width


def test_labels_have_no_score_and_a_detection_has_one_also_where_it_is_1(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 60, 3), np.uint8))
    instances = Instances(np.array([[5.0, 5, 20, 20]]), np.ones(1), np.zeros(1, int))
    titles = []
    columns = {plots.LABELS: [instances], "INT8": [instances]}
    plots.detection_grid(
        [tmp_path / "a.png"], columns, ["nut"], 0.3, lambda _, found, texts, colours: titles.append(texts),
        tmp_path / "grid.png",
    )  # fmt: skip
    assert titles == [["nut"], ["nut 1.00"]]


def test_plots_of_classifiers_show_top1(drawn):
    table = variants_of(["yolov8n-cls"]).query("head == 'split'").assign(head="as_is", verdict="runs")
    maps = {"map50_95_fp32": None, "map50_95_int8": None}
    table = table.assign(top1_fp32=table.map50_95_fp32, top1_int8=table.map50_95_int8, **maps)
    plots.map_over_imgsz(table, "a.png")
    plots.map_over_max_images(table, "b.png")
    plots.pareto(table, "c.png")
    for figure in drawn:
        assert figure.axes[0].get_ylabel() == "top-1"
        heights = [height for axis in figure.axes for line in axis.lines for height in line.get_ydata()]
        assert {0.48, 0.44} <= {round(float(height), 2) for height in heights}
    front = pareto_front(table)
    assert front == pareto_front(table.assign(map50_95_int8=table.top1_int8).drop(columns=["top1_int8", "top1_fp32"]))
