"""Collect the metrics of all variants of a sweep into one table and its plots.

Makes table.csv, table.md, summary.json (of the recommended variant, for `dvc exp show`) and plots/ in the folder --run
from the metrics and builds below it.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import json
from pathlib import Path

from lib.results.choice import focus
from lib.results.plots import (
    NO_MAP,
    OF_IMAGES,
    class_changes,
    map_over_imgsz,
    map_over_max_images,
    pareto,
    thresholds,
)
from lib.results.sweep import asked
from lib.results.table import class_differences, read_table, summary, to_csv, to_markdown, variant_of
from lib.results.variant_results import VariantResults
from lib.step.arguments import StepParser, also_argument, sweep_arguments
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import write_text

PLOTS = ("map_over_imgsz", "map_over_max_images", "pareto", "class_changes", "thresholds")
MADE = ("table.csv", "table.md", "summary.json", *(f"plots/{name}.png" for name in PLOTS))


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_output("--run", required=True, type=Path, metavar="DIR", files=MADE)
    sweep_arguments(parser)
    also_argument(parser)
    args = parser.parse_args(argv)
    table = read_table(args.run, asked(args))
    write_text(args.run / "table.csv", to_csv(table))
    write_text(args.run / "table.md", to_markdown(table))
    write_text(args.run / "summary.json", json.dumps(summary(table), indent=2) + "\n")
    plots = args.run / "plots"
    map_over_imgsz(table, plots / "map_over_imgsz.png")
    map_over_max_images(table, plots / "map_over_max_images.png")
    pareto(table, plots / "pareto.png")
    shown = variant_of(table.loc[focus(table)])
    results = VariantResults(args.run, shown)
    without = NO_MAP if results.int8.top1 is None else OF_IMAGES
    class_changes(class_differences(results), shown.title(), plots / "class_changes.png", without)
    thresholds(*results.curves, results.int8.operating, shown.title(), plots / "thresholds.png", without)
    say(f"table of {len(table)} variants: {args.run / 'table.md'}")


if __name__ == "__main__":
    sys.exit(run_step(main))
