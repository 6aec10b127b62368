"""What the files of a run say of one variant: accuracy, build, verdict, and what a board did."""

from dataclasses import dataclass
from pathlib import Path

from lib.npu.verdict import cpu_operators
from lib.results import run_files
from lib.results.board_results import RanOnBoard, RefusedByBoard, read_board_results
from lib.results.sweep import Variant
from lib.step.files import read_json, sha256

METRICS = ("map50_95", "map50", "per_class")


@dataclass(frozen=True)
class VariantResults:
    """What a row of the table is about."""

    variant: Variant
    exported: dict
    adapted: dict
    int8: dict
    build: dict
    verdict: dict
    costs: dict
    board: RanOnBoard | RefusedByBoard | None  # None where no board was given this build

    @property
    def cpu_operators(self) -> int:
        """How many operators are on the CPU, input and output left out."""
        return len(cpu_operators(self.build["operators"]))

    @property
    def on_board(self) -> RanOnBoard | None:
        """What a board measured; None where none was given this build, or it refused it."""
        return self.board if isinstance(self.board, RanOnBoard) else None


def read_variant_results(run: Path, variant: Variant) -> VariantResults:
    """All of a variant's results below the folder of a run. Raises UserError for a file that is missing or damaged."""
    exported, int8 = read_metrics(run, variant)
    judged = read_json(run_files.rknn(run, variant, "verdict.json"), "verdict")
    return VariantResults(
        variant,
        exported,
        read_json(run_files.adapted_metrics(run, variant), *METRICS),
        int8,
        read_json(run_files.rknn(run, variant, "build.json"), "operators", "rknn_bytes"),
        judged["verdict"],
        judged["costs"],
        read_board(run, variant),
    )


def read_metrics(run: Path, variant: Variant) -> tuple[dict, dict]:
    """What evaluate.py measured for a variant: the model as exported in FP32, and in INT8 on the simulator."""
    return (
        read_json(run_files.exported_metrics(run, variant), *METRICS),
        read_json(run_files.metrics(run, variant), *METRICS),
    )


def read_board(run: Path, variant: Variant) -> RanOnBoard | RefusedByBoard | None:
    """What a board did with the variant's model; None where none was given it, or was given another build of it."""
    path = run_files.board(run, variant, "board.json")
    if not path.exists():
        return None
    board = read_board_results(path)
    return board if board.rknn_sha256 == sha256(run_files.rknn(run, variant, "model.rknn")) else None
