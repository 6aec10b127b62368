"""Measure, layer by layer, how far INT8 is from FP32, on one image, with the toolkit's simulator.

Makes --csv (layer, type, cosine and euclidean error of the whole network and of the layer alone) and --plot, which
names the worst layers, from --onnx, quantized as in quantize.py on the letterboxed images listed in --calibration, with
--ranges as there. The image is the first held-out image of --dataset that has a label (or any, for the head as_is).
With --run instead of --onnx, --calibration, --ranges, --csv and --plot, it does this for all variants in the folder
--run that the lists --model, --imgsz, --head, --algorithm and --max-images name and whose graph exists, and makes
layers/ in it.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import lib  # noqa: F401  first: it ends a step that gets no memory with a message

# isort: split
from pathlib import Path
from typing import NamedTuple

import onnx

from lib import tasks
from lib.accuracy.inference import evaluation_images
from lib.data.calibration import calibration_in_form
from lib.data.images import read_image
from lib.data.letterbox import letterbox
from lib.data.names import read_names
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import detector_spec
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.graph import input_size
from lib.npu import toolkit, toolkit_versions
from lib.npu.algorithms import ALGORITHMS
from lib.npu.int8 import Quantization, int8_model
from lib.npu.layer_errors import worst
from lib.results import run_files
from lib.results.columns import LAYER_COLUMNS
from lib.results.plots import layer_errors
from lib.results.sweep import variants
from lib.results.table import frame, to_csv
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require, write_text
from lib.step.supervisor import supervise


class Analysis(NamedTuple):
    """A graph to analyse, its calibration images, their ranges if measured, and algorithm; its table and plot."""

    onnx: Path
    calibration: Path
    ranges: Path | None
    algorithm: str
    csv: Path
    plot: Path


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", type=Path, metavar="FILE.onnx")
    parser.add_argument("--calibration", type=Path, metavar="FILE.txt", help="list of images")
    parser.add_argument("--ranges", type=Path, metavar="FILE.npz", help="from measure_ranges.py")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    toolkit_versions.add_toolkit_option(parser)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_output("--csv", type=Path, metavar="FILE.csv")
    parser.add_output("--plot", type=Path, metavar="FILE.png")
    parser.add_argument("--run", type=Path, metavar="DIR")
    parser.add_argument("--algorithm", nargs="*", default=[], choices=ALGORITHMS)
    for name in ("--model", "--imgsz", "--head"):
        parser.add_argument(name, nargs="*", default=[], help="with --run")
    parser.add_argument("--max-images", "--max_images", nargs="*", default=[], type=at_least(1), help="with --run")
    args = parser.parse_args(argv)
    toolkit_versions.use(args.toolkit)
    names = read_names(args.names)
    if args.run:
        (args.run / "layers").mkdir(parents=True, exist_ok=True)
        analyses = of_run(args)
    else:
        needed = args.onnx, args.calibration, args.algorithm, args.csv, args.plot
        if not all(needed):
            parser.error("give --onnx, --calibration, --algorithm, --csv and --plot, or --run")
        analyses = [Analysis(args.onnx, args.calibration, args.ranges, args.algorithm[0], args.csv, args.plot)]
    for analysis in analyses:
        analyse(analysis, args.dataset, names, args.platform)


def of_run(args) -> list[Analysis]:
    """The analyses of those variants in the folder --run that the lists name and whose graph exists."""
    analyses = []
    for variant in variants(args.model, args.imgsz, args.head, args.algorithm, args.max_images):
        graph, images = run_files.onnx(args.run, variant, variant.head), run_files.calibration(args.run, variant)
        if graph.exists() and images.exists():
            csv, plot = (run_files.layers(args.run, variant, suffix) for suffix in (".csv", ".png"))
            ranges = run_files.ranges(args.run, variant)
            analyses.append(Analysis(graph, images, ranges if ranges.exists() else None, variant.algorithm, csv, plot))
    return analyses


def analyse(analysis: Analysis, dataset: Path, names: list[str], platform: str) -> None:
    """Analyse one graph: write its table and its plot."""
    model = load(require(analysis.onnx, "model"))
    image = image_to_analyse(model, analysis.onnx, dataset, names)
    form, imgsz = input_form_of(model), input_size(model)
    outputs = None if is_as_is(model) else detector_spec(model, names, analysis.onnx)
    asked = Quantization(analysis.onnx, platform, analysis.algorithm, form, outputs)
    fitted, _ = letterbox(read_image(image), imgsz, form)
    with (
        calibration_in_form(analysis.calibration, dataset / "images", imgsz, form) as calibration,
        int8_model(asked, calibration, analysis.ranges) as built,
    ):
        table = built.session.analyse(fitted)
    write_text(analysis.csv, to_csv(frame(LAYER_COLUMNS, table.itertuples())))
    title = " ".join([*analysis.onnx.with_suffix("").parts[-3:], analysis.algorithm])
    layer_errors(table, f"{title}, {len(calibration)} calibration images, {image.name}", analysis.plot)
    first = worst(table, 1).iloc[0]
    say(f"layers of {analysis.csv} on {image.name}: worst is {first.layer}, cosine {first.single_cos:.5f}")


def image_to_analyse(model: onnx.ModelProto, path: Path, dataset: Path, names: list[str]) -> Path:
    """The first held-out image that has a label; for a model (in the file `path`) that is not decoded, the very first.

    Raises UserError when there is none.
    """
    if is_as_is(model):
        return evaluation_images(dataset, "heldout")[0]
    images = tasks.get(detector_spec(model, names, path).task).labelled_images(dataset, len(names))
    if not images:
        raise UserError(f"no held-out image of {dataset} has a label, so there is nothing to analyse with")
    return dataset / "images" / images[0]


if __name__ == "__main__":
    sys.exit(supervise(main))
