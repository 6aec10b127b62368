"""List the source files of each step, with their checksums.

Makes --output (DIR) with a STEP.txt for each scripts/STEP.py: the script and everything in scripts/lib that it imports,
one line per file, in the format of `sha256sum`. A Snakemake rule has these files among its inputs. A stage in dvc.yaml
cannot follow imports, so it depends on the list, which changes when one of the files does.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import re
from pathlib import Path

from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import sha256, whole
from lib.step.outputs import entries
from lib.step.step_sources import step_sources

LINE = re.compile(r"[0-9a-f]{64}  scripts/")
HOME = Path(__file__).resolve().parent.parent


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_output("--output", required=True, metavar="DIR", is_own=is_listed)
    args = parser.parse_args(argv)
    steps = sorted(path.stem for path in (HOME / "scripts").glob("*.py"))
    with whole(args.output) as part:
        part.mkdir()
        for step in steps:
            lines = [f"{sha256(HOME / path)}  {path}\n" for path in step_sources(step, HOME)]
            (part / f"{step}.txt").write_text("".join(lines))
    say(f"files of {len(steps)} steps: {args.output}")


def is_listed(folder: Path) -> bool:
    """Whether `folder` contains only lists of checksums."""
    return all(
        name.endswith(".txt") and LINE.match((folder / name).read_text(errors="replace")) for name in entries(folder)
    )


if __name__ == "__main__":
    sys.exit(run_step(main))
