"""Find the largest image size that the board will run, for each number of classes, shape and head.

Makes --csv, and --markdown without the reasons. Models are Ultralytics' own --model with random weights, built for the
board on noise: which operator goes where does not depend on the weights. Below a size that does not fail none is taken
to fail (bisection); from there on smaller ones are tried until one runs. Those on the way whose verdict is unsure are
listed; there may be others.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path

import cv2
import pandas as pd
from tqdm import tqdm

from lib.data.imgsz import STRIDE, ImageSize
from lib.detector.head import HEADS
from lib.graph.export import AS_TRAINED, END2END, export, random_weights
from lib.graph.onnx_file import load, save
from lib.graph.surgery import adapt
from lib.graph.surgery.proof import noise_image
from lib.graph.surgery.simplify import simplify
from lib.npu import toolkit
from lib.npu.timing import clock, estimator
from lib.npu.verdict import FAILS, RUNS, UNSURE, costs, verdict
from lib.results.columns import FRONTIER_COLUMNS
from lib.results.table import to_csv
from lib.step import console
from lib.step.arguments import StepParser, at_least, shape
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import write_text

DIGITS = {column.name: column.digits for column in FRONTIER_COLUMNS}
COSTS = ("npu_mcycles", "ms_low", "ms_high", "internal_kb", "weight_kb", "rknn_mb")


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    rows = []
    # The number of builds is not known before they are made.
    with tempfile.TemporaryDirectory() as scratch, tqdm(file=console.terminal(), disable=None, unit=" builds") as bar:
        for classes, (wide, high), head in product(args.classes, args.shape, args.head):
            kind = {"classes": classes, "shape": f"{wide}:{high}", "head": head}
            bar.set_description(", ".join(map(str, kind.values())))
            weights = random_weights(args.model, classes, args.seed, Path(scratch, "random.pt"))
            rows.append(kind | search(weights, sizes_of(wide, high, args.step, args.largest), head, args, bar))
    table = pd.DataFrame(rows)
    write_text(args.csv, to_csv(table))
    write_text(args.markdown, table.drop(columns="reason").fillna("").to_markdown(index=False) + "\n")
    say(f"largest sizes that run, {len(rows)} kinds of model: {args.markdown}")


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("--model", required=True, metavar="NAME.yaml", help="a model's description by Ultralytics")
    parser.add_argument("--classes", required=True, nargs="+", type=at_least(1))
    parser.add_argument("--shape", required=True, nargs="+", type=shape, help="WIDTH:HEIGHT, as 1:1 or 16:9")
    parser.add_argument("--head", required=True, nargs="+", choices=HEADS)
    parser.add_argument("--largest", required=True, type=at_least(STRIDE), help="largest width to try, in pixels")
    parser.add_argument("--step", default=STRIDE, type=at_least(STRIDE), help="widths to try are its multiples")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--opset", required=True, type=at_least(13))
    parser.add_argument("--end2end", choices=END2END, default=AS_TRAINED, help="as export_onnx.py takes it")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--cma-mb", "--cma_mb", required=True, type=at_least(1), help="the board's CMA in MB")
    parser.add_argument("--clock-mhz", "--clock_mhz", required=True, type=clock, help="the NPU's clock, or a name")
    parser.add_argument("--measured", required=True, metavar="FILE.csv", help="times that were measured on boards")
    parser.add_argument("--csv", required=True, metavar="FILE.csv")
    parser.add_argument("--markdown", required=True, metavar="FILE.md")
    args = parser.parse_args(argv)
    if args.step % STRIDE or args.step > args.largest:
        parser.error(f"--step {args.step} must be a multiple of {STRIDE}, and not above --largest {args.largest}")
    return args


def sizes_of(wide: int, high: int, step: int, largest: int) -> list[ImageSize]:
    """Image sizes of a shape, rising: widths are multiples of `step` up to `largest`, heights the nearest that fit."""
    widths = range(step, largest + 1, step)
    return [ImageSize(width, max(STRIDE, round(width * high / wide / STRIDE) * STRIDE)) for width in widths]


def search(weights: Path, sizes: list[ImageSize], head: str, args, bar) -> dict:
    """Columns of the table: the largest of `sizes` that runs with its costs, the next one with why it does not run."""
    built = {}

    def verdict_at(size: ImageSize) -> str:
        if size not in built:
            bar.set_postfix_str(f"at {size}")
            built[size] = build(weights, size, head, args)
            bar.update()
        return built[size]["verdict"]

    last = last_that_holds(sizes, lambda size: verdict_at(size) != FAILS)
    while last >= 0 and verdict_at(sizes[last]) != RUNS:
        last -= 1
    largest = built[sizes[last]] if last >= 0 else {}
    row = {"largest": str(sizes[last]) if largest else None, **{name: largest.get(name) for name in COSTS}}
    row["unsure"] = " ".join(str(size) for size in sizes if size in built and built[size]["verdict"] == UNSURE) or None
    if last + 1 == len(sizes):
        return row | {"next": None, "next_verdict": None, "reason": f"nothing wider than {sizes[-1].width} was tried"}
    beyond = built[sizes[last + 1]]
    return row | {"next": str(sizes[last + 1]), "next_verdict": beyond["verdict"], "reason": beyond["reason"]}


def last_that_holds(sizes: list, holds) -> int:
    """Index of the last size that `holds`, by bisection from the last one on; -1 where none does."""
    low, high, position = -1, len(sizes) - 1, len(sizes) - 1
    while low < high:
        if holds(sizes[position]):
            low = position
        else:
            high = position - 1
        position = (low + high + 1) // 2
    return low


def build(weights: Path, size: ImageSize, head: str, args) -> dict:
    """Export, adapt, calibrate on a image of noise, and build: columns of the table, and verdict and reason."""
    with tempfile.TemporaryDirectory() as scratch:
        onnx, noise, rknn_file = (Path(scratch, name) for name in ("adapted.onnx", "noise.png", "model.rknn"))
        exported = load(export(weights, size, args.opset, Path(scratch), args.end2end))
        simplified, _ = simplify(exported, [], args.seed)
        save(adapt(simplified, head, [], args.seed)[0], onnx)
        cv2.imwrite(str(noise), noise_image(size, args.seed))
        with toolkit.quantized(onnx, [noise], args.platform, "normal") as session:
            build = session.export(rknn_file)
    judged = verdict(build, args.cma_mb)
    spent = costs(build, args.cma_mb, args.clock_mhz, estimator(args.measured))
    return {
        "npu_mcycles": round(build.npu_mcycles, DIGITS["npu_mcycles"]),
        "ms_low": round(spent.ms_low, DIGITS["ms_low"]),
        "ms_high": round(spent.ms_high, DIGITS["ms_high"]),
        "internal_kb": round(build.internal_kb, DIGITS["internal_kb"]),
        "weight_kb": round(build.weight_kb, DIGITS["weight_kb"]),
        "rknn_mb": round(build.rknn_bytes / 1e6, DIGITS["rknn_mb"]),
        "verdict": judged.result,
        "reason": judged.reason,
    }


if __name__ == "__main__":
    sys.exit(run_step(main))
