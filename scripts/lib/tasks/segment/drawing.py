"""Draws masks over an image, with their boxes."""

import cv2
import numpy as np

from lib.detector.instances import Instances
from lib.tasks.detect.drawing import draw as draw_boxes
from lib.tasks.segment.masks import MASK, as_rows, decoded
from lib.tasks.task import box_outlines

OPACITY = 0.45
STRAIGHT = 1  # pixels by which a simplified outline may deviate from the mask's edge


def draw(axis, instances: Instances, titles: list[str], colours) -> None:
    """Draw each mask in its class's colour, translucent, the best on top; then the boxes, with their titles.

    `axis` already shows the image, which has the size of the masks.
    """
    height, width = axis.images[0].get_array().shape[:2]
    layer = np.zeros((height, width, 4))
    for c, mask in zip(instances.classes[::-1], instances.extras[MASK][::-1]):
        layer[decoded(as_rows([mask]), (width, height))[0]] = (*colours(c)[:3], OPACITY)
    axis.imshow(layer, extent=axis.images[0].get_extent())
    draw_boxes(axis, instances, titles, colours)


def outlines(instances: Instances, size: tuple[int, int]) -> list[list[np.ndarray]]:
    """For each instance the edges of its mask, as closed lines; for an empty mask the box."""
    masks = (decoded(as_rows([mask]), size)[0] for mask in instances.extras[MASK])
    return [_edges(mask) or box for mask, box in zip(masks, box_outlines(instances, size))]


def _edges(mask: np.ndarray) -> list[np.ndarray]:
    """The outer edges of a mask, bool [height, width]: one closed line per piece."""
    pieces, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    lines = [cv2.approxPolyDP(piece, STRAIGHT, True)[:, 0] for piece in pieces]
    return [np.concatenate([line, line[:1]]) + 0.5 for line in lines]
