"""Run an ONNX in FP32 on the evaluation images with onnxruntime, and write its detections.

Makes --detections, for evaluate.py, with the same preprocessing, decoding and NMS as for INT8 models. For a model that
cannot be decoded the file says why; for a classifier, it holds the best classes of each image. The images are divided
among --processes; the result does not depend on their number. An export by another author is also tried with red and
blue swapped, and a line says which order is right.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from functools import partial
from pathlib import Path

from lib.accuracy.classes import classify_all
from lib.accuracy.detection_set import DetectionSet, write_detections
from lib.accuracy.inference import detect_all, evaluation_images, onnx_runner
from lib.accuracy.undecoded_set import UndecodedSet, write_undecoded
from lib.data.input_form import InputForm
from lib.data.names import read_names
from lib.data.split import PARTS
from lib.graph.class_names import demand_same_order, names_in
from lib.graph.input_convention import is_from_elsewhere
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load, metadata
from lib.graph.output_spec import demand_classes, form_or_reason
from lib.graph.surgery.graph import input_size
from lib.graph.surgery.output_form import OutputForm
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import require

RESAMPLES = 1000  # of the images, to judge what is noise


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, default="heldout", help="detect in the held-out images, or all")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument(
        "--class-order",
        choices=("same", "other"),
        default="same",
        help="whether the names in the ONNX must have the same numbers (default: %(default)s)",
    )
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output("--detections", required=True, metavar="FILE.npz")
    args = parser.parse_args(argv)
    images = evaluation_images(args.dataset, args.part)
    model = load(require(args.onnx, "model"))
    form, why = form_or_reason(model)
    if form is None:
        write_undecoded(args.detections, undecoded(args, images, model, why))
        return
    names = read_names(args.names)
    demand_classes(form.spec, names, args.onnx)
    demand_order(args, model, names)
    given = input_form_of(model)
    title = f"FP32 {args.onnx.stem} {form.spec.imgsz}"
    detections = detect_all(partial(start, args.onnx, form), form.spec, images, args.processes, title, given)
    write_detections(args.detections, detections)
    say(f"detected {args.detections}: {detections.count()} in {len(images)} images")
    if is_from_elsewhere(model):
        say_channels(args, names, form, given, detections, images)


def demand_order(args, model, names: list[str]) -> None:
    """Raise UserError where the names in the model have other numbers, unless the user says that they may."""
    if args.class_order == "same":
        demand_same_order(str(args.onnx), names_in(metadata(model)), names)


def undecoded(args, images: list[Path], model, why: str) -> UndecodedSet:
    """What there is to write of a model that cannot be decoded: of a classifier, the best classes of each image."""
    names = read_names(args.names)
    title = f"FP32 {args.onnx.stem} {input_size(model)}"
    best = classify_all(args.onnx, len(names), images, args.processes, title)
    if best is None:
        say(f"detected {args.detections}: nothing, {why}")
    else:
        demand_order(args, model, names)
        say(f"classified {args.detections}: {len(images)} images")
    return UndecodedSet([image.name for image in images], why, best=best)


def say_channels(
    args, names: list[str], form: OutputForm, given: InputForm, detections: DetectionSet, images: list[Path]
) -> None:
    """Print which order of channels is right, if it makes a difference in mAP."""
    # Imported here: for most models the order is known, and this is not needed.
    from lib.accuracy.channels import better_channels
    from lib.accuracy.evaluation import evaluate

    def measured(detections: DetectionSet):
        return evaluate(detections, args.dataset, names, RESAMPLES, seed=0)

    def measure_in(other: InputForm):
        title = f"FP32 {args.onnx.stem} in {other.channels.upper()}"
        started = partial(start, args.onnx, form)
        return measured(detect_all(started, form.spec, images, args.processes, title, other))

    if line := better_channels(given, measured(detections), measure_in):
        say(f"channels of {args.onnx}: {line}")


def start(onnx: Path, form: OutputForm):
    """A function uint8 RGB [H, W, 3] → outputs in FP32, in the form that the spec describes."""
    run = onnx_runner(onnx, form.names)
    return lambda image: form.undone(run(image))


if __name__ == "__main__":
    sys.exit(run_step(main))
