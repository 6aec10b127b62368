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
from functools import partial
from pathlib import Path

from lib import tasks
from lib.accuracy.channels import better_channels
from lib.accuracy.classes import BEST, in_rows
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.evaluation import compared, measure, measure_classes
from lib.accuracy.inference import detect_all, onnx_runner
from lib.accuracy.labels import with_sigmas
from lib.accuracy.likeness import output_likeness
from lib.accuracy.matching import SURE
from lib.accuracy.metrics import ComparedMetrics
from lib.accuracy.operating import in_words
from lib.accuracy.undecoded_set import UndecodedSet
from lib.bundle import program
from lib.bundle.check import is_bundle
from lib.bundle.of_conversion import Measured, bundle_conversion
from lib.convert.class_labels import ClassLabels, are_classes, calibration_folder, read_class_labels
from lib.convert.comparison import int8_agreement
from lib.convert.conversion import Adapted, Conversion, Request, convert
from lib.convert.images import ImageChoice, compare_on, draw_images, first_images, noise_images
from lib.convert.labels import Labels
from lib.data.imgsz import ImageSize, imgsz_argument
from lib.data.input_form import InputForm
from lib.data.input_options import add_input_options, given_input
from lib.data.keypoints import COCO_SIGMAS, KEYPOINT_TASK, add_sigmas_option, keypoint_sigmas
from lib.data.model_kinds import instead_of
from lib.detector.head import ALL_HEADS, AS_IS
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.graph.anchor_option import add_anchors_option, demand_anchors_used, with_anchors
from lib.graph.class_names import distinct_names
from lib.graph.input_convention import settle_input_form
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load, metadata
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.prepare.behind_input import prepare
from lib.npu import toolkit, toolkit_versions
from lib.npu.algorithms import ALGORITHMS
from lib.npu.highest_scores import highest_scores, score_lines, unseen
from lib.npu.rknn_file import read_rknn
from lib.npu.timing import clock, estimator
from lib.npu.verdict import add_camera_option, at_fault, costs
from lib.step import console
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import ToolkitError, UserError
from lib.step.files import whole
from lib.step.supervisor import supervise
from lib.tasks.classify.labels import whole_image

COMPARED = 64  # most images to compare, if there are no labels
NOISE = 16  # most images of noise, if there are no images
RESAMPLES = 1000  # of the images, for the interval of the retention
LISTED = 12  # most operators at fault that are listed
SHOWN = 12  # most class names that are shown
RKNN = ".rknn"
# Files that are neither an ONNX nor a folder of images, but that start.py takes.
FOR_START = (".pt", ".cfg", ".weights", ".yaml", ".yml", ".zip", ".json")
LITTLE = 0.9  # share of FP32 that a model keeps in INT8, below which there is a warning
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
        say(f"input      {form} ({origin})")
    classes = None
    if args.labels and are_classes(args.labels):
        classes = read_class_labels(args.labels, distinct_names(metadata(exported)), args.model)
    images = choose_images(args, size, form, scratch, classes)
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

    def say_adapted(adapted: Adapted) -> None:
        say(f"model      {args.model}: {size}, {', '.join(adapted.passes) or 'left as it is'}")
        if adapted.outputs is None:
            why = f": {adapted.stranger}" if adapted.stranger else ""
            say(f"head       {adapted.head}{why}; its outputs are not decoded, so there are no detections and no mAP")
            if args.labels and not classes:
                raise UserError(
                    f"--labels are for the mAP of a detector, but {args.model} gets the head as_is{why}; for a "
                    "classifier, give a folder of images for each class, without label files"
                )
        if classes and adapted.outputs:
            raise UserError(
                f"{args.labels} has images and no label files, as for a classifier, but {args.model} is a detector; "
                "give a folder of label files"
            )
        if classes:
            classes.demand(load(adapted.onnx), args.model)
        family = adapted.outputs and adapted.outputs.family
        demand_anchors_used(args.anchors, family, adapted.stranger or "the head as_is is asked for")
        demand_keypoints(args, adapted.outputs)
        if args.labels and not classes:
            copies.update(labels_of(args, adapted).checked(list(request.compared), label_copies))

    copies, label_copies = {}, scratch / "labels"
    label_copies.mkdir()
    cc = program.compiler() if args.bundle else []
    conversion = convert(request, scratch, say_adapted)
    lines = cost_lines(conversion, args)
    measured = None
    if classes:
        measured, accuracy_lines = class_accuracy(conversion, args, classes, images.held_out)
        lines += accuracy_lines
    elif args.labels:
        truth = labels_of(args, conversion.adapted).of(copies, conversion.comparisons)
        measured, accuracy_lines = accuracy(conversion, args, truth, images.held_out)
        lines += accuracy_lines
    else:
        lines += difference(conversion, args, images.held_out)
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


def demand_keypoints(args, outputs: OutputSpec | None) -> None:
    """Raise UserError for options about keypoints if the model has none."""
    if outputs is None or outputs.task == KEYPOINT_TASK:
        return
    given = {"--kpt_shape": args.kpt_shape, "--oks-sigmas": keypoint_sigmas(args.oks_sigmas, "--oks-sigmas")}
    for option in (option for option, value in given.items() if value):
        raise UserError(
            f"{option} is for the task {KEYPOINT_TASK}, but {args.model} is for the task {outputs.task}; leave it out"
        )


def choose_images(args, size: ImageSize, form: InputForm, scratch: Path, classes: ClassLabels | None) -> ImageChoice:
    """Draw images from --dataset, or make noise. Raises UserError when there are no images."""
    folder = scratch / "letterboxed"
    folder.mkdir()
    if args.dataset is not None:
        choice = draw_images(args.dataset, size, form, args.max_images, args.seed, folder)
        return compare_on(choice, classes.images) if classes else choice
    count = min(args.max_images or NOISE, NOISE)
    say(
        f"warning: no --dataset, so it calibrates on random noise (images: {count}), and INT8 scales will not fit real "
        "images (YOLOv8n at 320: mAP50-95 0.33 instead of 0.38); use it only to see whether the model builds; do not "
        "flash it"
    )
    noise = noise_images(size, count, args.seed, folder, form.depth)
    return ImageChoice(noise, noise, held_out=False)


def cost_lines(conversion: Conversion, args) -> list[str]:
    """Lines about outputs, costs and verdict."""
    build, lines = conversion.build, []
    kinds = {operator.name.partition(":")[2]: operator.dtype for operator in build.operators if operator.is_end}
    outputs = conversion.adapted.outputs
    # The likeness of an output that is near zero for all images means nothing.
    silent = unseen(conversion.surest) if args.dataset else []
    strides = {output.name: output.stride for output in outputs.maps()} if outputs else {}
    for number, tensor in enumerate(read_rknn(conversion.rknn).outputs):
        like = output_likeness(tensor.name, [image.likeness[number] for image in conversion.comparisons])
        likeness = f"cosine {like.cosine:.4f}, signal to noise {like.snr_db:.1f} dB"
        if outputs is None and like.top1 is not None:
            # What the values of a vector mean cannot be told from the graph: they may be landmarks.
            likeness += (
                f", FP32's largest value (a classifier's best class) is INT8's in {like.top1:.0%} of images, among its "
                f"{BEST} largest in {like.top5:.0%}"
            )
        stored = tensor.quantization if tensor.scale is not None else f"{kinds[tensor.name]}, not quantized"
        if strides.get(tensor.name) in silent:
            likeness = f"stride {strides[tensor.name]} detected no object"
        lines.append(f"output     {tensor.name} {list(tensor.shape)} {stored}, {likeness}")
    if classes := conversion.adapted.classes:
        lines.append(classes_line(classes))
    if args.dataset and outputs:
        lines += score_lines(highest_scores(conversion.rknn, outputs), conversion.surest)
    spent = costs(build, args.cma_mb, args.clock_mhz, estimator(MEASURED))
    lines.append(
        f"costs      {build.npu_mcycles:.2f} million cycles of convolutions, "
        f"{spent.ms_low:.1f} to {spent.ms_high:.1f} ms at {spent.clock_mhz} MHz (an estimate), "
        f"memory {build.internal_kb:.0f} KB for tensors and {build.weight_kb:.0f} KB for weights"
    )
    lines.append(f"verdict    {conversion.verdict.line}")
    faults = at_fault(build)
    lines += [f"at fault   {operator.name}, {operator.dtype} on the {operator.target}" for operator in faults[:LISTED]]
    if len(faults) > LISTED:
        lines.append(f"at fault   {len(faults) - LISTED} more")
    return lines


def classes_line(names: list[str]) -> str:
    """The line with the names of the classes, of many only the first SHOWN."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"classes    {len(names)}: {', '.join(names[:SHOWN])}{more}"


def compared_on(conversion: Conversion, held_out: bool) -> str:
    """The end of a line: on which images the models were compared."""
    return f"on {len(conversion.comparisons)} images that it was {'not ' if held_out else ''}calibrated with"


def difference(conversion: Conversion, args, held_out: bool) -> list[str]:
    """Lines about how far INT8 is from FP32, without labels."""
    images, outputs, on = conversion.comparisons, conversion.adapted.outputs, compared_on(conversion, held_out)
    if args.dataset is None:
        return []
    if outputs is None:
        return [f"compared   INT8 with FP32 {on}, output by output"]
    agreement = int8_agreement(images, outputs.task)
    if not agreement.sure:
        return [f"detections none in FP32 with a score of at least {SURE}, {on}: do they show what the model detects?"]
    overlap = f"{tasks.get(outputs.task).overlap_name} {agreement.overlap:.3f}"
    found = agreement.matched / agreement.sure
    share = f"{agreement.matched} of FP32's {agreement.sure} ({found:.1%})"
    line = f"detections INT8 finds {share}, mean {overlap}, mean change of score {agreement.score_change:+.3f}, {on}"
    return [line, *far_off(found)]


def far_off(kept: float | None) -> list[str]:
    """A warning if INT8 keeps no more than this share of what FP32 has, which no choice of images explains."""
    if kept is None or kept >= LITTLE:
        return []
    return [
        "warning    this model loses much in INT8; before you flash it, compare --algorithm normal, corrected, gptq "
        "and mmse, or take another model (docs/int8_accuracy.md)"
    ]


def labels_of(args, adapted: Adapted) -> Labels:
    """The labels in --labels, for a model whose outputs are decoded."""
    return Labels(args.labels, args.dataset, adapted.classes, adapted.outputs.task, args.kpt_shape)


def accuracy(conversion: Conversion, args, truth: list[Instances], held_out: bool) -> tuple[Measured, list[str]]:
    """mAP in FP32 and in INT8 against `truth`, the labels of the compared images, and lines about it."""
    images, classes, task = conversion.comparisons, conversion.adapted.classes, conversion.adapted.outputs.task
    if sigmas := keypoint_sigmas(args.oks_sigmas, "--oks-sigmas"):
        truth = [with_sigmas(labels, sigmas) for labels in truth]
    names, sizes = [image.path.name for image in images], [image.size for image in images]
    (fp32, baseline), (int8, resampled) = (
        measure(truth, DetectionSet(names, sizes, instances, task), classes, RESAMPLES, args.seed)
        for instances in ([image.fp32 for image in images], [image.int8 for image in images])
    )
    kept = compared(int8, resampled, baseline)
    of, boxes = "", []
    if fp32.box_map50_95 is not None:
        of = f"of {tasks.get(task).objects} "
        boxes = [f"boxes      mAP50-95 FP32 {fp32.box_map50_95:.4f}, INT8 {int8.box_map50_95:.4f}"]
    on = compared_on(conversion, held_out)
    return Measured(truth, fp32, int8, held_out, classes), [
        *channels_line(conversion, truth, (fp32, baseline), args),
        f"mAP50-95   FP32 {fp32.map50_95:.4f}, INT8 {int8.map50_95:.4f} ({share_kept(kept)}) {of}{on}",
        f"mAP50      FP32 {fp32.map50:.4f}, INT8 {int8.map50:.4f}",
        *boxes,
        f"threshold  best F1 {in_words(int8.operating)}",
        *far_off(kept.retention_high),
    ]


def share_kept(kept: ComparedMetrics) -> str:
    """The retention in words."""
    if kept.retention is None:
        return "nothing to keep"
    limits = f"{kept.retention_low:.1%} to {kept.retention_high:.1%}"
    return f"{kept.retention:.1%} kept, 95 % interval {limits}"


def class_accuracy(conversion: Conversion, args, classes: ClassLabels, held_out: bool) -> tuple[Measured, list[str]]:
    """Top-1 and top-5 of a classifier in FP32 and in INT8, and lines about them."""
    images, kinds = conversion.comparisons, classes.of(conversion.comparisons)
    undecoded = UndecodedSet([image.path.name for image in images], AS_IS)
    (fp32, baseline), (int8, resampled) = (
        measure_classes(undecoded, in_rows(best), kinds, RESAMPLES, args.seed)
        for best in ([image.fp32_best for image in images], [image.int8_best for image in images])
    )
    kept = compared(int8, resampled, baseline)
    truth, on = [whole_image(image.size, kind) for image, kind in zip(images, kinds)], compared_on(conversion, held_out)
    return Measured(truth, fp32, int8, held_out, classes.names), [
        classes_line(classes.names),
        f"top-1      FP32 {fp32.top1:.4f}, INT8 {int8.top1:.4f} ({share_kept(kept)}) {on}",
        f"top-5      FP32 {fp32.top5:.4f}, INT8 {int8.top5:.4f}",
        *far_off(kept.retention_high),
    ]


def channels_line(conversion: Conversion, truth, measured, args) -> list[str]:
    """A line on which order of channels is better in FP32, if the difference is more than noise."""
    adapted, images = conversion.adapted, [image.path for image in conversion.comparisons]

    def measure_in(form: InputForm):
        title = f"FP32 in {form.channels.upper()}"
        detections = detect_all(partial(onnx_runner, adapted.onnx), adapted.outputs, images, 1, title, form)
        return measure(truth, detections, adapted.classes, RESAMPLES, args.seed)

    line = better_channels(conversion.form, measured, measure_in)
    return [f"channels   {line}"] if line else []


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
