"""Draws rotated boxes over an image."""

import numpy as np

from lib.detector.instances import Instances
from lib.tasks.detect.drawing import write_title
from lib.tasks.obb.rectangles import corners


def draw(axis, instances: Instances, titles: list[str], colours) -> None:
    """Draw each rotated box in its class's colour, with its title at its highest corner."""
    from matplotlib.patches import Polygon  # takes long to import, and most steps draw nothing

    for points, title, c in zip(corners(instances.extras["rotated"]), titles, instances.classes):
        axis.add_patch(Polygon(points, fill=False, edgecolor=colours(c), linewidth=1.5))
        x, y = points[points[:, 1].argmin()]
        write_title(axis, x, y - 2, title, colours(c))


def outlines(instances: Instances, size: tuple[int, int]) -> list[list[np.ndarray]]:
    """For each instance its rotated box, as one closed line."""
    return [[np.concatenate([points, points[:1]])] for points in corners(instances.extras["rotated"])]
