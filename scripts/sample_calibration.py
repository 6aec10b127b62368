"""Choose the calibration images: --max-images of the letterboxed pool, drawn by --seed.

Makes --output, a text file: the number of images, then one path per line, relative to that file. Samples are nested: a
smaller one is the beginning of a larger one.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import os
from pathlib import Path

from lib.data.calibration_list import calibration_list
from lib.data.image_paths import image_paths
from lib.data.manifest import check_manifest
from lib.data.split import shuffled
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require, write_text


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--pool", required=True, type=Path, metavar="DIR", help="the letterboxed calibration pool")
    parser.add_argument("--max-images", required=True, type=at_least(1), metavar="N")
    parser.add_argument("--seed", required=True, type=at_least(0))
    parser.add_output("--output", required=True, type=Path, metavar="FILE.txt")
    args = parser.parse_args(argv)
    pool = [path.name for path in image_paths(require(args.pool, "pool"))]
    check_manifest(args.pool, [])
    if args.max_images > len(pool):
        raise UserError(
            f"max_images asks for {args.max_images} calibration images, but the pool {args.pool} has {len(pool)}; "
            "ask for fewer or raise split.calibration"
        )
    folder = os.path.relpath(args.pool, args.output.parent)
    chosen = shuffled(pool, args.seed)[: args.max_images]
    write_text(args.output, calibration_list([f"{folder}/{name}" for name in chosen]))
    say(f"calibration sample {args.output}: {len(chosen)} of {len(pool)} images")


if __name__ == "__main__":
    sys.exit(run_step(main))
