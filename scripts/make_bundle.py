"""Make deploy bundles: a `.rknn` with its contract, C code that decodes its raw outputs, golden files, and the proof.

Makes the folder bundle/ in the folder --run: for the best variant of the sweep (or, with --bundle all, for each one) a
folder MODEL/IMGSZ/HEAD/ALGORITHM-MAX_IMAGES and the same as .zip. The C code is compiled and run on all evaluation
images; if its detections differ from Python's on the simulator's floats, nothing is written. If there is no detection
in any image, the bundle is made, but a warning says that no detection was compared. Variants with the head as_is, which
is not decoded, have no bundle, except classifiers whose top-1 was measured.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.accuracy.metrics import ComparedMetrics
from lib.bundle import program
from lib.bundle.check import is_bundle
from lib.bundle.make import make, read_evaluation
from lib.bundle.pack import pack
from lib.data.keypoints import add_sigmas_option, keypoint_sigmas
from lib.data.split import PARTS
from lib.detector.head import HEADS
from lib.results import run_files
from lib.results.choice import focus
from lib.results.sweep import Variant, asked
from lib.results.table import read_table, variant_of
from lib.step.arguments import StepParser, also_argument, at_least, sweep_arguments
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import whole
from lib.step.supervisor import supervise


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    cc = program.compiler()
    chosen = asked(args)
    decoded = [variant for variant in chosen if variant.head in HEADS or is_classifier(args.run, variant)]
    if not decoded:
        raise UserError(
            f"a bundle contains a decoder, but the head {chosen[0].head} is not decoded; its .rknn is "
            f"{run_files.rknn(args.run, chosen[0], 'model.rknn')}; a classifier needs labels for its bundle: "
            "dataset: {class_folders: FOLDER}"
        )
    chosen = [best(args.run, decoded)] if args.bundle == "best" else decoded
    sigmas = keypoint_sigmas(args.oks_sigmas, "--oks-sigmas (evaluation.oks_sigmas)")
    evaluation = read_evaluation(args.run, args.part, args.names, sigmas)
    with whole(args.run / "bundle") as part:
        for variant in chosen:
            folder = part / variant.path()
            proof = make(args.run, variant, evaluation, args.processes, cc, folder)
            pack(folder)
            say(f"bundle {args.run / 'bundle' / variant.path()}: {proof.in_words()}")


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_output("--run", required=True, type=Path, metavar="DIR", is_own=holds_bundles, parts=("bundle",))
    sweep_arguments(parser)
    also_argument(parser)
    parser.add_argument("--bundle", choices=("best", "all"), default="best", help="which variants of the sweep")
    parser.add_argument("--part", choices=PARTS, default="heldout", help="as in the evaluation")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    add_sigmas_option(parser)
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    return parser.parse_args(argv)


def holds_bundles(folder: Path) -> bool:
    """Whether `folder` contains only files that this step makes."""
    return run_files.is_by_variant(folder, is_bundle)


def is_classifier(run: Path, variant: Variant) -> bool:
    """Whether the accuracy of a variant is its top-1."""
    return ComparedMetrics.read(run_files.metrics(run, variant)).top1 is not None


def best(run: Path, chosen: list[Variant]) -> Variant:
    """The variant that the report recommends among the `chosen`, or the most accurate one if none is known to run."""
    table = read_table(run, chosen)
    return variant_of(table.loc[focus(table)])


if __name__ == "__main__":
    sys.exit(supervise(main))
