"""Places the names of points in a plot so that they cover neither points nor bars nor each other."""

from collections.abc import Iterable

import numpy as np
from matplotlib.transforms import Bbox

# Directions from a point to its name, in degrees; below it first.
DIRECTIONS = np.deg2rad([270, 90, 315, 225, 45, 135, 0, 180, 293, 247, 67, 113, 338, 202, 22, 158])
DISTANCES = (7, 12, 18, 26, 36, 48, 62, 80, 100, 125)  # from a point to its name, in pixels
GAP = 2  # pixels between two names
FAR = 12  # pixels from which on a line connects a point and its name


def name_points(axis, points: list[tuple[float, float]], names: list[str], obstacles: Iterable[Bbox], **style) -> list:
    """Write the name of each point, given in the axis's data coordinates, in a free place; returns the annotations.

    The figure's size, its dpi and the axis's limits must be final. obstacles: boxes in pixels to keep clear of. A name
    without a free place is put where it covers least.
    """
    figure = axis.figure
    figure.draw_without_rendering()
    taken, inside, annotations = list(obstacles), axis.get_window_extent(), []
    for point, name in zip(points, names):
        annotation = axis.annotate(name, point, xytext=(0, 0), textcoords="offset pixels", ha="center", va="center")
        annotation.set(**style)
        # Names must not change the axis's limits, since they are placed by them.
        annotation.set_in_layout(False)
        size = annotation.get_window_extent()
        offset, box = _place(axis.transData.transform(point), size.width, size.height, taken, inside)
        annotation.set_position(offset)
        if np.hypot(*_to_edge(offset, size.width, size.height)) > FAR:
            axis.annotate(
                "", point, xytext=_to_edge(offset, size.width, size.height), textcoords="offset pixels",
                arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
            ).set_in_layout(False)  # fmt: skip
        taken.append(box)
        annotations.append(annotation)
    return annotations


def _place(point: np.ndarray, width: float, height: float, taken: list[Bbox], inside: Bbox) -> tuple:
    """The offset of a name's centre from its point, and its box: the nearest free place, or the one covering least."""
    best = None
    for distance in DISTANCES:
        for angle in DIRECTIONS:
            way = np.array([np.cos(angle), np.sin(angle)]).round(3)
            offset = way * (distance + np.array([width, height]) / 2)
            corner = point + offset - np.array([width, height]) / 2
            box = Bbox.from_bounds(*corner - GAP, width + 2 * GAP, height + 2 * GAP)
            covered = sum(_shared(box, other) for other in taken) + box.width * box.height - _shared(box, inside)
            if best is None or covered < best[0] - 0.5:
                best = covered, tuple(map(float, offset)), box
            if covered < 0.5:
                return best[1:]
    return best[1:]


def _shared(box: Bbox, other: Bbox) -> float:
    """The area of the intersection of two boxes, in square pixels."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return max(width, 0) * max(height, 0)


def _to_edge(offset: tuple[float, float], width: float, height: float) -> tuple[float, float]:
    """The point of a name's box, which is at `offset`, that is nearest to the named point."""
    x, y = offset
    return (
        float(np.sign(x) * max(abs(x) - width / 2, 0)),
        float(np.sign(y) * max(abs(y) - height / 2, 0)),
    )
