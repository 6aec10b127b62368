"""Check a deploy bundle: that nothing was changed, and that its decoders make the expected detections.

Checks every checksum, compares model.json with model.rknn and model.h, decodes the golden outputs in Python as
model.json says, and compiles and runs main.c on them. Writes nothing.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.bundle import program
from lib.bundle.check import expected_detections, problems
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.supervisor import supervise
from lib.step.words import words

SHOWN = 12  # problems


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("bundle", type=Path, metavar="DIR")
    parser.add_argument("--cc", metavar="COMMAND", help="the C compiler (default: $CC, or cc)")
    parser.add_argument(
        "--emulator", default="", metavar="COMMAND", help="command that runs the compiled program, such as qemu-arm"
    )
    args = parser.parse_args(argv)
    wrong = problems(args.bundle, program.compiler(args.cc), tuple(words(args.emulator, "--emulator")))
    if wrong:
        more = [f"{len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        listed = "".join(f"\n  {problem}" for problem in [*wrong[:SHOWN], *more])
        raise UserError(f"bundle {args.bundle} is not sound, so make or copy it again:{listed}")
    empty = "" if expected_detections(args.bundle) else " (none: golden/detections.txt is empty)"
    say(f"bundle {args.bundle} is sound: checksums, contract, Python's and C's detections{empty}")


if __name__ == "__main__":
    sys.exit(supervise(main))
