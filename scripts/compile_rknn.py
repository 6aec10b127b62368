"""Compile a calibrated model to the INT8 `.rknn` that goes onto the board, and judge whether the board will run it.

Makes --output and --build (JSON: toolkit, platform, every operator, memory, costs, the toolkit's complaints, verdict)
from the folder that calibrate.py wrote. The facts are read from --log, the toolkit's own account of the build. A model
that the board would refuse is written all the same, unless --stop is given.
"""

import sys
from pathlib import Path

from lib.npu import toolkit
from lib.npu.build_log import read_build_log
from lib.npu.verdict import FAILS, Build, costs, described, verdict
from lib.step.arguments import StepParser, at_least, console
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require, write_json


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__, reads_log=True)
    parser.add_argument("--calibrated", required=True, type=Path, metavar="DIR")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=toolkit.ALGORITHMS)
    parser.add_argument("--cma-mb", "--cma_mb", required=True, type=at_least(1), help="the board's CMA in MB")
    parser.add_argument("--clock-mhz", "--clock_mhz", required=True, type=at_least(1), help="the NPU's clock")
    parser.add_argument("--stop", action="store_true", help="end with an error when the verdict is 'fails'")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.rknn")
    parser.add_argument("--build", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    for name in toolkit.CALIBRATED:
        require(args.calibrated / name, "calibration file")
    printed = console.transcript()
    with toolkit.built(args.calibrated, args.platform, args.algorithm, verbose=True) as rknn:
        log = read_build_log(printed())
        judged = verdict(Build(log, args.cma_mb), args.platform)
        if args.stop and judged["result"] == FAILS:
            raise UserError(f"{args.output}: {described(judged)}; verdict.stop lets this end the run")
        toolkit.export(rknn, args.output)
    size = args.output.stat().st_size
    facts = {
        "toolkit": toolkit.version(),
        "platform": args.platform,
        "rknn_bytes": size,
        "npu_mcycles": log.cycles / 1e6,
        **log._asdict(),
        "costs": costs(log, args.cma_mb, args.clock_mhz),
        "verdict": judged,
    }
    write_json(args.build, facts)
    say(f"compiled {args.output}: {size / 1e6:.2f} MB for {args.platform}; {described(judged)}")


if __name__ == "__main__":
    sys.exit(run_step(main))
