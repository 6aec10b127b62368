"""Draws boxes over an image."""

from lib.detector.instances import Instances


def draw(axis, instances: Instances, names: list[str], colours) -> None:
    """Draw each box in its class's colour, with name and score."""
    from matplotlib.patches import Rectangle  # slow to import, and most steps draw nothing

    for (x1, y1, x2, y2), score, c in zip(instances.boxes, instances.scores, instances.classes):
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colours(c), linewidth=1.5))
        write_title(axis, x1, y1 - 2, names[c], score, colours(c))


def write_title(axis, x: float, y: float, name: str, score: float, colour) -> None:
    """Write an object's name and score, white on its class's colour, with the lower left corner at x, y.

    A label, whose score is 1, has its name alone.
    """
    axis.text(
        x,
        y,
        name if score == 1 else f"{name} {score:.2f}",
        fontsize=6,
        color="white",
        clip_on=True,
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
    )
