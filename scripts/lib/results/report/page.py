"""What page.html.j2 lays out, by name and type. Texts are as people read them; nothing is escaped yet."""

from dataclasses import dataclass

from lib.accuracy.metrics import OutputLikeness
from lib.accuracy.operating import Operating
from lib.npu.verdict import Costs, Verdict
from lib.results.board_results import RanOnBoard, RefusedByBoard
from lib.results.columns import Column
from lib.results.report.provenance import FileChecksum


@dataclass(frozen=True)
class Image:
    """An image within the page: its address, and its size in pixels, which keeps its place while the page loads."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Cell:
    """A cell of the table: its text, and what it is sorted by; both of a missing value sort last."""

    text: str
    sort: object


@dataclass(frozen=True)
class Row:
    """A variant: its name, its file below the run's folder, its cells by column, and the reasons for and against it."""

    title: str
    rknn: str
    cells: dict[str, Cell]
    judged: Verdict
    costs: Costs
    best: bool
    front: bool

    def text(self, column: str) -> str | None:
        """The text of a column; None where the table has no such column."""
        cell = self.cells.get(column)
        return cell.text if cell else None


@dataclass(frozen=True)
class Reason:
    """A verdict other than `runs`, and the names of the variants it is on."""

    judged: Verdict
    variants: list[str]


@dataclass(frozen=True)
class Estimate:
    """mAP50-95 with the limits of its 95 % interval, as texts."""

    map: str
    low: str
    high: str


@dataclass(frozen=True)
class Accuracy:
    """mAP50-95 of the FP32 baseline and of the INT8 model."""

    fp32: Estimate
    int8: Estimate


@dataclass(frozen=True)
class Classes:
    """AP50-95 of each class of a variant, records of `lib.results.table.class_differences`; `shown` is unfolded."""

    variant: str
    shown: bool
    rows: list[dict]


@dataclass(frozen=True)
class Outputs:
    """How like FP32's the outputs of a variant are that nothing decodes."""

    variant: str
    rows: tuple[OutputLikeness, ...]


@dataclass(frozen=True)
class Layers:
    """The layers of a variant that lose most by themselves, records of its layers/….csv, and the plot of all.

    outputs: the records of its outputs, where some are the maps of a task.
    """

    variant: str
    rows: list[dict]
    outputs: list[dict]
    figure: Image


@dataclass(frozen=True)
class OnBoard:
    """What a board did with a variant, and the simulator's mAP50-95 to read it beside."""

    title: str
    simulator: float
    board: RanOnBoard | RefusedByBoard


@dataclass(frozen=True)
class Page:
    """Everything that the page shows of a run; no time, no absolute path."""

    run: str
    platform: str
    task: str | None  # None for boxes
    objects: str  # what the task's mAP is of, in words
    dataset: str
    part: str  # of the data set that the held-out images are of; empty where it has none
    images: int
    boxes: int
    simulators: list[str]  # what ran the variants, of lib.npu.build.SIMULATORS
    resamples: int
    heldout: bool
    columns: list[Column]
    shared: dict[str, str]  # what all rows have in common, by its column's heading
    rows: list[Row]
    reasons: list[Reason]
    counts: dict[str, int]  # rows by verdict
    best: Row | None
    focus: Row  # the recommended one, or the most accurate one where none runs
    accuracy: Accuracy  # of `focus`
    decoded: bool  # `focus` has detections, so a mAP
    end2end: bool  # `focus` needs no NMS
    indistinguishable: list[Row]  # from `best`
    cheapest: Row | None  # of `best` and these, in NPU cycles
    top: Row  # the most accurate one, running or not
    front: list[Row]
    figures: dict[str, Image]
    detections: Image
    classes: list[Classes]
    operating: Operating | None
    outputs: list[Outputs]
    board: list[OnBoard]
    layers: list[Layers]
    toolkit: list[str]
    versions: dict[str, str]
    commit: str | None
    dataset_files: tuple[int, str]
    checksums: list[FileChecksum]
    config: str
