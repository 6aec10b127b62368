"""Which detections of one model another model makes too."""

from lib.accuracy.true_positives import Overlap
from lib.detector.instances import Instances

SURE = 0.25  # detections with at least this score are compared; Ultralytics' threshold for showing detections
SAME = 0.5  # with at least this overlap, two instances are the same detection


def found_again(ours: Instances, theirs: Instances, overlap: Overlap, least: float = SURE) -> list[tuple[float, float]]:
    """(overlap, change of score) of each sure detection of ours that is also in theirs: same class, overlap >= SAME.

    Sure means a score of at least `least`. Each of theirs is matched once, with the best of ours.
    """
    sure = ours[ours.scores >= least]
    if not len(theirs):
        return []
    overlaps = overlap(sure, theirs) * (sure.classes[:, None] == theirs.classes)
    pairs = []
    for score, row in zip(sure.scores, overlaps):
        best = int(row.argmax())
        if row[best] >= SAME:
            pairs.append((float(row[best]), float(theirs.scores[best] - score)))
            overlaps[:, best] = 0
    return pairs
