"""Make the report of a run: one HTML file that can be opened from disk, without a network.

Makes --output from the folder --run (table, plots, metrics, builds, layers) and the run's whole config, given
as a YAML file or as JSON text. The same inputs give the same bytes.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.results.report.contents import contents
from lib.results.report.render import render
from lib.results.run_config import read_config
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import require, write_text


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR")
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's whole config: YAML, or JSON text")
    parser.add_output("--output", required=True, type=Path, metavar="FILE.html")
    args = parser.parse_args(argv)
    page = render(contents(require(args.run, "folder"), read_config(args.config)))
    write_text(args.output, page)
    say(f"report of {len(page.encode()) / 1e6:.1f} MB: {args.output}")


if __name__ == "__main__":
    sys.exit(run_step(main))
