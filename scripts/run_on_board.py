"""Run bundles on the board: its mAP (of a classifier, top-1) and milliseconds, compared with the simulator's.

Makes the folder board/ in the folder --run: for each bundle in its bundle/ (or for those named with --bundle) a folder
MODEL/IMGSZ/HEAD/ALGORITHM-MAX_IMAGES with detections.npz (the board's detections in the evaluation images) and
board.json (times, agreement with the simulator, mAP; for a model that the board refuses, its message). The bundle's
program is compiled with --cc and --sdk, copied to the board with the model, and run over the images in batches. An
interrupted run resumes; until all is done, its results are in board.unfinished/.

With --doctor no bundle is needed and nothing is made: a small program, compiled with --cc, asks the board for its
runtime, driver, chip, memory, the NPU's clock and the programs that use camera and NPU. The command then prints which
toolkit to choose, what to stop, and what to replace.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path
from statistics import median

from lib.accuracy.detection_set import write_detections
from lib.accuracy.evaluation import Choices, compared, evaluate
from lib.accuracy.inference import evaluation_images
from lib.accuracy.operating import Wish, add_operating_option
from lib.accuracy.resampled_map import read_resampled
from lib.accuracy.undecoded_set import UndecodedSet, as_classes, read_evaluated
from lib.board.doctor import advice, examine, own_runtime
from lib.board.program import Refused
from lib.board.run import BoardRun, Settings, run_bundle
from lib.board.summary import agreement_with_simulator, class_agreement, detection_set, ran_well, refused
from lib.board.transport import TRANSPORTS
from lib.bundle.contract import CONTRACT, Contract
from lib.data.keypoints import add_sigmas_option, keypoint_sigmas
from lib.data.names import read_names
from lib.data.split import PARTS
from lib.npu.build import Build
from lib.npu.timing import measured_row, work_of
from lib.npu.verdict import Judgement
from lib.results import run_files
from lib.results.sweep import Variant
from lib.step.arguments import MOST_RESAMPLES, StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import remove, sha256, whole
from lib.step.supervisor import supervise

OWN = {"board.json", "detections.npz", "found.jsonl"}  # files of a variant


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    settings = Settings(**{name: getattr(args, name) for name in Settings._fields})
    if args.doctor:
        own = own_runtime(settings)
        for sentence in advice(examine(settings), own):
            say(sentence)
        return
    bundles = args.bundle or sorted(path.parent for path in (args.run / "bundle").rglob(CONTRACT))
    if not bundles:
        raise UserError(f"{args.run / 'bundle'} has no bundle; run the step that makes it first")
    unfinished = args.run / "board.unfinished"
    done = []
    for bundle in bundles:
        contract = Contract.of_bundle(bundle)
        place = contract.variant.path()
        with whole(args.run / "board" / place) as part:
            run_one(args, settings, bundle, contract, part, unfinished / place)
        done.append(unfinished / place)
    # Only at the end: if the connection breaks at a later bundle, the results of the earlier ones are kept.
    for folder in done if args.bundle else [unfinished]:
        remove(folder)


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("--doctor", action="store_true", help="only examine the board; no other option is required")
    parser.add_output("--run", type=Path, metavar="DIR", is_own=holds_results, parts=("board", "board.unfinished"))
    parser.add_argument("--bundle", nargs="+", type=Path, metavar="DIR", help="run only these bundles")
    parser.add_argument("--part", choices=PARTS, default="heldout", help="as in the evaluation")
    parser.add_renamed("--images", "--part", choices=PARTS)
    parser.add_argument("--names", nargs="+", help="class names, or a file with one per line")
    parser.add_argument("--resamples", type=at_least(1, MOST_RESAMPLES), default=1000, metavar="N")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the resamples")
    add_sigmas_option(parser)
    add_operating_option(parser)
    parser.add_argument("--transport", choices=TRANSPORTS, default="ssh")
    parser.add_argument("--host", default="", help="as for ssh; with adb a serial number, if there are several boards")
    parser.add_argument("--options", default="", metavar="WORDS", help="for ssh or adb: --options='-p 2222'")
    parser.add_argument("--folder", default="/tmp", help="on the board, with free space")
    parser.add_argument("--cc", default="arm-rockchip830-linux-uclibcgnueabihf-gcc", help="the board's C compiler")
    parser.add_argument("--sdk", default="", metavar="DIR", help="Rockchip's runtime for the board, librknn_api")
    parser.add_argument("--runtime", default="", metavar="FILE.so", help="a librknnmrt.so to copy to the board too")
    parser.add_argument(
        "--launcher", default="", metavar="COMMAND", help="command before the program, such as 'nice -n -20'"
    )
    parser.add_argument("--repeat", type=at_least(0), default=50, metavar="N", help="runs for timing only")
    parser.add_argument("--timeout", type=at_least(1), default=120, metavar="SECONDS", help="for each command and file")
    args = parser.parse_args(argv)
    if not args.doctor and not (args.run and args.names):
        parser.error("--run and --names are required, except with --doctor")
    return args


def holds_results(folder: Path) -> bool:
    """Whether `folder` contains only files that this step makes."""
    return run_files.is_by_variant(folder, lambda place: {path.name for path in place.iterdir()} <= OWN)


def run_one(args, settings: Settings, bundle: Path, contract: Contract, folder: Path, unfinished: Path) -> None:
    """Run one bundle, and write the board's results to the new `folder`."""
    variant = contract.variant
    names = read_names(args.names)
    images = evaluation_images(args.run / "dataset", args.part)
    simulated = read_evaluated(run_files.detections(args.run, variant))
    build = {"rknn_sha256": sha256(bundle / "model.rknn"), "toolkit": contract.toolkit}
    try:
        run = run_bundle(settings, bundle, contract, images, unfinished)
    except Refused as words:
        summary = refused(str(words), contract.verdict, build)
        summary.write(folder / "board.json")
        was = f"the verdict was {summary.verdict}: {summary.verdict_was}"
        say(f"{variant.title()}: the board refuses it: {words}; {was}")
        return
    detections = evaluated = detection_set(run)
    if isinstance(simulated, UndecodedSet):
        evaluated = as_classes(detections, simulated.why)
        agreement = class_agreement(simulated, evaluated)
    else:
        agreement = agreement_with_simulator(simulated, detections)
    baseline = run_files.exported_resampled(args.run, variant)
    sigmas = keypoint_sigmas(args.oks_sigmas, "--oks-sigmas (evaluation.oks_sigmas)")
    metrics, resampled = evaluate(
        evaluated, args.run / "dataset", names, args.resamples, args.seed, Choices(sigmas, Wish.parse(args.operating))
    )
    metrics = compared(metrics, resampled, read_resampled(baseline))
    line = measured(args.run, variant, run, settings)
    summary = ran_well(run, agreement, metrics, contract.verdict, line, build)
    write_detections(folder / "detections.npz", detections)
    summary.write(folder / "board.json")
    name = "mAP50-95" if metrics.top1 is None else "top-1"
    say(
        f"{variant.title()}: {name} {metrics.accuracy:.4f} on the board, "
        f"{contract.accuracy.int8:.4f} on the simulator; rknn_run {summary.run_ms.median:.1f} ms "
        f"({summary.run_ms.low:.1f} to {summary.run_ms.high:.1f})"
    )


def measured(folder: Path, variant: Variant, run: BoardRun, settings: Settings) -> str:
    """This run as a row for config/measured.csv, where later estimates use it like published measurements."""
    build = Build.read(run_files.rknn(folder, variant, "build.json"))
    costs = Judgement.read(run_files.rknn(folder, variant, "verdict.json")).costs
    times = run.repeated_us or [result.run_us for result in run.results]
    name = f"{variant.model} {variant.imgsz} {variant.head}"
    work = work_of(build)
    return measured_row(name, settings.host or "my board", costs.clock_mhz, median(times) / 1e3, work)


if __name__ == "__main__":
    sys.exit(supervise(main))
