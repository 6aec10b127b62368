"""Judge from a build's facts whether the board will run the model, and what it will cost.

Makes --verdict (JSON: verdict, costs) from --build, which quantize.py writes. A model that the board would refuse is
reported; it is an error only with --stop.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.detector.head import ALL_HEADS, SPLIT
from lib.npu.build import Build
from lib.npu.timing import CLOCKS, clock, estimator
from lib.npu.verdict import FAILS, Judgement, add_camera_option, costs, verdict
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--build", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--head", choices=ALL_HEADS, default=SPLIT, help="head of the model (default: %(default)s)")
    parser.add_argument("--cma-mb", "--cma_mb", required=True, type=at_least(1), help="the board's CMA in MB")
    add_camera_option(parser)
    parser.add_argument(
        "--clock-mhz", "--clock_mhz", required=True, type=clock, help=f"the NPU's clock, or {', '.join(CLOCKS)}"
    )
    parser.add_argument("--measured", required=True, metavar="FILE.csv", help="times measured on boards")
    parser.add_argument("--stop", action="store_true", help="end with an error when the verdict is 'fails'")
    parser.add_output("--verdict", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    build = Build.read(args.build)
    judged = verdict(build, args.cma_mb, args.head, args.camera_mb)
    if args.stop and judged.result == FAILS:
        raise UserError(f"{args.build.parent}: verdict {judged.line}; the run ends here because verdict.stop is set")
    spent = costs(build, args.cma_mb, args.clock_mhz, estimator(args.measured))
    Judgement(judged, spent).write(args.verdict)
    say(f"judged {args.build.parent}: verdict {judged.line}")


if __name__ == "__main__":
    sys.exit(run_step(main))
