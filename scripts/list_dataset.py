"""List the images and labels that a data set is made of, as they are on this machine.

Makes --output with path, size and time of last change of each: it changes when one of them does, or a file is added or
deleted. It is empty for a data set that is downloaded. A stage of dvc.yaml depends on it; a rule of Snakemake has the
same among its parameters.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

import tempfile
from pathlib import Path

from lib.data.names import read_names
from lib.data.opening import CALIBRATION, source_arguments, source_block
from lib.data.preview import described, file_lines
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import write_text


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    source_arguments(parser)
    parser.add_argument("--name", default="data set", help="what messages call it")
    parser.add_argument("--names", nargs="+", help="class names, or a file with one per line")
    parser.add_output("--output", required=True, type=Path, metavar="FILE.txt")
    args = parser.parse_args(argv)
    options = vars(args)
    dataset = source_block(options, "", args.output)
    dataset["calibration"] = source_block(options, CALIBRATION, args.output)
    with tempfile.TemporaryDirectory() as scratch:
        sources = described(dataset, tuple(read_names(args.names)) if args.names else None, Path(scratch))
        lines = file_lines(sources, Path(scratch)) if sources else []
    zips = sorted(_files(dataset) + _files(dataset["calibration"]))
    lines += [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n" for path in zips]
    write_text(args.output, "".join(lines))
    say(f"{args.name} {args.output}: {len(lines)} files")


def _files(block: dict) -> list[Path]:
    """Those of a block's sources that are files here."""
    values = [value for key, value in block.items() if key not in ("sha256", "calibration")]
    paths = [Path(value).expanduser() for given in values for value in (given if isinstance(given, list) else [given])]
    return [path for path in paths if path.is_file()]


if __name__ == "__main__":
    sys.exit(run_step(main))
