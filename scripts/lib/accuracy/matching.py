"""Which detections of one model another one finds again."""

from lib.accuracy.true_positives import Overlap
from lib.detector.instances import Instances

SURE = 0.25  # detections from this score on are compared; Ultralytics' own threshold for showing them
SAME = 0.5  # two instances are one detection from this overlap on


def found_again(ours: Instances, theirs: Instances, overlap: Overlap, least: float = SURE) -> list[tuple[float, float]]:
    """(overlap, change of score) of each sure detection of ours that is among theirs: same class, overlap from SAME on.

    Those with a score of `least` or more are sure. Each of theirs is taken once, by the best of ours.
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
