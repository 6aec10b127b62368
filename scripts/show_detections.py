"""Draw detections side by side, FP32 beside INT8 for each head, on a few evaluation pictures.

Makes --output (PNG) from the folder --run: for the first model, image size and algorithm of the sweep, calibrated on
the most images. The pictures are the first of the evaluation set that have a label.
"""

import sys
from pathlib import Path

from lib.accuracy.evaluation import OnnxModel, SimulatedModel, detect_all
from lib.data.imgsz import parse_imgsz
from lib.data.labels import read_names
from lib.data.split import labelled_pictures
from lib.detector.head import EXPORTED
from lib.npu import toolkit
from lib.results.plots import detection_grid
from lib.step.arguments import StepParser, at_least, sweep_arguments
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR")
    sweep_arguments(parser)
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one a line")
    parser.add_argument("--pictures", type=at_least(1), default=4, metavar="N")
    parser.add_argument("--confidence", type=float, default=0.25, help="draw detections above it")
    parser.add_argument("--output", required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    names = read_names(args.names)
    dataset = require(args.run / "dataset", "data set")
    pictures = labelled_pictures(dataset, len(names))[: args.pictures]
    if not pictures:
        raise UserError(f"no evaluation picture of {dataset} has a label, so there is nothing to show")
    paths = [dataset / "images" / name for name in pictures]
    columns = {}
    for title, model in models(args).items():
        found = detect_all(model, parse_imgsz(args.imgsz[0]), len(names), paths, processes=1)
        columns[title] = [detections for detections, _ in found]
    detection_grid(paths, columns, names, args.confidence, args.output)
    say(f"detections on {len(paths)} pictures: {args.output}")


def models(args) -> dict:
    """The models to compare, a title each."""
    where = Path(args.model[0], args.imgsz[0])
    algorithm, most = args.algorithm[0], max(args.max_images)
    exported = require(args.run / "onnx" / where / "exported.onnx", "model")
    chosen = {f"FP32, {args.model[0]} {args.imgsz[0]}": OnnxModel(exported, EXPORTED)}
    for head in args.head:
        calibrated = require(args.run / "quantized" / where / head / f"{algorithm}-{most}", "calibrated model")
        chosen[f"INT8, {head}"] = SimulatedModel(calibrated, head, args.platform, algorithm)
    return chosen


if __name__ == "__main__":
    sys.exit(run_step(main))
