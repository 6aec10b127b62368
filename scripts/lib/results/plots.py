"""The plots of a run: PNG files without a time stamp, so that the same table gives the same bytes."""

from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox

from lib.accuracy.operating import THRESHOLDS, Curve, Operating, f1_of
from lib.data.images import read_image
from lib.data.imgsz import parse_imgsz
from lib.detector.instances import Instances
from lib.npu.layer_errors import worst
from lib.npu.verdict import RUNS
from lib.results.choice import CYCLES, TIME, accuracy, has_top1, pareto_front
from lib.results.label_places import name_points
from lib.step.files import whole
from lib.tasks import DEFAULT, get

UNDECODED = "nothing decodes the outputs"
NO_MAP = f"{UNDECODED}, so there is no mAP"
NO_DETECTIONS = f"{UNDECODED}, so there are no detections"
LABELS = "labels"  # title of the column of labels in a grid of detections
# Instead of plots of single classes and of thresholds.
OF_IMAGES = "the labels are classes of whole images, so there is neither AP nor a threshold"
HEAD_COLOURS = {"single": "tab:orange", "split": "tab:blue", "as_is": "tab:blue"}
MOST_CLASSES = 30
FEW_BARS = 3  # fewer bars leave room free instead of becoming thicker
CHANGES = (0.1, 0.25, 0.5, 1)  # possible limits of the axis of class changes, on both sides of 0
WORST = 5  # layers that a plot names
COSINE_STEP = 1e-5
DPI = 120
MARKER = 5  # radius of a marker in pixels
# Axis labels of what a variant costs, by column.
COSTS = {
    TIME: "estimated time of one inference, ms (upper limit)",
    CYCLES: "NPU cycles of one inference, millions (estimated)",
}
MARKERS = {"normal": "o", "mmse": "s", "kl_divergence": "^", "search": "D", "corrected": "v", "gptq": "P"}


def map_over_imgsz(table: pd.DataFrame, path) -> None:
    """Accuracy over image size: one line per head (and algorithm) at its most calibration images, FP32 dashed."""
    table = _measured(table)
    if table.empty:
        note(NO_MAP, path)
        return
    most = table[table.max_images == table.max_images.max()]
    figure, axes = _panels(most, "model")
    for axis, (model, rows) in zip(axes, most.groupby("model")):
        sizes = sorted(rows.imgsz.unique(), key=lambda size: parse_imgsz(size, multiples_of=1).area)
        fp32 = rows.groupby("imgsz").fp32.first()
        axis.plot(sizes, fp32[sizes], "k--", marker=".", label="FP32 baseline")
        for (head, algorithm), line in rows.groupby(["head", "algorithm"]):
            _with_bars(axis, sizes, line.set_index("imgsz").loc[sizes], **_style(table, head, algorithm))
        axis.set(title=model, xlabel="image size (width x height, by area)")
    _finish(figure, axes, table, f"INT8 models on the simulator, {table.max_images.max()} calibration images", path)


def map_over_max_images(table: pd.DataFrame, path) -> None:
    """Accuracy over calibration images: one panel per model and image size, one line per head, FP32 dashed."""
    table = _measured(table)
    if table.empty:
        note(NO_MAP, path)
        return
    groups = table.assign(panel=table.model + ", " + table.imgsz.astype(str))
    figure, axes = _panels(groups, "panel")
    order = list(dict.fromkeys(groups.panel))
    for axis, panel in zip(axes, order):
        rows = groups[groups.panel == panel]
        counts = sorted(rows.max_images.unique())
        axis.axhline(rows.fp32.iloc[0], color="k", linestyle="--", label="FP32 baseline")
        for (head, algorithm), line in rows.groupby(["head", "algorithm"]):
            _with_bars(
                axis, list(map(str, counts)), line.set_index("max_images").loc[counts], **_style(table, head, algorithm)
            )
        axis.set(title=panel, xlabel="calibration images")
    _finish(figure, axes, table, "INT8 models on the simulator", path)


def pareto(table: pd.DataFrame, path) -> None:
    """INT8 accuracy over estimated time, and over NPU cycles: one point per variant.

    Points of variants that run are filled; each panel shows their Pareto front, with the variants on it named.
    """
    table = _measured(table)
    if table.empty:
        note(NO_MAP, path)
        return
    figure, axes = plt.subplots(1, 2, figsize=(10.4, 4.8), sharey=True, layout="constrained", dpi=DPI)
    for axis, (cost, label) in zip(axes, COSTS.items()):
        front = table.loc[pareto_front(table, cost)]
        axis.plot(front[cost], front.int8, color="tab:green", linewidth=5, alpha=0.35, label="Pareto front")
        for (head, algorithm), rows in table.groupby(["head", "algorithm"]):
            style = _style(table, head, algorithm) | {"linestyle": "none", "markersize": 6}
            runs = rows[rows.verdict == RUNS]
            others = rows[rows.verdict != RUNS]
            _with_bars(axis, runs[cost], runs, **style)
            style.update(label=f"{style['label']}, fails or unsure", markerfacecolor="none", alpha=0.6)
            if len(others):
                _with_bars(axis, others[cost], others, **style)
        axis.margins(0.12)
        axis.set(xlabel=label)
    named = "model, image size" if table.model.nunique() > 1 else "image size"
    _finish(
        figure,
        axes,
        table,
        f"INT8 models on the simulator ({named}, head, calibration images)",
        path,
        last=lambda: [_name_front(axis, table, cost) for axis, cost in zip(axes, COSTS)],
    )


def _name_front(axis, table: pd.DataFrame, cost: str) -> list:
    """The names of the variants on the front, clear of all points, their bars and the front's line."""
    front = table.loc[pareto_front(table, cost)]
    names = [
        f"{f'{row.model} ' if table.model.nunique() > 1 else ''}{row.imgsz} {row.head}, {row.max_images}"
        for row in front.itertuples()
    ]
    axis.figure.draw_without_rendering()
    low, high = _limits(table)
    ends = [axis.transData.transform(np.column_stack([table[cost], each])) for each in (low, high)]
    bars = [
        Bbox.from_extents(x - MARKER, bottom - MARKER, x + MARKER, top + MARKER) for (x, bottom), (_, top) in zip(*ends)
    ]
    line = axis.transData.transform(front[[cost, "int8"]].to_numpy(float))
    steps = [start + (end - start) * share for start, end in pairwise(line) for share in np.linspace(0, 1, 40)]
    along = [Bbox.from_bounds(*step - MARKER / 2, MARKER, MARKER) for step in steps]
    points = list(zip(front[cost], front.int8))
    return name_points(axis, points, names, [*bars, *along], fontsize=8)


def thresholds(fp32: Curve, int8: Curve, suggested: Operating | None, title: str, path, without: str = NO_MAP) -> None:
    """Precision, recall and F1 over the confidence threshold, FP32 dashed, with the suggested threshold.

    without: what to write if there is none.
    """
    if suggested is None:
        note(f"{title}: {without}", path)
        return
    figure, axis = plt.subplots(figsize=(5.8, 4.0), layout="constrained")
    lines = {"precision": "tab:blue", "recall": "tab:orange", "F1": "tab:green"}
    for curve, style, name in ((int8, "-", "INT8"), (fp32, "--", "FP32")):
        for (quantity, colour), values in zip(lines.items(), (curve.precision, curve.recall, f1_of(curve))):
            axis.plot(THRESHOLDS, values, style, color=colour, linewidth=1.2, label=f"{quantity} {name}")
    axis.axvline(suggested.point.threshold, color="k", linewidth=1, label=f"suggested, {suggested.point.threshold:.2f}")
    if suggested.low is not None:
        axis.axvspan(suggested.low, suggested.high, color="k", alpha=0.08)
    axis.grid(alpha=0.3)
    axis.set(title=title, xlabel="confidence threshold", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(fontsize=7, ncols=2, loc="lower left")
    _save(figure, path)


def class_changes(classes: pd.DataFrame, title: str, path, without: str = NO_MAP) -> None:
    """The change of AP50-95 by INT8: one bar per class, largest loss on top, for the MOST_CLASSES most changed classes.

    `classes`: as `lib.results.table.class_differences` gives it. without: what to write if it is empty.
    """
    if classes.empty:
        note(f"{title}: {without}", path)
        return
    chosen = classes.reindex(classes.difference.abs().sort_values(ascending=False, kind="stable").index[:MOST_CLASSES])
    chosen = chosen.sort_values("difference", ascending=False, kind="stable")
    figure, axis = plt.subplots(figsize=(5.8, 1.8 + 0.24 * max(len(chosen), FEW_BARS)), layout="constrained")
    labels = [f"{row.name} ({row.boxes})" for row in chosen[["name", "boxes"]].itertuples(index=False)]
    axis.barh(
        range(len(chosen)), chosen.difference, color=chosen.difference.lt(0).map({True: "tab:red", False: "tab:blue"})
    )
    axis.set_yticks(range(len(chosen)), labels, fontsize=8, parse_math=False)
    axis.axvline(0, color="k", linewidth=0.8)
    axis.grid(alpha=0.3, axis="x")
    # The same axis limits wherever they suffice, so that a small change looks small, also where there is only one
    # class.
    spare = max(FEW_BARS - len(chosen), 0) / 2
    width = next(width for width in CHANGES if chosen.difference.abs().max() <= width)
    axis.set(
        xlim=(-width, width),
        ylim=(-0.8 - spare, len(chosen) - 0.2 + spare),
        xlabel="AP50-95, INT8 minus FP32",
        ylabel="class (objects to find)",
    )
    left_out = len(classes) - len(chosen)
    figure.suptitle(
        title + (f"\n{left_out} classes with smaller changes are not shown" if left_out else ""), fontsize=10
    )
    _save(figure, path)


def calibration_study(table: pd.DataFrame, fp32: float, name: str, title: str, path) -> None:
    """The accuracy of that `name` in INT8 over calibration images: a dot per draw, a line of means; FP32 dashed."""
    figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    counts = table.max_images.astype(str)
    axis.axhline(fp32, color="k", linestyle="--", label="FP32 baseline")
    mean = table.groupby(counts, sort=False).accuracy_int8.mean()
    axis.plot(mean.index, mean, color="tab:blue", label="mean")
    axis.plot(counts, table.accuracy_int8, "o", color="tab:blue", alpha=0.5, label="one draw")
    axis.set(title=title, xlabel="calibration images", ylabel=f"{name} on the simulator")
    axis.grid(alpha=0.3)
    axis.legend()
    _save(figure, path)


def layer_errors(table: pd.DataFrame, title: str, path) -> None:
    """1 - cosine to FP32 of each layer, in order, in the whole network and for the layer alone; the worst are named."""
    # The toolkit gives five digits; an error that it rounds to 0 still needs a place on the logarithmic axis.
    shown = table.assign(number=range(len(table))).dropna(subset=["entire_cos", "single_cos"])
    figure, axis = plt.subplots(figsize=(11, 4.6), layout="constrained")
    for column, colour, label in (
        ("entire_cos", "tab:blue", "whole network: errors add up"),
        ("single_cos", "tab:orange", "layer alone"),
    ):
        axis.plot(shown.number, (1 - shown[column]).clip(lower=COSINE_STEP), color=colour, marker=".", label=label)
    for rank, layer in enumerate(worst(shown, WORST).itertuples(), start=1):
        position = (layer.number, max(1 - layer.single_cos, COSINE_STEP))
        # Neighbours in the ranking are often neighbours in the network: put their numbers at different heights.
        offset = (0, 5 + rank % 2 * 10)
        axis.annotate(str(rank), position, xytext=offset, textcoords="offset points", ha="center", weight="bold")
        axis.plot([], [], " ", label=f"{rank}: {layer.layer} [{layer.type}], cosine {layer.single_cos:.5f}")
    axis.margins(y=0.15)
    axis.set(xlabel="layer, in the order of computation", ylabel="1 - cosine to FP32", title=title, yscale="log")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8, ncols=2)
    _save(figure, path)


def detection_grid(
    images: list[Path], columns: dict[str, list[Instances]], names: list[str], confidence: float, draw, path
) -> None:
    """Images down, models across: each model's detections with a score of at least `confidence`, one colour per class.

    The column LABELS shows no scores. `draw` is the task's (lib.tasks.task.Task.draw).
    """
    figure, axes = plt.subplots(
        len(images),
        len(columns),
        figsize=(4 * len(columns), 3.1 * len(images)),
        squeeze=False,
        layout="constrained",
    )
    colours = plt.get_cmap("tab10" if len(names) <= 10 else "hsv", max(len(names), 10))
    for row, source in enumerate(images):
        image = read_image(source)
        for column, (title, detections) in enumerate(columns.items()):
            axis = axes[row, column]
            _show(axis, image)
            axis.set_axis_off()
            if row == 0:
                axis.set_title(title)
            instances = detections[row][detections[row].scores >= confidence]
            draw(axis, instances, _titles(instances, names, title != LABELS), colours)
    _keep_titles_inside(figure)
    _save(figure, path)


def drawn_photo(photo: Path, detections: Instances, names: list[str], draw, path) -> None:
    """One image in its own size with its detections; `draw` as for detection_grid."""
    image = read_image(photo)
    height, width = image.shape[:2]
    figure = plt.figure(figsize=(width / DPI, height / DPI))
    axis = figure.add_axes((0, 0, 1, 1))
    _show(axis, image)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_axis_off()
    colours = plt.get_cmap("tab10" if len(names) <= 10 else "hsv", max(len(names), 10))
    draw(axis, detections, _titles(detections, names), colours)
    _keep_titles_inside(figure)
    _save(figure, path)


def _show(axis, image) -> None:
    """Show an image so that its first pixel begins at 0, as boxes count; by default Matplotlib has its centre there."""
    height, width = image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0))


def _keep_titles_inside(figure) -> None:
    """Move titles of objects that stand beyond an edge of their image into it; there they would be cut off."""
    figure.draw_without_rendering()
    for axis in figure.axes:
        inside, to_data = axis.get_window_extent(), axis.transData.inverted()
        for title in axis.texts:
            box = title.get_bbox_patch().get_window_extent()
            # A title wider than the image keeps its beginning.
            right = max(min(0, inside.x1 - box.x1), inside.x0 - box.x0)
            up = max(min(0, inside.y1 - box.y1), inside.y0 - box.y0)
            place = axis.transData.transform(title.get_position())
            title.set_position(to_data.transform(place + (right, up)))


def _titles(instances: Instances, names: list[str], with_score: bool = True) -> list[str]:
    """Each instance's class name, followed by its score."""
    scores = [f" {score:.2f}" if with_score else "" for score in instances.scores]
    return [f"{names[c]}{score}" for c, score in zip(instances.classes, scores)]


def note(text: str, path) -> None:
    """Write a sentence in place of a plot that has no data."""
    figure = plt.figure(figsize=(5.8, 1.2), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center", wrap=True)
    _save(figure, path)


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an accuracy, mAP50-95 or top-1, with the columns fp32 and int8 for it."""
    table = table.assign(fp32=accuracy(table, "fp32"), int8=accuracy(table))
    return table[table.int8.notna()]


def _with_bars(axis, x, rows: pd.DataFrame, **style) -> None:
    """Plot INT8 accuracy with the 95 % interval of the retention as bars: how far INT8 may be from this FP32 figure."""
    middle = rows.int8.to_numpy()
    low, high = _limits(rows)
    axis.errorbar(x, middle, yerr=np.stack([middle - low, high - middle]), capsize=2, elinewidth=0.8, **style)


def _limits(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the bars of `_with_bars`; the accuracy itself where there is no interval."""
    middle = rows.int8.to_numpy()
    low, high = (rows[column].to_numpy() * rows.fp32 for column in ("retention_low", "retention_high"))
    return np.fmin(low, middle), np.fmax(high, middle)


def _panels(table: pd.DataFrame, column: str):
    count = table[column].nunique()
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.2 * columns + 0.8, 3.4 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for spare in axes.ravel()[count:]:
        spare.remove()
    return figure, axes.ravel()[:count]


def _style(table: pd.DataFrame, head: str, algorithm: str) -> dict:
    label = head if table.algorithm.nunique() == 1 else f"{head}, {algorithm}"
    return {"color": HEAD_COLOURS[head], "marker": MARKERS[algorithm], "label": label}


def _finish(figure, axes, table: pd.DataFrame, title: str, path, last=lambda: None) -> None:
    """Add title, legend and grid; call `last`, which needs the final layout; write the figure."""
    figure.suptitle(title)
    # A run has one task; for boxes the table has no column of it.
    task = table.task.iloc[0] if "task" in table else DEFAULT
    name = "top-1" if has_top1(table) else "mAP50-95"
    axes[0].set_ylabel(name if task == DEFAULT else f"{name} of {get(task).objects}")
    # Below the panels: inside one it would cover points.
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    for axis in axes:
        axis.grid(alpha=0.3)
    last()
    _save(figure, path)


def _save(figure, path) -> None:
    with whole(path) as part:
        figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(figure)
