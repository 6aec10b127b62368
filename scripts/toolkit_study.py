"""Build one graph with several versions of rknn-toolkit2, and compare the results.

Makes --csv (one row per version: mAP or top-1, cycles, memory, operators on the CPU, verdict, size) and --markdown from
--onnx and the letterboxed images listed in --calibration. Each version runs in a process of its own, with quantize.py.
A version that cannot build the model has a row that says so.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lib.accuracy.evaluation import Choices, compared, evaluate
from lib.accuracy.metrics import ComparedMetrics
from lib.accuracy.resampled_map import ResampledMap, read_resampled
from lib.accuracy.undecoded_set import read_evaluated
from lib.data.keypoints import add_sigmas_option, keypoint_sigmas
from lib.data.names import read_names
from lib.data.split import PARTS
from lib.detector.head import ALL_HEADS
from lib.npu import toolkit
from lib.npu.algorithms import ALGORITHMS
from lib.npu.build import Build
from lib.npu.toolkit_versions import VERSIONS, missing_sentence
from lib.npu.verdict import RUNS, Verdict, add_camera_option, verdict
from lib.results.columns import TOOLKIT_STUDY_COLUMNS, of_classifier
from lib.results.table import frame, write_study
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require
from lib.step.supervisor import supervise
from lib.step.workers import end_with

QUANTIZE = Path(__file__).with_name("quantize.py")


@dataclass(frozen=True)
class Built:
    """A version's build of the model."""

    build: Build
    verdict: Verdict
    metrics: ComparedMetrics


@dataclass(frozen=True)
class VersionRow:
    """A version of the toolkit, its build of the model (None if it cannot build it), and what went wrong."""

    version: str
    built: Built | None
    failure: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the model does not run, or was not built; None if it runs."""
        if self.built is None:
            return self.failure
        return None if self.built.verdict.result == RUNS else self.built.verdict.reason


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    if missing := [sentence for version in args.toolkits if (sentence := missing_sentence(version))]:
        raise UserError("; ".join(missing))
    baseline = read_resampled(require(args.baseline, "FP32 baseline"))
    rows = []
    for version in args.toolkits:
        rows.append(row := row_of(version, args, baseline))
        say(f"{version}: {row.built.verdict.line if row.built else row.failure}")
    has_top1 = any(row.built and row.built.metrics.top1 is not None for row in rows)
    table = frame(of_classifier(TOOLKIT_STUDY_COLUMNS) if has_top1 else TOOLKIT_STUDY_COLUMNS, rows)
    write_study(table, args.csv, args.markdown)
    say(f"compared {len(rows)} versions of the toolkit: {args.markdown}")


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("--toolkits", required=True, nargs="+", choices=VERSIONS)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--calibration", required=True, type=Path, metavar="FILE.txt", help="list of images")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=ALGORITHMS)
    parser.add_argument("--head", required=True, choices=ALL_HEADS, help="head of the graph")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, default="heldout", help="evaluate on the held-out images, or all")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument("--baseline", required=True, type=Path, metavar="FILE.npz", help="the FP32 model's --resampled")
    add_sigmas_option(parser)
    parser.add_argument("--cma-mb", "--cma_mb", required=True, type=at_least(1), help="the board's CMA in MB")
    add_camera_option(parser)
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output("--csv", required=True, metavar="FILE.csv")
    parser.add_output("--markdown", required=True, metavar="FILE.md")
    return parser.parse_args(argv)


def row_of(version: str, args, baseline: ResampledMap) -> VersionRow:
    """The row of a version, which builds the model in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build, detections = folder / "build.json", folder / "detections.npz"
        command = [
            sys.executable, QUANTIZE, "--toolkit", version, "--onnx", args.onnx, "--calibration", args.calibration,
            "--platform", args.platform, "--algorithm", args.algorithm, "--dataset", args.dataset, "--part", args.part,
            "--names", *args.names, "--processes", args.processes, "--output", folder / "model.rknn", "--build", build,
            "--detections", detections, "--log", folder / "log",
        ]  # fmt: skip
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            preexec_fn=partial(end_with, os.getpid()),
        )
        if done.returncode:
            return VersionRow(version, None, failure_of(done.stderr))
        sigmas = keypoint_sigmas(args.oks_sigmas, "--oks-sigmas (evaluation.oks_sigmas)")
        metrics, resampled = evaluate(
            read_evaluated(detections), args.dataset, read_names(args.names), len(baseline.resampled), baseline.seed,
            Choices(sigmas),
        )  # fmt: skip
        facts = Build.read(build)
    judged = verdict(facts, args.cma_mb, args.head, args.camera_mb)
    return VersionRow(version, Built(facts, judged, compared(metrics, resampled, baseline)))


def failure_of(words: str) -> str:
    """The sentence that quantize.py ended with, without the name of its log, which is gone."""
    sentences = re.findall(r"^error: (.*?)(?: \(log: .*\))?$", words, re.M)
    return sentences[-1] if sentences else "it ended without a message"


if __name__ == "__main__":
    sys.exit(supervise(main))
