"""Draws keypoints over an image: a person's as a skeleton, others as points."""

import numpy as np

from lib.detector.instances import Instances
from lib.tasks.detect.drawing import draw as draw_boxes
from lib.tasks.pose.keypoints import KEYPOINTS
from lib.tasks.task import box_outlines

# Which two of the 17 keypoints of COCO's person a line joins. Source: `skeleton` of the category in
# person_keypoints_val2017.json (https://cocodataset.org/#format-data), counted from 0.
SKELETON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
PERSON = 17
SHOWN = 0.25  # the least visibility of a drawn keypoint, as in Ultralytics (utils/plotting.py, `kpts`)


def draw(axis, instances: Instances, titles: list[str], colours) -> None:
    """Draw each box with its title, its keypoints, and the lines between visible ones."""
    draw_boxes(axis, instances, titles, colours)
    for keypoints, c in zip(instances.extras[KEYPOINTS], instances.classes):
        for ends in _limbs(keypoints):
            axis.plot(ends[:, 0], ends[:, 1], color=colours(c), linewidth=1.2)
        points = keypoints[keypoints[:, 2] >= SHOWN, :2]
        axis.scatter(*points.T, s=7, color=[colours(c)], edgecolors="white", linewidths=0.4, zorder=3)


def outlines(instances: Instances, size: tuple[int, int]) -> list[list[np.ndarray]]:
    """For each instance its box, the lines between visible keypoints, and these keypoints as dots."""
    boxes = box_outlines(instances, size)
    return [
        [*box, *_limbs(keypoints), *keypoints[keypoints[:, 2] >= SHOWN, None, :2]]
        for box, keypoints in zip(boxes, instances.extras[KEYPOINTS])
    ]


def _limbs(keypoints: np.ndarray) -> list[np.ndarray]:
    """The two ends [2, 2] of each line of the skeleton of keypoints [K, 3] whose ends are both visible."""
    visible = keypoints[:, 2] >= SHOWN
    lines = SKELETON if len(keypoints) == PERSON else ()
    return [keypoints[[first, second], :2] for first, second in lines if visible[first] and visible[second]]
