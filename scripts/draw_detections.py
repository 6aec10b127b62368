"""Draw the detections that the board's program `detect` printed onto the photo.

Reads its lines of JSON from --detections, or from standard input, and makes --output (PNG) in the photo's size:

    ssh root@BOARD './detect --image 640x480 model.rknn input.rgb' > lines.json
    python scripts/draw_detections.py photo.jpg --bundle DIR --detections lines.json --output drawn.png
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib import tasks
from lib.board.lines import read_lines
from lib.bundle.contract import Contract
from lib.results.plots import drawn_photo
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require


def main(argv=None):
    """Run the command."""
    parser = StepParser(__doc__)
    parser.add_argument("photo", type=Path, metavar="PHOTO")
    parser.add_argument("--bundle", required=True, type=Path, metavar="DIR")
    parser.add_argument("--detections", type=Path, metavar="FILE.json", help="(default: standard input)")
    parser.add_argument(
        "--number", type=at_least(0), default=0, metavar="N", help="which line, counted from 0 (default: 0)"
    )
    parser.add_argument(
        "--confidence", type=float, default=0.0, help="draw only detections with at least this score (default: all)"
    )
    parser.add_output("--output", required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    contract = Contract.of_bundle(args.bundle)
    spec = contract.output_spec()
    text = require(args.detections, "detections").read_bytes() if args.detections else sys.stdin.buffer.read()
    printed = read_lines(text, spec)
    if printed.garbage:
        place = args.detections or "standard input"
        raise UserError(
            f"{place}: '{printed.garbage}' is not a line that `detect` prints; name the file with its lines"
        )
    if args.number >= len(printed.results):
        raise UserError(
            f"the file has the detections of {len(printed.results)} images, counted from 0, so --number cannot be "
            f"{args.number}"
        )
    result = printed.results[args.number]
    shown = result.detections[result.detections.scores >= args.confidence]
    drawn_photo(require(args.photo, "photo"), shown, list(contract.classes), tasks.get(spec.task).draw, args.output)
    say(f"drawn: {len(shown)} detections of {result.image} in {args.output}")


if __name__ == "__main__":
    sys.exit(run_step(main))
