"""Measure the value ranges that INT8 needs: the toolkit's first step, the slow one, once a variant.

Makes the folder --output (calibrated.model, .data, .quantization.cfg) from the ONNX --model on the letterboxed pictures
listed in --images.
"""

import sys
from pathlib import Path

from lib.npu import toolkit
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--model", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--images", required=True, type=Path, metavar="FILE.txt")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=toolkit.ALGORITHMS)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    require(args.model, "model")
    lines = require(args.images, "calibration list").read_text().splitlines()
    pictures = [require(args.images.parent / line, "calibration picture") for line in lines]
    if not pictures:
        raise UserError(f"calibration list {args.images} is empty")
    toolkit.calibrate(args.model, pictures, args.platform, args.algorithm, args.output)
    say(f"calibrated {args.output}: {args.algorithm}, {len(pictures)} pictures, {args.platform}")


if __name__ == "__main__":
    sys.exit(run_step(main))
