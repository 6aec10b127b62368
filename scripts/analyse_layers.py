"""Measure layer by layer how far INT8 is from FP32, on one image, with the toolkit's simulator.

Makes --csv (layer, type, cosine and euclidean error of the whole network and of the layer alone) and --plot, which
names the worst layers, from --onnx, quantized on the letterboxed images listed in --calibration as by quantize.py.
The image is the first of --dataset that has a label and is held out.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

from lib import tasks
from lib.data.calibration import calibration_in_form
from lib.data.images import read_image
from lib.data.letterbox import letterbox
from lib.data.names import read_names
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import detector_spec
from lib.npu import toolkit
from lib.npu.layer_errors import worst
from lib.results.columns import LAYER_COLUMNS
from lib.results.plots import layer_errors
from lib.results.table import frame, to_csv
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require, write_text
from lib.step.supervisor import supervise


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--calibration", required=True, type=Path, metavar="FILE.txt", help="list of images")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=toolkit.ALGORITHMS)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_output("--csv", required=True, metavar="FILE.csv")
    parser.add_output("--plot", required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    names = read_names(args.names)
    outputs = detector_spec(require(args.onnx, "model"), names)
    images = tasks.get(outputs.task).labelled_images(args.dataset, len(names))
    if not images:
        raise UserError(f"no held-out image of {args.dataset} has a label, so there is nothing to analyse with")
    form, pictures = input_form_of(load(args.onnx)), args.dataset / "images"
    fitted, _ = letterbox(read_image(pictures / images[0]), outputs.imgsz, form)
    with (
        calibration_in_form(args.calibration, pictures, outputs.imgsz, form) as calibration,
        toolkit.quantized(args.onnx, calibration, args.platform, args.algorithm, form) as session,
    ):
        table = session.analyse(fitted)
    write_text(args.csv, to_csv(frame(LAYER_COLUMNS, table.itertuples())))
    title = " ".join([*args.onnx.with_suffix("").parts[-3:], args.algorithm])
    layer_errors(table, f"{title}, {len(calibration)} calibration images, {images[0]}", args.plot)
    first = worst(table, 1).iloc[0]
    say(f"layers of {args.csv} on {images[0]}: worst is {first.layer}, cosine {first.single_cos:.5f}")


if __name__ == "__main__":
    sys.exit(supervise(main))
