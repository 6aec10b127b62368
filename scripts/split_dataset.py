"""Split a data set into the calibration pool and the evaluation set, which share no picture.

Makes --output (CSV: image, part) from the pictures in --dataset; --calibration of them, drawn by --seed, are the
pool, all others the evaluation set.
"""

import sys
from pathlib import Path

from lib.data.image_paths import picture_paths
from lib.data.split import split, write_split
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import require


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--calibration", required=True, type=at_least(1), metavar="N", help="pictures in the pool")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, metavar="FILE.csv")
    args = parser.parse_args(argv)
    images = require(args.dataset / "images", "picture folder")
    pictures = [path.name for path in picture_paths(images)]
    write_split(args.output, split(pictures, args.calibration, args.seed))
    say(f"split {args.output}: {args.calibration} for calibration, {len(pictures) - args.calibration} for evaluation")


if __name__ == "__main__":
    sys.exit(run_step(main))
