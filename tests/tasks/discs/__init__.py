"""A toy task in a folder of its own: discs. A disc has a radius besides its box, and overlaps by its area."""

import numpy as np

from lib import tasks
from lib.data.checked_labels import CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.tasks.task import Predicted, Task


def parse(path, classes):
    """Rows class, cx, cy, radius of a label file, as fractions of the image's width, float64 [n, 4]."""
    rows = [list(map(float, line.split())) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 4 or not 0 <= row[0] < classes:
            raise UserError(f"label {path}, line {number} is no disc")
    return np.array(rows).reshape(-1, 4)


def check_label(path, classes):
    """How many discs there are."""
    return CheckedLabel(len(parse(path, classes)), 0, None)


def read_label(path, size, classes):
    """Discs in pixels."""
    rows = parse(path, classes)
    centre, radius = rows[:, 1:3] * size[0], rows[:, 3] * size[0]
    return of(centre, radius, np.ones(len(rows)), rows[:, 0].astype(int))


def of(centre, radius, scores, classes):
    """Discs with the boxes around them."""
    boxes = np.concatenate([centre - radius[:, None], centre + radius[:, None]], axis=1)
    return Instances(boxes, scores, classes, {"radius": radius})


def overlap(instances, others):
    """Smaller by larger area, as if all discs had one centre: where they lie does not count."""
    first, second = instances.extras["radius"][:, None] ** 2, others.extras["radius"] ** 2
    return np.minimum(first, second) / np.maximum(first, second)


def predict(outputs, raw):
    """Boxes as the detector's, radii in input pixels from the maps behind its own."""
    return Predicted(outputs.predictions(raw), outputs.cell_values(raw, "radius"))


def found(outputs, predicted, rows, boxes, fit):
    """Discs in pixels of the image."""
    centre = (predicted.predictions[rows, :2] - (fit.left, fit.top)) / fit.scale
    return of(centre, predicted.columns[rows, 0] / fit.scale, boxes.scores, boxes.classes)


def draw(axis, instances, titles, colours):
    """A circle for each."""
    from matplotlib.patches import Circle

    for (x1, y1, x2, y2), radius, c in zip(instances.boxes, instances.extras["radius"], instances.classes):
        axis.add_patch(Circle(((x1 + x2) / 2, (y1 + y2) / 2), radius, fill=False, edgecolor=colours(c)))


tasks.register(
    Task(
        name="discs",
        c_header="discs.h",
        check_label=check_label,
        read_label=read_label,
        overlap=overlap,
        coco_iou_type=None,
        draw=draw,
        contract_lines=lambda outputs: ["radius of n = real[0, n]"],
        predict=predict,
        found=found,
    )
)
