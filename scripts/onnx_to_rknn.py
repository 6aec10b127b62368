"""Convert an ONNX detector to an INT8 .rknn in one go: the workflow's steps, for one model and a folder of images.

Makes --output (default: beside MODEL, with the suffix .rknn), and nothing else. Calibrates on --max-images images of
--dataset, drawn by --seed; the others tell how far INT8 is from FP32 on the toolkit's simulator. With --labels that is
mAP. Without --dataset it calibrates on noise, which costs accuracy.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from lib import tasks
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.evaluation import compared, measure
from lib.accuracy.inference import onnx_runner, over_images
from lib.accuracy.matching import SURE, found_again
from lib.data.image_paths import image_paths
from lib.data.images import read_image
from lib.data.imgsz import imgsz_argument
from lib.data.letterbox import letterbox
from lib.data.split import shuffled
from lib.detector.head import HEADS, SPLIT
from lib.detector.instances import Instances, nothing
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import class_names, load, save
from lib.graph.onnx_session import open_session, outputs_of
from lib.graph.surgery import MEASURED, PROVEN, adapt, head_of
from lib.graph.surgery.fixed_size import fix_size
from lib.graph.surgery.proof import noise_image
from lib.graph.surgery.simplify import simplify
from lib.npu import toolkit
from lib.npu.rknn_file import read_rknn
from lib.npu.verdict import verdict
from lib.step import console
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import ToolkitError, UserError, run_step
from lib.step.files import require, whole

COMPARED = 64  # images, where there are no labels
RESAMPLES = 1000  # of the images, for the interval of what INT8 keeps


def main(argv=None):
    """Run the command."""
    args = parse(argv)
    with tempfile.TemporaryDirectory() as scratch:
        # A failure tells the last of the toolkit's words, so they go to a file in any case.
        console.log_to(args.log or str(Path(scratch, "log")))
        try:
            convert(args, Path(scratch))
        except ToolkitError as error:
            if args.log:
                raise
            raise UserError(f"{error}{complaints(Path(scratch, 'log'))}; --log FILE keeps its whole output") from error
        except UserError:
            raise
        except Exception as error:
            if args.log:
                raise
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"{args.model} cannot be converted ({type(error).__name__}: {reason}); if it is a sound model, report "
                "this with the output that --log FILE keeps"
            ) from error


def parse(argv):
    """The command's arguments."""
    parser = StepParser(__doc__, opens_log=False)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.rknn")
    parser.add_argument("--size", type=imgsz_argument, help="WIDTHxHEIGHT or one number (default: the model's own)")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="images to calibrate on (jpg, jpeg, png)")
    parser.add_argument("--max-images", type=at_least(0), default=64, metavar="N",
                        help="of them, 0: all (default: %(default)s)")  # fmt: skip
    parser.add_argument("--labels", type=Path, metavar="DIR", help="labels in Ultralytics' layout: evaluate mAP too")
    parser.add_argument("--head", choices=HEADS, default=SPLIT, help="form of the outputs (default: %(default)s)")
    parser.add_argument("--platform", choices=toolkit.PLATFORMS, default="rv1106", help="(default: %(default)s)")
    parser.add_argument("--algorithm", choices=toolkit.ALGORITHMS, default="normal", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the calibration sample (default: %(default)s)")
    parser.add_argument("--cma-mb", type=at_least(1), default=66, help="the board's CMA in MB (default: %(default)s)")
    args = parser.parse_args(argv)
    args.output = args.output or args.model.with_suffix(".rknn")
    if args.output.resolve() == args.model.resolve() or args.output.is_dir():
        parser.error(f"--output {args.output} is the model itself or a folder; name a file for the .rknn")
    if args.labels and not args.dataset:
        parser.error("--labels needs the images that they belong to: --dataset")
    return args


def convert(args, scratch: Path) -> None:
    """Surgery, calibration, build, comparison; --output appears at the end, when all went well."""
    exported, size = fix_size(load(args.model), args.size)
    images = Images.of(args, size, scratch)
    fitted = [letterbox(read_image(path), size)[0] for path in images.calibration[:MEASURED]]
    simple = exported
    # A model that went through surgery already was simplified before it, and is left alone.
    if head_of(exported) is None:
        simple, _ = simplify(exported, fitted[:PROVEN], args.seed)
    adapted, record = adapt(simple, args.head, fitted, args.seed)
    classes = class_names(adapted)
    say(f"model      {args.model}: {size}, {', '.join(each['pass'] for each in record['passes']) or 'left as it is'}")
    save(adapted, scratch / "model.onnx")
    outputs = outputs_of(open_session(scratch / "model.onnx"))
    with toolkit.quantized(scratch / "model.onnx", images.calibration, args.platform, args.algorithm) as session:
        judged = verdict(session.export(scratch / "model.rknn"), args.cma_mb)
        results = compare(scratch / "model.onnx", session, outputs, images.compared)
    built = read_rknn(scratch / "model.rknn")
    lines = difference(results, args, images, classes, outputs.task)
    with whole(args.output) as part:
        part.write_bytes((scratch / "model.rknn").read_bytes())
    say(f"made       {args.output}: {args.output.stat().st_size / 1e6:.2f} MB for {args.platform}, head '{args.head}'")
    say(f"input      {size}, uint8 RGB, letterboxed, pixels as they are")
    for each, cosine in zip(built.outputs, np.mean([each.cosines for each in results], axis=0)):
        shape = list(each.shape)
        say(f"output     {each.name} {shape} scale {each.scale:.6g} zero point {each.zero_point}, cosine {cosine:.4f}")
    say(f"verdict    {judged.line}")
    for line in lines:
        say(line)


class Images(NamedTuple):
    """What to calibrate on, letterboxed already, and what to compare on."""

    calibration: list[Path]
    compared: list[Path]
    held_out: bool

    @classmethod
    def of(cls, args, size, scratch: Path) -> "Images":
        """Draw them from --dataset, or make noise. Raises UserError when there are none."""
        folder = scratch / "letterboxed"
        folder.mkdir()
        if args.dataset is None:
            say(
                "warning: no --dataset, so it calibrates on random noise, and INT8 scales will not fit real images "
                "(YOLOv8n at 320: mAP50-95 0.33 instead of 0.38); see whether the model builds, do not flash it"
            )
            rng = np.random.default_rng(args.seed)
            for number in range(min(args.max_images or 16, 16)):
                cv2.imwrite(str(folder / f"{number:02}.png"), noise_image(size, rng))
            found = image_paths(folder)
            return cls(found, found, False)
        found = image_paths(require(args.dataset, "folder of images"))
        if not found:
            raise UserError(f"{args.dataset} holds no image (jpg, jpeg, png) to calibrate on")
        order = shuffled([str(path) for path in found], args.seed)
        chosen, others = order[: args.max_images or len(order)], order[args.max_images or len(order) :]
        if args.max_images > len(found):
            say(f"warning: {args.dataset} holds {len(found)} images, not {args.max_images}; all of them are used")
        calibration = []
        for number, path in enumerate(tqdm(chosen, "letterbox", file=console.terminal(), disable=None, leave=False)):
            calibration.append(folder / f"{number:06}.png")
            cv2.imwrite(str(calibration[-1]), letterbox(read_image(path), size)[0][:, :, ::-1])
        compared = sorted(others or chosen)
        return cls(calibration, [Path(path) for path in compared[: None if args.labels else COMPARED]], bool(others))


class Result(NamedTuple):
    """One image through both models."""

    size: tuple[int, int]
    fp32: Instances
    int8: Instances
    cosines: list[float]  # of each raw output in INT8 to that in FP32


def compare(model: Path, session: toolkit.Session, outputs: OutputSpec, images: list[Path]) -> list[Result]:
    """Each image through the FP32 model and the simulator."""
    return over_images(
        lambda: (onnx_runner(model), session.simulate()), partial(_compare, outputs), images, 1, "FP32 and INT8"
    )


def _compare(outputs: OutputSpec, runs, path: Path) -> Result:
    fitted, fit = letterbox(read_image(path), outputs.imgsz)
    raw = [run(fitted) for run in runs]
    found = [tasks.get(outputs.task).instances(outputs, each, fit) for each in raw]
    return Result(fit.source, *found, [cosine(*pair) for pair in zip(*raw, strict=True)])


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of the angle between two outputs as vectors."""
    a, b = (each.ravel().astype(np.float64) for each in (first, second))
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def difference(results: list[Result], args, images: Images, classes: list[str], task: str) -> list[str]:
    """How far INT8 is from FP32, as lines for people."""
    whose = "that it was not calibrated with" if images.held_out else "that it was calibrated with"
    on = f"on {len(results)} images {whose}"
    if args.labels:
        sizes = [each.size for each in results]
        truth = read_truth(args, images.compared, sizes, len(classes), task)
        names = [path.name for path in images.compared]
        (fp32, baseline), (int8, measured) = (
            measure(truth, DetectionSet(names, sizes, instances, task), classes, RESAMPLES, args.seed)
            for instances in ([result.fp32 for result in results], [result.int8 for result in results])
        )
        kept = compared(int8, measured, baseline)
        share = "nothing to keep"
        if kept.retention is not None:
            limits = f"{kept.retention_low:.1%} to {kept.retention_high:.1%}"
            share = f"{kept.retention:.1%} kept, 95 % interval {limits}"
        return [
            f"mAP50-95   FP32 {fp32.map50_95:.4f}, INT8 {int8.map50_95:.4f} ({share}) {on}",
            f"mAP50      FP32 {fp32.map50:.4f}, INT8 {int8.map50:.4f}",
        ]
    if args.dataset is None:
        return []
    matched = [pair for each in results for pair in found_again(each.fp32, each.int8, tasks.get(task).overlap)]
    sure = sum(int((each.fp32.scores >= SURE).sum()) for each in results)
    if not sure:
        return [f"detections none in FP32 from score {SURE} on, {on}: are these images of what the model finds?"]
    overlap, change = np.mean(matched, axis=0) if matched else (0.0, 0.0)
    return [
        f"detections INT8 finds {len(matched)} of FP32's {sure} ({len(matched) / sure:.1%}), "
        f"mean IoU {overlap:.3f}, mean change of score {change:+.3f}, {on}"
    ]


def read_truth(args, images: list[Path], sizes: list, classes: int, task: str) -> list[Instances]:
    """What is labelled in each image; one without a label file is background. Raises UserError when no one has any."""
    require(args.labels, "folder of labels")
    truth = []
    for path, size in zip(images, sizes):
        label = args.labels / path.relative_to(args.dataset).with_suffix(".txt")
        truth.append(tasks.get(task).read_label(label, size, classes) if label.exists() else nothing())
    if not any(map(len, truth)):
        raise UserError(f"{args.labels} holds no box for the {len(images)} images; labels are named as images are")
    return truth


def complaints(log: Path) -> str:
    """The toolkit's last error line, as the end of a sentence."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.startswith(("E ", "ERROR"))]
    return f" (its last error line: {lines[-1]})" if lines else ""


if __name__ == "__main__":
    sys.exit(run_step(main))
