"""Quantize an ONNX to INT8, build the `.rknn` for the board, and run it on the evaluation images in the simulator.

Makes, in one process, because the simulator works only on a model that was built in the same process:
  --output      the .rknn
  --build       JSON with only facts: toolkit, platform, size, every operator, memory, error and warning lines
  --detections  the INT8 model's detections in the evaluation images, for evaluate.py; for the head as_is, which is not
                decoded, how similar its outputs are to FP32's
from --onnx and the letterboxed images listed in --calibration. --ranges, from measure_ranges.py, makes calibration
unnecessary for the algorithm `normal`. The evaluation images are divided among --processes; the result does not depend
on their number. With another --simulator than the toolkit's, a graph for onnxruntime is used instead; the first images
run on both, and a line says how they compare.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from lib.accuracy.detection_set import write_detections
from lib.accuracy.inference import detect_all, evaluation_images, over_images
from lib.accuracy.likeness import compare_outputs
from lib.accuracy.undecoded_set import UndecodedSet, write_undecoded
from lib.data.calibration import calibration_in_form
from lib.data.images import read_image
from lib.data.letterbox import letterbox
from lib.data.names import read_names
from lib.data.split import PARTS
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import detector_spec, form_or_reason
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.graph import input_size
from lib.npu import toolkit, toolkit_versions
from lib.npu.algorithms import ALGORITHMS, RANGED, either
from lib.npu.build import SIMULATORS, TOOLKIT, TWIN, TWIN_FAST, Agreement
from lib.npu.highest_scores import highest_scores, score_lines
from lib.npu.int8 import Quantization, int8_model
from lib.npu.twin.agreement import COMPARED, agreement, steps_apart
from lib.npu.twin.run import start_of
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require, whole
from lib.step.supervisor import supervise


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    demand_possible(args)
    toolkit_versions.use(args.toolkit)
    images = evaluation_images(args.dataset, args.part)
    model = load(require(args.onnx, "model"))
    outputs = None if is_as_is(model) else detector_spec(model, read_names(args.names), args.onnx)
    form, imgsz = input_form_of(model), input_size(model)

    def fitted(path: Path):
        return letterbox(read_image(path), imgsz, form)[0]

    asked = Quantization(args.onnx, args.platform, args.algorithm, form, outputs, twin=args.simulator != TOOLKIT)
    with (
        calibration_in_form(args.calibration, args.dataset / "images", imgsz, form) as calibration,
        int8_model(asked, calibration, args.ranges) as built,
        tempfile.TemporaryDirectory() as scratch,
    ):
        session, structure = built.session, built.structure
        start, agreed = session.simulate, None
        if asked.twin:
            # Before anything is written, because not every model has a twin.
            starts = {name: start_of(name, structure, form) for name in {args.simulator, TWIN, TWIN_FAST}}
            start = starts[args.simulator]
            agreed = compare(args, starts | {TOOLKIT: session.simulate}, structure.output_scales(), fitted, images)
        rknn = Path(scratch, args.output.name)
        build = session.export(rknn)
        if agreed:
            build = replace(build, simulator=args.simulator, agreement=agreed)
        title = f"INT8 {args.onnx.stem} {imgsz}"
        if outputs is None:
            write, found = likeness(args, form_or_reason(model)[1], start, images, title)
        else:
            detections = detect_all(start, outputs, images, args.processes, title, form)
            write = partial(write_detections, args.detections, detections)
            found = f"detected {args.detections}: {detections.count()} in {len(images)} images"
        # All appear at the end, if all went well: a model must not stand beside the detections of an older one.
        with ExitStack() as made:
            made.enter_context(whole(args.output)).write_bytes(rknn.read_bytes())
            build.write(made.enter_context(whole(args.build)))
            write()
        megabytes = build.rknn_bytes / 1e6
        say(f"built {args.output}: {megabytes:.2f} MB for {args.platform}, {len(calibration)} calibration images")
        for line in score_lines(highest_scores(rknn, outputs), built.surest) if outputs else []:
            say(line)
        if agreed:
            say(f"{args.simulator} is {agreed}")
        say(found)


def demand_possible(args) -> None:
    """Raise UserError for a simulator that cannot be had with the toolkit's version or with the algorithm."""
    if args.simulator == TOOLKIT:
        return
    if args.toolkit != (default := toolkit_versions.DEFAULT):
        raise UserError(f"--simulator {args.simulator} computes as toolkit {default} does, not {args.toolkit}")
    if args.algorithm not in RANGED:
        raise UserError(f"--simulator {args.simulator} needs the algorithm {either(RANGED)}, not {args.algorithm}")


def compare(args, starts: dict, scales: list[float], fitted, images: list[Path]) -> Agreement:
    """How another simulator compares with the toolkit's on the first images; `fitted(path)` is the input of both.

    starts: by their names, what opens the simulators: the two, and TWIN and TWIN_FAST, which differ only in the order
    of their sums. Raises UserError when the first two differ by more than the order of sums explains.
    """

    def opened() -> dict:
        return {name: start() for name, start in starts.items()}

    def apart(runs: dict, path: Path) -> tuple[list[float], list[float]]:
        image = fitted(path)
        outputs = {name: run(image) for name, run in runs.items()}
        pairs = (args.simulator, TOOLKIT), (TWIN, TWIN_FAST)
        return tuple(steps_apart(outputs[one], outputs[other], scales) for one, other in pairs)

    title = f"toolkit and {args.simulator}"
    apart_by_image = over_images(opened, apart, images[:COMPARED], args.processes, title)
    return agreement(args.simulator, *zip(*apart_by_image, strict=True))


def likeness(args, why: str, start, images: list[Path], title: str) -> tuple[Callable[[], None], str]:
    """How similar the outputs of a model that is not decoded are to FP32's: what writes it with `why`, and a line."""
    classes = len(read_names(args.names))
    outputs, best = compare_outputs(args.onnx, classes, start, images, args.processes, title)
    undecoded = UndecodedSet([image.name for image in images], why, outputs, best)
    least = min(outputs, key=lambda output: output.cosine)
    line = f"compared {args.detections}: cosine from {least.cosine:.4f} ({least.name}) in {len(images)} images"
    return partial(write_undecoded, args.detections, undecoded), line


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--calibration", required=True, type=Path, metavar="FILE.txt", help="list of images")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=ALGORITHMS)
    toolkit_versions.add_toolkit_option(parser)
    parser.add_argument(
        "--ranges",
        type=Path,
        metavar="FILE.npz",
        help=f"from measure_ranges.py, for the algorithm {either(RANGED)}",
    )
    parser.add_argument("--simulator", choices=SIMULATORS, default=TOOLKIT, help="(default: %(default)s)")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, default="heldout", help="evaluate on the held-out images, or all")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output("--output", required=True, type=Path, metavar="FILE.rknn")
    parser.add_output("--build", required=True, metavar="FILE.json")
    parser.add_output("--detections", required=True, metavar="FILE.npz")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(supervise(main))
