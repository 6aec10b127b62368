"""Boxes over an image."""

from lib.detector.instances import Instances


def draw(axis, instances: Instances, names: list[str], colours) -> None:
    """Each box in its class's colour, with name and score."""
    from matplotlib.patches import Rectangle  # takes long to import, and most steps draw nothing

    for (x1, y1, x2, y2), score, c in zip(instances.boxes, instances.scores, instances.classes):
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colours(c), linewidth=1.5))
        write_title(axis, x1, y1 - 2, f"{names[c]} {score:.2f}", colours(c))


def write_title(axis, x: float, y: float, text: str, colour) -> None:
    """An object's name and score, white on its class's colour, from the point x, y on."""
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
