"""Instances in one image: its detections or its labels."""

from dataclasses import dataclass, field

import numpy as np

# The extra for labels that do not count, uint8 [n]: 0 for a label that counts, else the rule that it is ignored by.
IGNORED = "ignored"
IGNORED_DIFFICULT = 1  # Pascal VOC: ignores a detection that overlaps the label enough to find it
IGNORED_CROWD = 2  # COCO: ignores a detection of which a large enough part is inside
IGNORED_UNLABELLED = 3  # COCO: ignores one detection, that of an object without labelled keypoint; as a box it counts
# The extra for labels with keypoints, float64 [n, K]: OKS's sigmas, how far off each may be; without it COCO's.
SIGMAS = "sigmas"


@dataclass(frozen=True)
class Instances:
    """Instances in one image, detections best first: boxes [n, 4] x1, y1, x2, y2 in pixels of the image, scores [n],
    classes [n].

    extras: what the task adds, by name; each an array of n rows (keypoints, mask coefficients, an angle). Raises
    ValueError when an array does not have n rows.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    extras: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        rows = {len(self.boxes), len(self.scores), len(self.classes), *map(len, self.extras.values())}
        if len(rows) != 1 or self.boxes.shape[1:] != (4,):
            shapes = [rows.shape for rows in (self.boxes, self.scores, self.classes, *self.extras.values())]
            raise ValueError(f"instances need boxes [n, 4] and as many scores, classes and extras, not {shapes}")

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows) -> "Instances":
        """The instances of `rows`: a slice, indices, or a mask [n]."""
        extras = {name: values[rows] for name, values in self.extras.items()}
        return Instances(self.boxes[rows], self.scores[rows], self.classes[rows], extras)


def nothing() -> Instances:
    """No instances, for an image of background."""
    return Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))


def concatenate(parts: list[Instances]) -> Instances:
    """The instances of several images joined; all of one task, so with the same extras."""
    columns = zip(*((part.boxes, part.scores, part.classes) for part in parts))
    extras = {name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras}
    return Instances(*map(np.concatenate, columns), extras)
