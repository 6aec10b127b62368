"""Letterbox a photo into the input of a bundle's model, in the form that the board's program `detect` reads.

Prints the bytes to standard output, or writes --output; the call of `detect` for them goes to standard error:

    python scripts/letterbox_image.py photo.jpg --bundle DIR > input.rgb
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.bundle.contract import Contract
from lib.data.images import read_image
from lib.data.letterbox import letterbox
from lib.step.arguments import StepParser
from lib.step.errors import UserError, run_step
from lib.step.files import require, whole


def main(argv=None):
    """Run the command."""
    parser = StepParser(__doc__, opens_log=False)
    parser.add_argument("photo", type=Path, metavar="PHOTO")
    parser.add_argument("--bundle", required=True, type=Path, metavar="DIR")
    parser.add_output("--output", metavar="FILE.rgb", help="(default: standard output)")
    args = parser.parse_args(argv)
    if not args.output and sys.stdout.isatty():
        raise UserError("the bytes of an input cannot be shown on a terminal; add > input.rgb, or --output FILE.rgb")
    given = Contract.of_bundle(args.bundle).input
    fitted, fit = letterbox(read_image(require(args.photo, "photo")), given.imgsz, given.form)
    if args.output:
        with whole(args.output) as part:
            part.write_bytes(fitted.tobytes())
    else:
        sys.stdout.buffer.write(fitted.tobytes())
        sys.stdout.buffer.flush()
    call = f"./detect --image {fit.source[0]}x{fit.source[1]} model.rknn {args.output or 'input.rgb'}"
    print(f"letterboxed for {call}", file=sys.stderr)  # standard output may be the input


if __name__ == "__main__":
    sys.exit(run_step(main))
