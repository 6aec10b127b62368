"""The data that page.html.j2 lays out, with names and types. Texts are as shown; nothing is escaped yet."""

from dataclasses import dataclass

from lib.accuracy.metrics import OutputLikeness
from lib.accuracy.operating import Operating
from lib.npu.verdict import Costs, Verdict
from lib.results.board_results import RanOnBoard, RefusedByBoard
from lib.results.columns import LIMITS, MISSING, Column
from lib.results.detection_errors import ImageErrors
from lib.results.report.provenance import FileChecksum


@dataclass(frozen=True)
class Image:
    """An image in the page: its address, and its size in pixels, which reserves its place while the page loads."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Cell:
    """A cell of the table: its text, and what it is sorted by; a missing value sorts last."""

    text: str
    sort: object


@dataclass(frozen=True)
class Row:
    """A variant: its name, its file below the run's folder, its cells by column, and what was judged of it."""

    title: str
    rknn: str
    cells: dict[str, Cell]
    judged: Verdict
    costs: Costs
    best: bool
    front: bool

    def text(self, column: str) -> str | None:
        """The text in a column; None where the table has no such column."""
        cell = self.cells.get(column)
        return cell.text if cell else None

    def shown(self, column: str) -> str:
        """What the table shows in a column: for limits, both."""
        low = self.cells.get(LIMITS[column][0]) if column in LIMITS else None
        high = self.cells[column].text
        return high if low is None or MISSING in (low.text, high) else f"{low.text} to {high}"


@dataclass(frozen=True)
class OnFront:
    """A variant on a Pareto front: by estimated time, by NPU cycles, or by both."""

    row: Row
    by: str


@dataclass(frozen=True)
class Reason:
    """A verdict other than `runs`, and the names of the variants that have it."""

    judged: Verdict
    variants: list[str]


@dataclass(frozen=True)
class Estimate:
    """An accuracy with the limits of its 95 % interval, as texts."""

    value: str
    low: str
    high: str


@dataclass(frozen=True)
class Accuracy:
    """mAP50-95, or top-1 of a classifier, of the FP32 baseline and of the INT8 model."""

    fp32: Estimate
    int8: Estimate


@dataclass(frozen=True)
class Classes:
    """AP50-95 of each class of a variant, as `lib.results.table.class_differences` gives it; `shown`: not folded."""

    variant: str
    shown: bool
    rows: list[dict]


@dataclass(frozen=True)
class Outputs:
    """How similar to FP32 the outputs of a variant are, where nothing decodes them."""

    variant: str
    rows: tuple[OutputLikeness, ...]


@dataclass(frozen=True)
class Layers:
    """A variant's layers with the largest error of their own, as rows of its layers/….csv, and the plot of all layers.

    outputs: the rows of its outputs, where some are the maps of a task.
    """

    variant: str
    rows: list[dict]
    outputs: list[dict]
    figure: Image


@dataclass(frozen=True)
class PlacedTag:
    """A text over an image: its kind, and its position as CSS."""

    kind: str
    text: str
    place: str


@dataclass(frozen=True)
class Overlay:
    """What lies over an image: by kind the data of an SVG path in pixels of the image, lines and dots; and texts."""

    lines: dict[str, str]
    dots: dict[str, str]
    tags: list[PlacedTag]


@dataclass(frozen=True)
class Card:
    """An image of `width` x `height` pixels, shown smaller, with its right and wrong detections.

    anchor: its id in the page. overlays: for `int8` and for `fp32`. file: its address from the run's folder.
    """

    anchor: str
    errors: ImageErrors
    width: int
    height: int
    image: Image
    overlays: dict[str, Overlay]
    file: str


@dataclass(frozen=True)
class ListedImage:
    """An image in the list of all, with its link."""

    errors: ImageErrors
    link: str


@dataclass(frozen=True)
class Confusions:
    """How often each of `names` (rows: the label) is taken for each (columns); the last name is the background."""

    names: list[str]
    rows: list[list[int]]


@dataclass(frozen=True)
class Detections:
    """The errors of the `variant` in focus above a threshold; totals of INT8 and FP32 over all images.

    threshold: None where nothing decodes it. left_out: images that are not listed.
    """

    variant: str
    threshold: float | None
    objects: int
    int8: tuple[int, int]  # false, missed
    fp32: tuple[int, int]
    cards: list[Card]
    listed: list[ListedImage]
    left_out: int
    confusions: Confusions | None


@dataclass(frozen=True)
class OnBoard:
    """What a board did with a variant, and the simulator's mAP50-95 for comparison."""

    title: str
    simulator: float
    board: RanOnBoard | RefusedByBoard


@dataclass(frozen=True)
class Page:
    """Everything that the page shows about a run; no time, no absolute path."""

    run: str
    platform: str
    task: str | None  # None for boxes
    objects: str  # what the task's mAP is about, such as masks
    overlap: str  # the overlap that this mAP uses, such as IoU of masks
    dataset: str
    part: str  # the part of the data set that the held-out images come from; empty where it has none
    images: int
    boxes: int
    simulators: list[str]  # what ran the variants, of lib.npu.build.SIMULATORS
    resamples: int
    heldout: bool
    columns: list[Column]
    shared: dict[str, str]  # values that all rows have in common, by column heading
    rows: list[Row]
    reasons: list[Reason]
    counts: dict[str, int]  # rows by verdict
    best: Row | None
    bundle: str  # the folder of the bundle of `focus`, below that of all bundles
    bundles_best: bool  # whether the config asks for the bundle of the best variant and no other
    focus: Row  # the recommended one, or the most accurate one where none runs
    accuracy: Accuracy  # of `focus`
    decoded: bool  # whether `focus` has detections, and so a mAP
    accuracy_name: str | None  # what the accuracy of `focus` is; None where it has none
    accuracy_column: str  # the table's column of it in INT8
    end2end: bool  # whether `focus` needs no NMS
    indistinguishable: list[Row]  # from `best`
    fastest: Row | None  # of `best` and indistinguishable ones, by estimated time
    cheapest: Row | None  # of `best` and indistinguishable ones, by NPU cycles
    top: Row  # the most accurate one, running or not
    fronts: list[OnFront]
    figures: dict[str, Image]
    detections: Detections
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
