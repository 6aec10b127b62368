"""Find the recommended variant's errors, image by image, and draw the worst images.

Makes --errors (JSON) and --output (PNG) from the folder --run. The variant is the one that its table recommends, or the
most accurate one if none runs. Detections count above the variant's suggested threshold, or --confidence, in INT8
and in FP32. --errors has the false detections and missed objects of every evaluation image, worst first, the confusion
matrix, and what to draw over the worst images and those that INT8 changes most. --output shows the worst images:
labels, FP32 baseline, INT8 model. No model is run: the detections are from quantize.py and detect.py. If the variant is
not decoded, --output says so.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib import tasks
from lib.accuracy.detection_set import DetectionSet, read_detections
from lib.accuracy.labels import labels_of
from lib.accuracy.undecoded_set import read_evaluated
from lib.data.keypoints import add_sigmas_option, keypoint_sigmas
from lib.data.names import read_names
from lib.results import run_files
from lib.results.choice import focus
from lib.results.detection_errors import DetectionErrors, Evaluated, detection_errors
from lib.results.plots import LABELS, NO_DETECTIONS, detection_grid, note
from lib.results.sweep import Variant, variants
from lib.results.table import read_table, variant_of
from lib.results.variant_results import VariantResults
from lib.step.arguments import StepParser, at_least, sweep_arguments
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require
from lib.tasks.task import Task


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR")
    sweep_arguments(parser)
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument(
        "--count", type=at_least(1), default=4, metavar="N", help="number of images (default: %(default)s)"
    )
    parser.add_renamed("--images", "--count", type=at_least(1))
    parser.add_renamed("--pictures", "--count", type=at_least(1))
    parser.add_argument("--confidence", type=float, help="count detections above it (default: the suggested threshold)")
    add_sigmas_option(parser)
    parser.add_output("--output", required=True, metavar="FILE.png")
    parser.add_output("--errors", metavar="FILE.json")
    args = parser.parse_args(argv)
    names = read_names(args.names)
    swept = variants(args.model, args.imgsz, args.head, args.algorithm, args.max_images)
    # Not from table.csv, so that this step need not wait for it.
    table = read_table(args.run, swept)
    variant = variant_of(table.loc[focus(table)])
    operating = VariantResults(args.run, variant).int8.operating
    int8 = read_evaluated(run_files.detections(args.run, variant))
    if not isinstance(int8, DetectionSet) or operating is None:
        note(NO_DETECTIONS, args.output)
        errors = DetectionErrors(variant, None)
        summary = "no detections to show"
    else:
        images = evaluated(args, variant, int8, len(names))
        task = tasks.get(int8.task)
        threshold = operating.point.threshold if args.confidence is None else args.confidence
        errors = detection_errors(variant, threshold, names, images, task)
        grid(errors, images, names, task, args)
        summary = f"{sum(of_image.errors for of_image in errors.images)} errors in {len(images)} images"
    if args.errors:
        errors.write(args.errors)
    say(f"{variant.title()}: {summary}: {args.output}")


def evaluated(args, variant: Variant, int8: DetectionSet, classes: int) -> list[Evaluated]:
    """Each evaluation image with its labels and detections. Raises UserError when FP32 had other images."""
    path = run_files.fp32_detections(args.run, variant)
    fp32 = read_detections(path)
    if (fp32.images, fp32.task) != (int8.images, int8.task):
        raise UserError(f"{path} is for other images or another task; delete it and run its step again")
    sigmas = keypoint_sigmas(args.oks_sigmas, "--oks-sigmas (evaluation.oks_sigmas)")
    labels = labels_of(int8, require(args.run / "dataset", "data set"), classes, sigmas)
    return list(map(Evaluated, int8.images, int8.sizes, labels, int8.instances, fp32.instances))


def grid(errors: DetectionErrors, images: list[Evaluated], names: list[str], task: Task, args) -> None:
    """Draw labels, FP32 baseline and INT8 model side by side, for the worst images."""
    by_name = {of_image.image: of_image for of_image in images}
    worst = [by_name[drawn.image] for drawn in errors.drawn[: args.count]]
    columns = {
        LABELS: [of_image.labels for of_image in worst],
        "FP32 baseline": [of_image.fp32 for of_image in worst],
        "INT8": [of_image.int8 for of_image in worst],
    }
    paths = [args.run / "dataset" / "images" / of_image.image for of_image in worst]
    detection_grid(paths, columns, names, errors.threshold, task.draw, args.output)


if __name__ == "__main__":
    sys.exit(run_step(main))
