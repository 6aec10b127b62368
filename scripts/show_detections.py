"""Draw detections side by side, FP32 beside INT8 for each head, on a few held-out images.

Makes --output (PNG) from the folder --run: for the first model, image size and algorithm of the sweep, calibrated on
the most images. The images are the first of the held-out set that have a label. Runs no model: the boxes are those that
quantize.py and detect.py found. Where nothing decodes any of these models the image holds that sentence.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

from lib import tasks
from lib.accuracy.detection_set import DetectionSet, select
from lib.accuracy.undecoded_set import read_evaluated
from lib.data.names import read_names
from lib.results import run_files
from lib.results.plots import UNDECODED, detection_grid, note
from lib.results.sweep import Variant
from lib.step.arguments import StepParser, at_least, sweep_arguments
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR")
    sweep_arguments(parser)
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument("--count", type=at_least(1), default=4, metavar="N", help="of images (default: %(default)s)")
    parser.add_renamed("--images", "--count", type=at_least(1))
    parser.add_renamed("--pictures", "--count", type=at_least(1))
    parser.add_argument("--confidence", type=float, default=0.25, help="draw detections above it")
    parser.add_output("--output", required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    names = read_names(args.names)
    dataset = require(args.run / "dataset", "data set")
    evaluated = {title: (path, read_evaluated(path)) for title, path in shown(args).items()}
    sets = {title: entry for title, entry in evaluated.items() if isinstance(entry[1], DetectionSet)}
    if not sets:
        note(f"{UNDECODED}, so there are no detections", args.output)
        say(f"no detections to show: {args.output}")
        return
    task = tasks.get(next(iter(sets.values()))[1].task)
    images = task.labelled_images(dataset, len(names))[: args.count]
    if not images:
        raise UserError(f"no held-out image of {dataset} has a label, so there is nothing to show")
    columns = {
        title: [select(detections, image, path) for image in images] for title, (path, detections) in sets.items()
    }
    paths = [dataset / "images" / name for name in images]
    detection_grid(paths, columns, names, args.confidence, task.draw, args.output)
    say(f"detections on {len(images)} images: {args.output}")


def shown(args) -> dict[str, Path]:
    """The files of detections to compare, a title each."""
    variants = [
        Variant(args.model[0], args.imgsz[0], head, args.algorithm[0], max(args.max_images)) for head in args.head
    ]
    fp32 = {f"FP32 baseline, {args.model[0]} {args.imgsz[0]}": run_files.fp32_detections(args.run, variants[0])}
    return fp32 | {f"INT8, {variant.head}": run_files.detections(args.run, variant) for variant in variants}


if __name__ == "__main__":
    sys.exit(run_step(main))
