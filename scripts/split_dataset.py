"""Split a data set into the calibration pool and the evaluation set, which share no image.

Makes --output (CSV: image, part) from the images in --dataset; --calibration of them, drawn by --seed, are the
pool, all others the evaluation set.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

from lib.data.image_paths import image_paths
from lib.data.split import split, write_split
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import require


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--calibration", required=True, type=at_least(1), metavar="N", help="images in the pool")
    parser.add_argument("--seed", required=True, type=at_least(0))
    parser.add_output("--output", required=True, metavar="FILE.csv")
    args = parser.parse_args(argv)
    folder = require(args.dataset / "images", "folder of images")
    images = [path.name for path in image_paths(folder)]
    write_split(args.output, split(images, args.calibration, args.seed))
    say(f"split {args.output}: {args.calibration} for calibration, {len(images) - args.calibration} for evaluation")


if __name__ == "__main__":
    sys.exit(run_step(main))
