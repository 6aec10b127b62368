"""Measure in one process how many draws of the calibration set affect the mAP of one graph in INT8.

Makes --draws (JSON, for calibration_study.py): the mAP50-95 for each of --max-images and --seed. The ranges of a draw
are those of its images in --ranges, as measure_ranges.py made them, or what --algorithm search makes of them; with
--algorithm corrected they are the same, and biases are corrected on the draw's images.
--simulator is one that needs no build for each draw. The draws are shared out to --processes.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import lib  # noqa: F401  first: it ends a step that gets no memory with a message

# isort: split
from pathlib import Path

import numpy as np

from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.evaluation import Choices, evaluate
from lib.accuracy.inference import detect_image, evaluation_images, over_images
from lib.data.calibration import pool_in_form
from lib.data.image_paths import image_paths
from lib.data.keypoints import add_sigmas_option, keypoint_sigmas
from lib.data.manifest import check_manifest
from lib.data.names import read_names
from lib.data.split import PARTS, shuffled
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import detector_spec
from lib.npu import toolkit
from lib.npu.algorithms import NORMAL, RANGED, SEARCH
from lib.npu.build import SIMULATORS, TOOLKIT, USE_TOOLKIT
from lib.npu.built_ranges import built_ranges
from lib.npu.int8 import read_ranges_of
from lib.npu.parameters import parameters_of
from lib.npu.range_table import digests, network_input
from lib.npu.search.choice import halves, searched
from lib.npu.twin.ranges import adjusted
from lib.npu.twin.run import start_of
from lib.npu.twin.structure import Ranges, Structure
from lib.results.draws import Draw, Draws
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require
from lib.step.supervisor import supervise


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    names, images = read_names(args.names), evaluation_images(args.dataset, args.part)
    model = load(require(args.onnx, "model"))
    outputs, form = detector_spec(model, names, args.onnx), input_form_of(model)
    table = read_ranges_of(args.onnx, args.platform, args.ranges)
    if table.unknown:
        raise UserError(f"{args.ranges} has no ranges, because {table.unknown}; {USE_TOOLKIT} for a study")
    pool = image_paths(require(args.pool, "pool"))
    check_manifest(args.pool, [])
    if max(args.max_images) > len(pool):
        raise UserError(
            f"--max-images asks for {max(args.max_images)} images, but the pool {args.pool} has {len(pool)}"
        )
    structure = table.half.structure(args.onnx)
    with pool_in_form(pool[:1], args.dataset / "images", outputs.imgsz, form) as first:
        table.demand_of(digests(first), form)

    def calibrated(drawn: list[Path]) -> Structure:
        """The structure when calibrated on these images of the pool."""
        if args.algorithm == SEARCH:
            setting, judging = halves(drawn)
            measured = table.union([image.name for image in setting])
            return ready(searched(structure, measured, inputs(judging), outputs))
        normal = ready(adjusted(structure, table.union([image.name for image in drawn])))
        if args.algorithm == NORMAL:
            return normal
        return normal.with_parameters(parameters_of(args.algorithm, normal, model, inputs(drawn)))

    def ready(ranges: Ranges) -> Structure:
        """The structure with these ranges, as it is built."""
        return structure.with_ranges(built_ranges(structure, ranges, outputs))

    def inputs(drawn: list[Path]) -> list[np.ndarray]:
        """The network's input for images of the pool."""
        with pool_in_form(drawn, args.dataset / "images", outputs.imgsz, form) as images:
            return [network_input(form, image) for image in images]

    choices = Choices(keypoint_sigmas(args.oks_sigmas, "--oks-sigmas (evaluation.oks_sigmas)"))

    def map50_95(_, draw: tuple[int, int]) -> float:
        count, seed = draw
        run = start_of(args.simulator, calibrated(shuffled(pool, seed)[:count]), form)()
        instances, sizes = map(list, zip(*(detect_image(outputs, form, run, image) for image in images)))
        detections = DetectionSet([image.name for image in images], sizes, instances, outputs.task)
        return evaluate(detections, args.dataset, names, 1, 0, choices)[0].map50_95

    sets = [(count, seed) for count in sorted(args.max_images) for seed in sorted(args.seed)]
    values = over_images(lambda: None, map50_95, sets, args.processes, f"draws of {args.onnx.stem} {outputs.imgsz}")
    Draws(tuple(Draw(*drawn, value) for drawn, value in zip(sets, values))).write(args.draws)
    say(f"{len(sets)} draws of calibration images in {args.draws}, on {args.simulator}")


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--ranges", required=True, type=Path, metavar="FILE.npz", help="from measure_ranges.py")
    parser.add_argument("--pool", required=True, type=Path, metavar="DIR", help="the letterboxed calibration pool")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--simulator", required=True, choices=[name for name in SIMULATORS if name != TOOLKIT])
    parser.add_argument(
        "--algorithm",
        choices=[*RANGED, SEARCH],
        default=NORMAL,
        help="(default: %(default)s)",
    )
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, default="heldout", help="evaluate on the held-out images, or all")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    add_sigmas_option(parser)
    parser.add_argument("--max-images", required=True, nargs="+", type=at_least(1), metavar="N")
    parser.add_argument("--seed", required=True, nargs="+", type=at_least(0), metavar="N")
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output("--draws", required=True, metavar="FILE.json")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(supervise(main))
