"""Masks over an image, with their boxes."""

import numpy as np

from lib.detector.instances import Instances
from lib.tasks.detect.drawing import draw as draw_boxes
from lib.tasks.segment.masks import MASK, as_rows, decoded

OPACITY = 0.45


def draw(axis, instances: Instances, names: list[str], colours) -> None:
    """Each mask in its class's colour, translucent, the best on top; then the boxes, with name and score.

    `axis` shows the image already, whose size the masks are of.
    """
    height, width = axis.images[0].get_array().shape[:2]
    layer = np.zeros((height, width, 4))
    for c, mask in zip(instances.classes[::-1], instances.extras[MASK][::-1]):
        layer[decoded(as_rows([mask]), (width, height))[0]] = (*colours(c)[:3], OPACITY)
    axis.imshow(layer)
    draw_boxes(axis, instances, names, colours)
