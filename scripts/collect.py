"""Collect the metrics of all variants of a sweep into one table and its plots.

Makes table.csv, table.md and plots/ in the folder --run from the metrics and builds that lie below it.
"""

import sys
from pathlib import Path

from lib.console import say
from lib.errors import run_step
from lib.files import whole
from lib.plots import map_over_imgsz, map_over_max_images
from lib.step import StepParser, at_least
from lib.table import read_table, to_csv, to_markdown, variants


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR")
    parser.add_argument("--model", required=True, nargs="+")
    parser.add_argument("--imgsz", required=True, nargs="+", help="as in the file names")
    parser.add_argument("--head", required=True, nargs="+")
    parser.add_argument("--algorithm", required=True, nargs="+")
    parser.add_argument("--max-images", required=True, nargs="+", type=at_least(1))
    args = parser.parse_args(argv)
    chosen = variants(args.model, args.imgsz, args.head, args.algorithm, args.max_images)
    table = read_table(args.run, chosen)
    with whole(args.run / "table.csv") as part:
        part.write_text(to_csv(table))
    with whole(args.run / "table.md") as part:
        part.write_text(to_markdown(table))
    map_over_imgsz(table, args.run / "plots" / "map_over_imgsz.png")
    map_over_max_images(table, args.run / "plots" / "map_over_max_images.png")
    say(f"table of {len(table)} variants: {args.run / 'table.md'}")


if __name__ == "__main__":
    sys.exit(run_step(main))
