"""Draws boxes over an image."""

from lib.detector.instances import Instances


def draw(axis, instances: Instances, titles: list[str], colours) -> None:
    """Draw each box in its class's colour, with its title."""
    from matplotlib.patches import Rectangle  # slow to import, and most steps draw nothing

    for (x1, y1, x2, y2), title, c in zip(instances.boxes, titles, instances.classes):
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colours(c), linewidth=1.5))
        write_title(axis, x1, y1 - 2, title, colours(c))


def write_title(axis, x: float, y: float, text: str, colour) -> None:
    """Write an object's title, white on its class's colour, with the lower left corner at x, y."""
    axis.text(
        x,
        y,
        text,
        fontsize=6,
        color="white",
        clip_on=True,
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
    )
