"""Download a model's files from the first source that works, checked against their SHA-256.

Makes the folder --output, whose name is the model's (NAME), from sources (URLs or paths, tried in order):
  --weights              an Ultralytics checkpoint: NAME.pt and NAME.pt.sha256 (as sha256sum writes it). The checksum is
                         not optional: loading a checkpoint runs code that is in it.
  --weights with --cfg   a Darknet model: NAME.weights, NAME.cfg, and with --names NAME.names. They run no code; without
                         a checksum they are used unchecked, with a warning.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

from lib.data.download import fetch
from lib.data.names import read_names
from lib.data.sources import missing_checksum
from lib.data.weights_folder import CFG, CHECKPOINT, NAMES, WEIGHTS, inside, is_downloaded
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import whole, write_text


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--weights", nargs="+", required=True, metavar="SOURCE", help="URLs or paths, tried in order")
    parser.add_argument("--sha256", default="", help="SHA-256 of the weights, in hex")
    parser.add_argument("--cfg", nargs="+", metavar="SOURCE", help="Darknet's description of the network")
    parser.add_argument("--names", nargs="+", help="a Darknet model's class names, or a file with one per line")
    parser.add_output("--output", required=True, type=Path, metavar="DIR", is_own=is_downloaded)
    args = parser.parse_args(argv)
    if not args.cfg and not args.sha256:
        raise UserError(missing_checksum(args.weights))
    if args.names and not args.cfg:
        raise UserError("--names belongs to a Darknet model; a checkpoint holds its own")
    if not args.sha256:
        say(f"WARNING: {args.weights[0]} has no sha256 in the config (models.<name>.sha256); it is used unchecked")
    with whole(args.output) as folder:
        folder.mkdir()
        weights = inside(folder, args.output.name, WEIGHTS if args.cfg else CHECKPOINT)
        source = fetch(args.weights, weights, args.sha256 or None, "models.<name>.weights")
        if args.sha256:
            write_text(f"{weights}.sha256", f"{args.sha256.lower()}  {weights.name}\n")
        if args.cfg:
            fetch(args.cfg, inside(folder, args.output.name, CFG), None, "models.<name>.cfg")
        if args.names:
            lines = "".join(f"{name}\n" for name in read_names(args.names))
            write_text(inside(folder, args.output.name, NAMES), lines)
    say(f"weights {args.output} from {source}")


if __name__ == "__main__":
    sys.exit(run_step(main))
