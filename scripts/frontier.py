"""Find the largest image size that the board will run, for each number of classes, shape and head.

Makes --csv, and --markdown without the reasons. Models are Ultralytics' --model with random weights, calibrated on
noise, because the verdict does not depend on the weights. The search is a bisection, which assumes that no size below
one that does not fail fails; from there on, smaller sizes are tried until one runs. Sizes that were tried and whose
verdict is `unsure` are listed; there may be others.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tqdm import tqdm

from lib.convert.conversion import Request, convert
from lib.convert.frontier import Candidate, Frontier, find_frontier, sizes_of
from lib.convert.images import noise_images
from lib.data.imgsz import STRIDE, ImageSize
from lib.detector.head import HEADS
from lib.graph.export import AS_TRAINED, END2END, export, random_weights
from lib.graph.onnx_file import load
from lib.npu import toolkit, toolkit_versions
from lib.npu.timing import clock, estimator
from lib.npu.verdict import add_camera_option, costs
from lib.results.columns import FRONTIER_COLUMNS
from lib.results.table import frame, write_study
from lib.step import console
from lib.step.arguments import EXPORTED_OPSETS, MOST_SEED, StepParser, at_least, shape
from lib.step.console import say
from lib.step.supervisor import supervise


@dataclass(frozen=True)
class FrontierRow:
    """A kind of model: its number of classes, the proportions of its input, its head, and its largest size."""

    classes: int
    shape: str
    head: str
    frontier: Frontier
    widest: int  # the largest width to try, in pixels

    @property
    def reason(self) -> str:
        """Why no larger size runs."""
        beyond = self.frontier.beyond
        return beyond.verdict.reason if beyond else f"nothing wider than {self.widest} was tried"


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    toolkit_versions.use(args.toolkit)
    rows = []
    # The number of builds is not known in advance.
    with tempfile.TemporaryDirectory() as scratch, tqdm(file=console.terminal(), disable=None, unit=" builds") as bar:
        for classes, (wide, high), head in product(args.classes, args.shape, args.head):
            proportions = f"{wide}:{high}"
            bar.set_description(f"{classes}, {proportions}, {head}")
            weights = random_weights(args.model, classes, args.seed, Path(scratch, f"{Path(args.model).stem}.pt"))
            sizes = sizes_of(wide, high, args.step, args.largest)
            frontier = search(weights, sizes, head, args, bar)
            rows.append(FrontierRow(classes, proportions, head, frontier, sizes[-1].width))
    table = frame(FRONTIER_COLUMNS, rows)
    write_study(table, args.csv, args.markdown)
    say(f"largest sizes that run, {len(rows)} kinds of model: {args.markdown}")


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("--model", required=True, metavar="NAME.yaml", help="one of Ultralytics' model descriptions")
    parser.add_argument("--classes", required=True, nargs="+", type=at_least(1))
    parser.add_argument("--shape", required=True, nargs="+", type=shape, help="WIDTH:HEIGHT, such as 1:1 or 16:9")
    parser.add_argument("--head", required=True, nargs="+", choices=HEADS)
    parser.add_argument("--largest", required=True, type=at_least(STRIDE), help="largest width to try, in pixels")
    parser.add_argument("--step", default=STRIDE, type=at_least(STRIDE), help="widths to try are multiples of it")
    parser.add_argument("--seed", required=True, type=at_least(0, MOST_SEED))
    parser.add_argument("--opset", required=True, type=at_least(13, EXPORTED_OPSETS[1]))
    parser.add_argument("--end2end", choices=END2END, default=AS_TRAINED, help="as for export_onnx.py")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    toolkit_versions.add_toolkit_option(parser)
    parser.add_argument("--cma-mb", "--cma_mb", required=True, type=at_least(1), help="the board's CMA in MB")
    add_camera_option(parser)
    parser.add_argument("--clock-mhz", "--clock_mhz", required=True, type=clock, help="the NPU's clock, or a name")
    parser.add_argument("--measured", required=True, metavar="FILE.csv", help="times measured on boards")
    parser.add_output("--csv", required=True, metavar="FILE.csv")
    parser.add_output("--markdown", required=True, metavar="FILE.md")
    args = parser.parse_args(argv)
    if args.step % STRIDE or args.step > args.largest:
        parser.error(f"--step {args.step} must be a multiple of {STRIDE} and not above --largest {args.largest}")
    return args


def search(weights: Path, sizes: list[ImageSize], head: str, args, bar) -> Frontier:
    """The largest of `sizes` that runs, and the next one."""

    def candidate(size: ImageSize) -> Candidate:
        bar.set_postfix_str(f"at {size}")
        built = build(weights, size, head, args)
        bar.update()
        return built

    return find_frontier(sizes, candidate)


def build(weights: Path, size: ImageSize, head: str, args) -> Candidate:
    """Export a model and convert it, calibrated on an image of noise."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = load(export(weights, size, args.opset, Path(scratch), args.end2end))
        request = Request(
            exported,
            head,
            noise_images(size, 1, args.seed, Path(scratch)),
            proven_on_noise=True,
            platform=args.platform,
            cma_mb=args.cma_mb,
            camera_mb=args.camera_mb,
            seed=args.seed,
        )
        conversion = convert(request, Path(scratch))
    spent = costs(conversion.build, args.cma_mb, args.clock_mhz, estimator(args.measured))
    return Candidate(size, conversion.build, conversion.verdict, spent)


if __name__ == "__main__":
    sys.exit(supervise(main))
