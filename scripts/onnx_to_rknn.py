"""Convert an ONNX detector to an INT8 .rknn in one command: the workflow's steps for one model and a folder of images.

Makes --output (default: beside MODEL, with the suffix .rknn) and, with --bundle, the folder for programming the board;
nothing else. Calibrates on --max-images images of --dataset, drawn by --seed; the others show how far INT8 is from FP32
on the toolkit's simulator, with --labels as mAP. Without --dataset it calibrates on noise, which costs accuracy.

A model that is not a detector of a known family gets the head as_is: it is judged and compared with FP32 output by
output, but its outputs are not decoded, so there is no mAP. For a classifier, --labels is a folder of images for each
class: its top-1 and top-5 are measured on those that it is not calibrated with.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import argparse
import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lib.bundle import program
from lib.bundle.check import is_bundle
from lib.bundle.of_conversion import bundle_conversion
from lib.convert.class_labels import are_classes, calibration_folder, read_class_labels
from lib.convert.conversion import Adapted, Request, convert
from lib.convert.images import ImageChoice, compare_on, draw_images, first_images, noise_images
from lib.convert.lines import adapted_lines, cost_lines, output_lines
from lib.convert.truth import ClassFolders, LabelFiles, NoLabels, Truth
from lib.data.imgsz import ImageSize, imgsz_argument
from lib.data.input_form import InputForm
from lib.data.input_options import add_input_options, given_input
from lib.data.keypoints import COCO_SIGMAS, KEYPOINT_TASK, add_sigmas_option, keypoint_sigmas
from lib.data.model_kinds import instead_of
from lib.detector.head import ALL_HEADS
from lib.graph.anchor_option import add_anchors_option, demand_anchors_used, with_anchors
from lib.graph.class_names import distinct_names
from lib.graph.input_convention import settle_input_form
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load, metadata
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.prepare.behind_input import prepare
from lib.npu import toolkit, toolkit_versions
from lib.npu.algorithms import ALGORITHMS
from lib.npu.timing import clock, estimator
from lib.npu.verdict import add_camera_option, costs
from lib.step import console
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import ToolkitError, UserError
from lib.step.files import whole
from lib.step.supervisor import supervise

COMPARED = 64  # most images to compare, if there are no labels
NOISE = 16  # most images of noise, if there are no images
RKNN = ".rknn"
# Files that are neither an ONNX nor a folder of images, but that start.py takes.
FOR_START = (".pt", ".cfg", ".weights", ".yaml", ".yml", ".zip", ".json")
MEASURED = Path(__file__).parent.parent / "config" / "measured.csv"


def main(argv=None):
    """Run the command."""
    args = parse(argv)
    toolkit_versions.use(args.toolkit)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        # An error quotes the last lines of the toolkit's output, so that goes to a file in any case.
        console.log_to(args.log or str(scratch / "log"))
        try:
            run(args, scratch)
        except ToolkitError as error:
            if args.log:
                raise
            raise UserError(f"{error}{complaints(scratch / 'log')}; --log FILE keeps its whole output") from error
        except (UserError, OSError):
            raise
        except Exception as error:
            if args.log:
                raise
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"{args.model} cannot be converted ({type(error).__name__}: {reason}); if the model is valid, report "
                "this with the output that --log FILE keeps"
            ) from error


def parse(argv):
    """The command's arguments."""
    parser = StepParser(__doc__, opens_log=False)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("others", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_output("-o", "--output", type=Path, metavar="FILE.rknn")
    parser.add_output("--bundle", nargs="?", const=True, type=bundle_folder, metavar="DIR", is_own=is_bundle,
                      help="make the deploy bundle too (default: OUTPUT's name and _bundle); needs --labels and a C "
                      "compiler")  # fmt: skip
    parser.add_argument("--size", type=imgsz_argument, help="WIDTHxHEIGHT or one number (default: the model's own)")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="images to calibrate on (jpg, png, webp)")
    parser.add_argument("--max-images", type=at_least(0), default=64, metavar="N",
                        help="how many of them; 0: all (default: %(default)s)")  # fmt: skip
    parser.add_argument("--labels", type=Path, metavar="DIR",
                        help="labels in Ultralytics' layout for the model's task: also measure mAP; for a classifier, "
                        "a folder of images for each class: top-1 and top-5")  # fmt: skip
    parser.add_argument("--kpt_shape", nargs="+", type=int, metavar="N",
                        help="for pose labels: keypoints, and values of each, 2 or 3")  # fmt: skip
    add_sigmas_option(parser)
    parser.add_argument(
        "--head", choices=ALL_HEADS, help="form of the outputs (default: split, or as_is for an unknown model)"
    )
    add_anchors_option(parser)
    parser.add_argument(
        "--platform", choices=toolkit.PLATFORMS, default=Request.platform, help="(default: %(default)s)"
    )
    toolkit_versions.add_toolkit_option(parser)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default=Request.algorithm, help="(default: %(default)s)")
    parser.add_argument(
        "--seed", type=at_least(0), default=Request.seed, help="seed of the calibration sample (default: %(default)s)"
    )
    parser.add_argument(
        "--cma-mb", type=at_least(1), default=Request.cma_mb, help="the board's CMA in MB (default: %(default)s)"
    )
    add_camera_option(parser)
    parser.add_argument(
        "--clock-mhz", type=clock, default=clock("rv1106"), help="the NPU's clock (default: %(default)s)"
    )
    add_input_options(parser)
    args = parser.parse_args(argv)
    demand_onnx(args)
    if args.output and args.output.suffix.lower() != RKNN:
        parser.error(f"--output {args.output} must end in {RKNN}")
    args.output = args.output or args.model.with_suffix(RKNN)
    if args.bundle is True:
        args.bundle = args.output.with_name(f"{args.output.stem}_bundle")
    parser.demand_safe(args)  # once more, for the defaults
    if args.labels and not args.dataset and are_classes(args.labels):
        args.dataset = calibration_folder(args.labels)
    if args.labels and not args.dataset:
        parser.error("--labels needs the images that they belong to: --dataset")
    for option, given in (("--kpt_shape", args.kpt_shape), ("--oks-sigmas", args.oks_sigmas != [COCO_SIGMAS])):
        if given and not args.labels:
            parser.error(f"{option} needs the labels that it is about: --labels")
    if args.bundle and not args.labels:
        parser.error("--bundle needs --labels: a bundle states the accuracy and the suggested threshold")
    return args


def bundle_folder(text: str) -> Path:
    """The argparse type of the bundle's folder. Raises UserError for a model, which --bundle takes for its folder."""
    path = Path(text)
    if path.suffix.lower() in (".onnx", *FOR_START):
        raise UserError(
            f"--bundle takes the word after it as the folder to make, but {text} is not a folder; name the model "
            f"before it: {text} --bundle"
        )
    return path


def demand_onnx(args) -> None:
    """Raise UserError, with the command to use, for a checkpoint or a data set instead of an ONNX and folders."""
    files = [args.model, *args.others]
    if args.model.suffix.lower() == RKNN:
        raise UserError(f"{args.model} is a .rknn already; {instead_of(args.model)}")
    sets = [path for path in (args.dataset, args.labels) if path and path.suffix.lower() in FOR_START]
    if not args.others and not sets and args.model.suffix.lower() not in FOR_START:
        return
    models = [path for path in files if path.suffix.lower() in (".pt", ".cfg", ".weights", ".onnx")]
    sets = list(dict.fromkeys([*sets, *(path for path in files if path not in models)]))
    words = [*map(str, models or ["best.pt"]), *map(str, sets[:1] or ["data.yaml"])]
    raise UserError(
        "this command takes one ONNX file, and folders of images and labels; for a checkpoint (.pt), a .cfg with its "
        f".weights, or a data set as a whole run: python scripts/start.py {shlex.join(words)}"
    )


def run(args, scratch: Path) -> None:
    """Convert the model and print the results; --output appears at the end, if all went well."""
    exported, given = with_anchors(load(args.model), args.anchors), given_input(args)
    model, size = fix_size(exported, args.size, given)
    model, notes = prepare(model, first_images(args.dataset, size, input_form_of(model)), args.seed)
    for note in notes:
        say(f"prepared   {note}")
    form, origin = settle_input_form(model, given, exported)
    if form != InputForm():
        say(f"expects    {form} ({origin})")
    truth = truth_of(args, distinct_names(metadata(exported)), scratch)
    images = choose_images(args, size, form, scratch, truth)
    request = Request(
        model,
        args.head,
        images.calibration,
        images.compared if args.labels else images.compared[:COMPARED],
        platform=args.platform,
        algorithm=args.algorithm,
        cma_mb=args.cma_mb,
        camera_mb=args.camera_mb,
        seed=args.seed,
    )

    def check(adapted: Adapted) -> None:
        for line in adapted_lines(args.model, size, adapted):
            say(line)
        demand_fitting_options(args, adapted)
        truth.demand(adapted, request.compared)

    cc = program.compiler() if args.bundle else []
    conversion = convert(request, scratch, check)
    spent = costs(conversion.build, args.cma_mb, args.clock_mhz, estimator(MEASURED))
    lines = [*output_lines(conversion, bool(args.dataset)), *cost_lines(conversion, spent)]
    measured = None
    if args.dataset:
        measured, accuracy_lines = truth.measured(conversion, images.held_out)
        lines += accuracy_lines
    # Both appear at the end, if all went well.
    with ExitStack() as made:
        made.enter_context(whole(args.output)).write_bytes(conversion.rknn.read_bytes())
        if args.bundle:
            folder = made.enter_context(whole(args.bundle))
            proof = bundle_conversion(args.model.stem, request, conversion, measured, cc, folder)
            lines.append(f"bundle     {args.bundle}: {proof.in_words()}")
    size_mb = args.output.stat().st_size / 1e6
    say(f"made       {args.output}: {size_mb:.2f} MB for {args.platform}, head '{conversion.adapted.head}'")
    say(f"input      {size}, uint8 {form.fitting}, pixels 0 to 255")
    for line in lines:
        say(line)


def truth_of(args, classes: list[str], scratch: Path) -> Truth:
    """What --labels holds for a model of these classes. Raises UserError as read_class_labels does."""
    if not args.labels:
        return NoLabels()
    if are_classes(args.labels):
        labels = read_class_labels(args.labels, classes, args.model)
        return ClassFolders(args.model, labels, args.seed)
    copies = scratch / "labels"
    copies.mkdir()
    sigmas = keypoint_sigmas(args.oks_sigmas, "--oks-sigmas")
    return LabelFiles(args.model, args.labels, args.dataset, copies, args.seed, args.kpt_shape, sigmas)


def demand_fitting_options(args, adapted: Adapted) -> None:
    """Raise UserError for options about anchors or keypoints if the model has none."""
    outputs = adapted.outputs
    demand_anchors_used(args.anchors, outputs and outputs.family, adapted.stranger or "the head as_is is asked for")
    if outputs is None or outputs.task == KEYPOINT_TASK:
        return
    given = {"--kpt_shape": args.kpt_shape, "--oks-sigmas": keypoint_sigmas(args.oks_sigmas, "--oks-sigmas")}
    for option in (option for option, value in given.items() if value):
        raise UserError(
            f"{option} is for the task {KEYPOINT_TASK}, but {args.model} is for the task {outputs.task}; leave it out"
        )


def choose_images(args, size: ImageSize, form: InputForm, scratch: Path, truth: Truth) -> ImageChoice:
    """Draw images from --dataset, or make noise. Raises UserError when there are no images."""
    folder = scratch / "letterboxed"
    folder.mkdir()
    if args.dataset is not None:
        choice = draw_images(args.dataset, size, form, args.max_images, args.seed, folder)
        return compare_on(choice, truth.images) if truth.images else choice
    count = min(args.max_images or NOISE, NOISE)
    say(
        f"warning: no --dataset, so it calibrates on random noise (images: {count}), and INT8 scales will not fit real "
        "images (YOLOv8n at 320: mAP50-95 0.33 instead of 0.38); use it only to see whether the model builds; do not "
        "flash it"
    )
    noise = noise_images(size, count, args.seed, folder, form.depth)
    return ImageChoice(noise, noise, held_out=False)


def complaints(log: Path) -> str:
    """The end of a sentence: the toolkit's last error line."""
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith(("E ", "ERROR"))
    ]
    return f" (its last error line: {lines[-1]})" if lines else ""


if __name__ == "__main__":
    sys.exit(supervise(main))
