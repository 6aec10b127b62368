"""Measure layer by layer how far INT8 is from FP32, on one image, with the toolkit's simulator.

Makes --csv (layer, type, cosine and euclidean error of the whole network and of the layer alone) and --plot, which
names the worst layers, from --onnx, quantized on the letterboxed images listed in --calibration as by quantize.py.
The image is the first of --dataset that has a label (any, for the head as_is) and is held out.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

from pathlib import Path

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
from lib.graph.surgery.proof import input_size
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
    model = load(require(args.onnx, "model"))
    image = image_to_analyse(model, args.onnx, args.dataset, names)
    form, imgsz = input_form_of(model), input_size(model)
    fitted, _ = letterbox(read_image(image), imgsz, form)
    with (
        calibration_in_form(args.calibration, args.dataset / "images", imgsz, form) as calibration,
        toolkit.quantized(args.onnx, calibration, args.platform, args.algorithm, form) as session,
    ):
        table = session.analyse(fitted)
    write_text(args.csv, to_csv(frame(LAYER_COLUMNS, table.itertuples())))
    title = " ".join([*args.onnx.with_suffix("").parts[-3:], args.algorithm])
    layer_errors(table, f"{title}, {len(calibration)} calibration images, {image.name}", args.plot)
    first = worst(table, 1).iloc[0]
    say(f"layers of {args.csv} on {image.name}: worst is {first.layer}, cosine {first.single_cos:.5f}")


def image_to_analyse(model: onnx.ModelProto, path: Path, dataset: Path, names: list[str]) -> Path:
    """The first held-out image that has a label; of a model (of the file `path`) that nothing decodes the first of all.

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
