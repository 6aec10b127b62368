"""What the files of a run say about one variant: accuracy, build, verdict, and what a board did."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.accuracy.operating import Curve
from lib.accuracy.resampled_map import read_resampled
from lib.npu.build import Build
from lib.npu.verdict import Costs, Judgement, Verdict
from lib.results import run_files
from lib.results.board_results import RanOnBoard, RefusedByBoard, read_board_results
from lib.results.sweep import Variant
from lib.step.files import sha256


@dataclass(frozen=True)
class VariantResults:
    """The results of a variant in the folder `run`, from which a row of the table is made.

    A file is read when it is first asked for; that raises UserError where it is missing or damaged.
    """

    run: Path
    variant: Variant

    @cached_property
    def exported(self) -> Metrics:
        """Accuracy of the model as exported, in FP32."""
        return Metrics.read(run_files.exported_metrics(self.run, self.variant))

    @cached_property
    def adapted(self) -> Metrics:
        """Accuracy after graph surgery, in FP32."""
        return Metrics.read(run_files.adapted_metrics(self.run, self.variant))

    @cached_property
    def int8(self) -> ComparedMetrics:
        """Accuracy in INT8 on the simulator, compared with FP32's."""
        return ComparedMetrics.read(run_files.metrics(self.run, self.variant))

    @cached_property
    def build(self) -> Build:
        """The facts about the build."""
        return Build.read(run_files.rknn(self.run, self.variant, "build.json"))

    @cached_property
    def curves(self) -> tuple[Curve, Curve]:
        """Precision and recall over the confidence threshold, in FP32 and in INT8."""
        files = run_files.exported_resampled(self.run, self.variant), run_files.resampled(self.run, self.variant)
        fp32, int8 = (read_resampled(path).curve for path in files)
        return fp32, int8

    @property
    def verdict(self) -> Verdict:
        """Whether the board will run the model."""
        return self._judgement.verdict

    @property
    def costs(self) -> Costs:
        """The model's cost on the board: time and memory."""
        return self._judgement.costs

    @cached_property
    def _judgement(self) -> Judgement:
        return Judgement.read(run_files.rknn(self.run, self.variant, "verdict.json"))

    @cached_property
    def board(self) -> RanOnBoard | RefusedByBoard | None:
        """What a board did with the model; None where no board was given it, or only another build of it."""
        path = run_files.board(self.run, self.variant, "board.json")
        if not path.exists():
            return None
        board = read_board_results(path)
        return board if board.rknn_sha256 == sha256(run_files.rknn(self.run, self.variant, "model.rknn")) else None

    @property
    def on_board(self) -> RanOnBoard | None:
        """What a board measured; None where no board was given this build, or the board refused it."""
        return self.board if isinstance(self.board, RanOnBoard) else None
