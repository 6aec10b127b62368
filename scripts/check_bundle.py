"""Check a deploy bundle: that nothing in it was changed, and that its decoders find what they should.

Looks at every checksum, at model.json beside model.rknn and model.h, decodes the golden outputs by model.json in
Python, and compiles and runs main.c on them. Writes nothing.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

from lib.bundle import program
from lib.bundle.check import problems
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.supervisor import supervise
from lib.step.words import words


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("bundle", type=Path, metavar="DIR")
    parser.add_argument("--cc", metavar="COMMAND", help="the C compiler; $CC or cc when it is not given")
    parser.add_argument("--emulator", default="", metavar="COMMAND", help="what runs its programs, such as qemu-arm")
    args = parser.parse_args(argv)
    wrong = problems(args.bundle, program.compiler(args.cc), tuple(words(args.emulator, "--emulator")))
    if wrong:
        raise UserError(f"bundle {args.bundle} is not sound: {'; '.join(wrong)}")
    say(f"bundle {args.bundle} is sound: checksums, contract, Python's and C's detections")


if __name__ == "__main__":
    sys.exit(supervise(main))
