"""Compile a calibrated model to the INT8 `.rknn` that goes onto the board.

Makes --output and --build (JSON: toolkit, platform, size, checksum of what it came from) from the folder that
calibrate.py wrote. The toolkit's table of operators is in --log.
"""

import sys
from pathlib import Path

from lib import toolkit
from lib.console import say
from lib.errors import run_step
from lib.files import require, write_json
from lib.step import StepParser


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--calibrated", required=True, type=Path, metavar="DIR")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=toolkit.ALGORITHMS)
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.rknn")
    parser.add_argument("--build", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    for name in toolkit.CALIBRATED:
        require(args.calibrated / name, "calibration file")
    with toolkit.built(args.calibrated, args.platform, args.algorithm, verbose=True) as rknn:
        toolkit.export(rknn, args.output)
    size = args.output.stat().st_size
    write_json(args.build, {"toolkit": toolkit.version(), "platform": args.platform, "rknn_bytes": size})
    say(f"compiled {args.output}: {size / 1e6:.2f} MB for {args.platform}")


if __name__ == "__main__":
    sys.exit(run_step(main))
