"""Letterbox the calibration pool to one image size, once for all calibrations of that size.

Makes the folder --output with one PNG per calibration image of --split. The toolkit would stretch images to the input,
but inference letterboxes them, so calibration must too.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from tqdm import tqdm

from lib.data.images import read_image, write_image
from lib.data.imgsz import any_imgsz_argument
from lib.data.letterbox import letterbox
from lib.data.manifest import check_manifest, has_manifest, write_manifest
from lib.data.split import CALIBRATION, read_split
from lib.step.arguments import StepParser
from lib.step.console import say, terminal
from lib.step.errors import run_step
from lib.step.files import require, whole


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--split", required=True, type=Path, metavar="FILE.csv")
    parser.add_argument("--imgsz", required=True, type=any_imgsz_argument, help="WIDTHxHEIGHT, or one number")
    parser.add_output("--output", required=True, metavar="DIR", is_own=has_manifest)
    args = parser.parse_args(argv)
    images = args.dataset / "images"
    pool = read_split(args.split, (CALIBRATION,), require(images, "folder"))
    check_manifest(images, pool)
    with whole(args.output) as part:
        part.mkdir()
        for name in tqdm(pool, desc=f"letterbox {args.imgsz}", file=terminal(), disable=None):
            fitted, _ = letterbox(read_image(images / name), args.imgsz)
            write_image(part / f"{Path(name).stem}.png", fitted)
        write_manifest(part)
    say(f"letterboxed {len(pool)} images to {args.imgsz} in {args.output}")


if __name__ == "__main__":
    sys.exit(run_step(main))
