"""Measure accuracy from detections and labels: COCO mAP50-95 and mAP50, over all classes and for each class.

Makes --metrics (JSON) from --detections, with the interval that contains mAP50-95 for 95 % of the --resamples of the
images. If --resampled is given, also writes the mAP50-95 of each resample, for comparing models. With --baseline, which
is that file for the FP32 model, the metrics also contain the retention (mAP50-95 divided by the baseline's) with its
interval, from the same resamples for both. --operating says what the confidence threshold is chosen for: the best F1
(f1=best), a minimum precision (precision=0.95), or a maximum number of false alarms per image (false_per_image=0.1).
If the model's outputs are not decoded there is no mAP; the metrics then say how similar the outputs are to FP32's. For
a classifier, and labels of whole images, they contain top-1 and top-5, and the retention is that of top-1.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.accuracy.evaluation import Choices, compared, evaluate
from lib.accuracy.metrics import ComparedMetrics
from lib.accuracy.operating import Wish, add_operating_option, in_words
from lib.accuracy.resampled_map import read_resampled, write_resampled
from lib.accuracy.undecoded_set import read_evaluated
from lib.data.keypoints import add_sigmas_option, keypoint_sigmas
from lib.data.names import read_names
from lib.step.arguments import MOST_RESAMPLES, StepParser, at_least
from lib.step.console import say
from lib.step.errors import run_step


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--detections", required=True, type=Path, metavar="FILE.npz")
    parser.add_argument("--baseline", type=Path, metavar="FILE.npz", help="the FP32 model's --resampled")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument("--resamples", required=True, type=at_least(1, MOST_RESAMPLES), metavar="N")
    parser.add_argument("--seed", required=True, type=at_least(0), help="seed of the resamples")
    add_sigmas_option(parser)
    add_operating_option(parser)
    parser.add_output("--metrics", required=True, metavar="FILE.json")
    parser.add_output("--resampled", metavar="FILE.npz")
    args = parser.parse_args(argv)
    names = read_names(args.names)
    detections = read_evaluated(args.detections)
    sigmas = keypoint_sigmas(args.oks_sigmas, "--oks-sigmas (evaluation.oks_sigmas)")
    choices = Choices(sigmas, Wish.parse(args.operating))
    metrics, resampled = evaluate(detections, args.dataset, names, args.resamples, args.seed, choices)
    if args.baseline:
        metrics = compared(metrics, resampled, read_resampled(args.baseline))
    if metrics.top1 is not None:
        limits = f"{metrics.top1_low:.3f} to {metrics.top1_high:.3f}"
        summary = f"top-1 {metrics.top1:.4f} ({limits}), top-5 {metrics.top5:.4f}"
    else:
        summary = f"no mAP, {metrics.undecoded}" if metrics.undecoded else f"mAP50-95 {metrics.map50_95:.4f}"
    if metrics.box_map50_95 is not None:
        summary += f" ({metrics.task}), boxes {metrics.box_map50_95:.4f}"
    if isinstance(metrics, ComparedMetrics) and metrics.retention is not None:
        limits = f"{metrics.retention_low:.3f} to {metrics.retention_high:.3f}"
        summary += f", {metrics.retention:.3f} of FP32 ({limits})"
    if args.resampled:
        write_resampled(args.resampled, resampled)
    metrics.write(args.metrics)
    threshold = f"; {in_words(metrics.operating)}" if metrics.operating else ""
    say(f"evaluated {args.metrics}: {summary} on {metrics.images} images{threshold}")


if __name__ == "__main__":
    sys.exit(run_step(main))
