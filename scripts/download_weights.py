"""Bring a model's weights from the first source that works, checked against their SHA-256.

Makes the file --output from --weights (URLs or paths, tried in order), and OUTPUT.sha256 (as sha256sum writes it)
beside it. The checksum is not optional: loading a checkpoint runs code that is in it.
"""

import sys
from pathlib import Path

from lib.console import say
from lib.errors import UserError, run_step
from lib.files import write_text
from lib.sources import fetch, missing_checksum
from lib.step import StepParser


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--weights", nargs="+", required=True, metavar="SOURCE", help="URLs or paths, tried in order")
    parser.add_argument("--sha256", default="", help="SHA-256 of the file, in hex")
    parser.add_argument("--output", required=True, metavar="FILE.pt")
    args = parser.parse_args(argv)
    if not args.sha256:
        raise UserError(missing_checksum(args.weights))
    source = fetch(args.weights, args.output, args.sha256, "models.<name>.weights")
    write_text(f"{args.output}.sha256", f"{args.sha256.lower()}  {Path(args.output).name}\n")
    say(f"weights {args.output} from {source}")


if __name__ == "__main__":
    sys.exit(run_step(main))
