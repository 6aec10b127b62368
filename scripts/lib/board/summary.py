"""board.json: the board's results for one variant, compared with the simulator's."""

import numpy as np

from lib import tasks
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.matching import SURE, found_again
from lib.accuracy.metrics import Metrics
from lib.accuracy.undecoded_set import UndecodedSet
from lib.board.run import BoardRun
from lib.npu.verdict import FAILS, RUNS, Verdict
from lib.results.board_results import RAN, REFUSED, BoardAgreement, ImageDifference, RanOnBoard, RefusedByBoard, Times
from lib.step.errors import UserError

WORST = 5  # number of images that are listed as the worst
OTHER_IMAGES = "the simulator and the board had different images; run the variant's quantize step again"
QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}


def detection_set(run: BoardRun) -> DetectionSet:
    """The board's detections, in the format that evaluate.py reads."""
    results = run.results
    return DetectionSet(
        [result.image for result in results], run.sizes, [result.detections for result in results], run.task
    )


def refused(words: str, verdict: Verdict, build: dict[str, str]) -> RefusedByBoard:
    """The summary of a model that the board refused, with the runtime's message; `build` identifies the build."""
    return RefusedByBoard(REFUSED, words, verdict.result, _was(verdict, False), **build)


def ran_well(
    run: BoardRun, agreement: BoardAgreement, metrics: Metrics, verdict: Verdict, measured: str, build: dict[str, str]
) -> RanOnBoard:
    """The summary of a run: times in ms with their 5th and 95th percentile, agreement with the simulator, metrics.

    `metrics` are those of the board's detections, `measured` is the run as a row for config/measured.csv, and `build`
    identifies the build (rknn_sha256, toolkit).
    """
    return RanOnBoard(
        result=RAN,
        verdict=verdict.result,
        verdict_was=_was(verdict, True),
        runtime=run.runtime.runtime,
        driver=run.runtime.driver,
        init_ms=round(run.runtime.init_us / 1e3, 2),
        run_ms=_spread([result.run_us for result in run.results]),
        decode_ms=_spread([result.decode_us for result in run.results]),
        repeated_ms=_spread(run.repeated_us),
        agreement=agreement,
        outputs=tuple(run.outputs),
        diverging=next((output.name for output in run.outputs if output.share), None),
        metrics=metrics.to_json(),
        measured=measured,
        **build,
    )


def class_agreement(simulated: UndecodedSet, board: UndecodedSet) -> BoardAgreement:
    """Compare the best class of each image. Raises UserError for different images, or if the simulator has no classes.

    The images that differ are `worst`, the first WORST of them.
    """
    if simulated.images != board.images or simulated.best is None:
        raise UserError(OTHER_IMAGES)
    differ = simulated.best[:, 0] != board.best[:, 0]
    worst = [ImageDifference(image, 1, None, None) for image, apart in zip(board.images, differ) if apart]
    return BoardAgreement(0.0, len(differ), float(1 - differ.mean()), None, None, tuple(worst[:WORST]))


def agreement_with_simulator(simulated: DetectionSet, board: DetectionSet) -> BoardAgreement:
    """Compare the board's detections with the simulator's.

    Detections with a score of at least SURE are compared. Two are the same if they have the same class and an IoU of at
    least 0.5. The result has the `share` (0..1) of all detections that both make (1.0 if there are none), the smallest
    IoU and the largest difference in score among these, and the images that differ most. Raises UserError for different
    images.
    """
    if simulated.images != board.images:
        raise UserError(OTHER_IMAGES)
    overlap_of = tasks.get(board.task).overlap
    both = either = 0
    lowest, largest, worst = 1.0, 0.0, []
    for image, ours, theirs in zip(board.images, simulated.instances, board.instances):
        # A detection above SURE counts as found if the other side made it with any score.
        pairs = found_again(ours, theirs, overlap_of)
        shown = int((ours.scores >= SURE).sum())
        added = int((theirs.scores >= SURE).sum()) - len(found_again(theirs, ours, overlap_of))
        both += len(pairs)
        either += shown + added
        overlap = min((pair[0] for pair in pairs), default=1.0)
        score = max((abs(pair[1]) for pair in pairs), default=0.0)
        lowest, largest = min(lowest, overlap), max(largest, score)
        missed = shown - len(pairs) + added
        worst.append(ImageDifference(image, missed, round(overlap, 4), round(score, 4)))
    worst = [image for image in worst if image.missed or image.iou < 1 or image.score > 0]
    worst.sort(key=lambda image: (-image.missed, image.iou, -image.score))
    return BoardAgreement(
        confidence=SURE,
        detections=either,
        share=both / either if either else 1.0,
        iou=round(lowest, 4),
        score=round(largest, 4),
        worst=tuple(worst[:WORST]),
    )


def _was(verdict: Verdict, runs: bool) -> str:
    """Whether the verdict was right, by the board's result; `undecided` for a verdict of unsure."""
    if verdict.result not in (RUNS, FAILS):
        return "undecided"
    return "right" if (verdict.result == RUNS) == runs else "wrong"


def _spread(times_us: list[int]) -> Times | None:
    """Median and percentiles of times, in ms; None when there are none."""
    if not times_us:
        return None
    values = {name: float(np.quantile(times_us, share)) for name, share in QUANTILES.items()}
    return Times(**{name: round(value / 1e3, 3) for name, value in values.items()}, count=len(times_us))
