"""Collect how the number of calibration images, and their draw, affect the mAP of one model in INT8, or its top-1.

Makes --csv (one row per draw), --markdown (one row per number of images: mean, smallest, largest) and --plot from the
metrics below the folder --run, or from --draws.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import lib  # noqa: F401  first: it ends a step that gets no memory with a message

# isort: split
from pathlib import Path

import pandas as pd

from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.results.columns import STUDY_COLUMNS, of_classifier
from lib.results.draws import Draw, Draws
from lib.results.plots import calibration_study
from lib.results.rounding import MAP_DIGITS
from lib.results.table import frame, to_csv
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import write_text


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR")
    parser.add_argument("--model", required=True)
    parser.add_argument("--imgsz", required=True, help="as in the file names")
    parser.add_argument("--head", required=True)
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--max-images", "--max_images", required=True, nargs="+", type=at_least(1))
    parser.add_argument("--seed", required=True, nargs="+", type=at_least(0))
    parser.add_argument("--draws", type=Path, metavar="FILE.json", help="from evaluate_draws.py, instead of metrics")
    parser.add_output("--csv", required=True, metavar="FILE.csv")
    parser.add_output("--markdown", required=True, metavar="FILE.md")
    parser.add_output("--plot", required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    exported = Metrics.read(args.run / "metrics" / args.model / args.imgsz / "exported.json")
    draws = Draws.read(args.draws).draws if args.draws else read_draws(args)
    if exported.accuracy is None:
        raise UserError(f"{args.model} has neither a mAP nor a top-1 on this data set, so there is nothing to study")
    columns, name = STUDY_COLUMNS, "mAP50-95"
    if exported.top1 is not None:
        columns, name = of_classifier(columns), "top-1"
    write_text(args.csv, to_csv(frame(columns, draws)))
    table = pd.DataFrame(draws)
    write_text(args.markdown, summary(table, exported.accuracy))
    title = f"{args.model} {args.imgsz} {args.head}, {args.algorithm}: {len(args.seed)} draws of images each"
    calibration_study(table, exported.accuracy, name, title, args.plot)
    say(f"calibration study of {len(table)} calibrations: {args.markdown}")


def read_draws(args) -> list[Draw]:
    """The draws whose metrics are below the folder --run."""
    metrics = args.run / "study" / "metrics" / args.model / args.imgsz / args.head
    return [
        Draw(count, seed, ComparedMetrics.read(metrics / f"{args.algorithm}-{count}-{seed}.json").accuracy)
        for count in sorted(args.max_images)
        for seed in sorted(args.seed)
    ]


def summary(table: pd.DataFrame, fp32: float) -> str:
    """The table as Markdown: the accuracy over the draws for each number of images, and the retention of the mean."""
    spread = table.groupby("max_images").accuracy_int8.agg(["mean", "min", "max"])
    spread["spread"] = spread["max"] - spread["min"]
    spread["retention"] = spread["mean"] / fp32
    return spread.rename(index=str).to_markdown(floatfmt=f".{MAP_DIGITS}f") + "\n"


if __name__ == "__main__":
    sys.exit(run_step(main))
