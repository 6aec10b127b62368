"""Keypoints over an image: a person's joined to a skeleton, others as points."""

from lib.detector.instances import Instances
from lib.tasks.detect.drawing import draw as draw_boxes
from lib.tasks.pose.keypoints import KEYPOINTS

# COCO's person, of 17 keypoints: which two a line joins. Source: `skeleton` of the category in
# person_keypoints_val2017.json (https://cocodataset.org/#format-data), counted from 0.
SKELETON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
PERSON = 17
SHOWN = 0.25  # the visibility from which a keypoint is drawn, as Ultralytics does it (utils/plotting.py, `kpts`)


def draw(axis, instances: Instances, names: list[str], colours) -> None:
    """Each box with name and score, its keypoints, and the lines between two that are visible."""
    draw_boxes(axis, instances, names, colours)
    for keypoints, c in zip(instances.extras[KEYPOINTS], instances.classes):
        visible = keypoints[:, 2] >= SHOWN
        for first, second in SKELETON if len(keypoints) == PERSON else ():
            if visible[first] and visible[second]:
                ends = keypoints[[first, second]]
                axis.plot(ends[:, 0], ends[:, 1], color=colours(c), linewidth=1.2)
        axis.scatter(*keypoints[visible, :2].T, s=7, color=[colours(c)], edgecolors="white", linewidths=0.4, zorder=3)
