"""Judge from a build's facts whether the board will run the model, and what it costs there.

Makes --verdict (JSON: verdict, costs) from --build, as quantize.py writes it. A model that the board would refuse is
told, and is an error with --stop alone.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

from lib.npu.build_log import BuildLog
from lib.npu.timing import CLOCKS, clock, estimator
from lib.npu.verdict import FAILS, Build, costs, described, verdict
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import read_json, write_json


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--build", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--cma-mb", "--cma_mb", required=True, type=at_least(1), help="the board's CMA in MB")
    parser.add_argument(
        "--clock-mhz", "--clock_mhz", required=True, type=clock, help=f"the NPU's clock, or {', '.join(CLOCKS)}"
    )
    parser.add_argument("--measured", required=True, metavar="FILE.csv", help="times that were measured on boards")
    parser.add_argument("--stop", action="store_true", help="end with an error when the verdict is 'fails'")
    parser.add_argument("--verdict", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    facts = read_json(args.build, "platform")
    log = BuildLog.of(facts, args.build)
    judged = verdict(Build(log, args.cma_mb), facts["platform"])
    if args.stop and judged["result"] == FAILS:
        raise UserError(f"{args.build.parent}: {described(judged)}; verdict.stop lets this end the run")
    write_json(
        args.verdict, {"verdict": judged, "costs": costs(log, args.cma_mb, args.clock_mhz, estimator(args.measured))}
    )
    say(f"judged {args.build.parent}: {described(judged)}")


if __name__ == "__main__":
    sys.exit(run_step(main))
