"""Split a data set into the calibration pool and the evaluation set, which share no image.

Makes --output (CSV: image, part) from the images in --dataset; --calibration of them, drawn by --seed, are the
pool, all others the evaluation set. If fetch_dataset.py has already drawn the pool (parts.csv), that pool is used.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.data.image_paths import image_paths
from lib.data.manifest import same_files
from lib.data.parts import pool_of, read_parts
from lib.data.split import CALIBRATION, EVALUATION, split, write_split
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
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
    pool = pool_of(read_parts(args.dataset / "parts.csv"))
    parts = split(images, args.calibration, args.seed) if pool is None else taken_over(images, pool, args.calibration)
    shared = [names for names in same_files(folder) if len({parts.get(name) for name in names}) > 1]
    if shared:
        say(
            f"WARNING: {len(shared)} images are in the calibration pool and in the evaluation set, under two names: "
            + ", ".join(" = ".join(names) for names in shared[:5])
        )
    write_split(args.output, parts)
    say(f"split {args.output}: {args.calibration} for calibration, {len(images) - args.calibration} for evaluation")


def taken_over(images: list[str], pool: list[str], calibration: int) -> dict[str, str]:
    """A split with a pool that is already drawn, `{image: part}`. Raises UserError for another number of images."""
    if len(pool) != calibration:
        raise UserError(
            f"split.calibration asks for {calibration} images, but fetch_dataset.py has drawn {len(pool)}; run it again"
        )
    return {image: CALIBRATION if image in set(pool) else EVALUATION for image in sorted(images)}


if __name__ == "__main__":
    sys.exit(run_step(main))
