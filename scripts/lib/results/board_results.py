"""board.json: what a board did with one build of a variant, compared with the simulator."""

from dataclasses import dataclass
from typing import Literal

from lib.accuracy.metrics import ComparedMetrics
from lib.step.files import read_json
from lib.step.typed_json import JsonRecord

RAN, REFUSED = "ran", "refused"


@dataclass(frozen=True)
class Times(JsonRecord):
    """The median of several times in ms, with their 5th and 95th percentile."""

    low: float
    median: float
    high: float
    count: int


@dataclass(frozen=True)
class ImageDifference(JsonRecord):
    """How board and simulator differ on an image: detections that one misses, smallest IoU, largest score change.

    For a classifier, only `missed`: 1 if they differ in the best class.
    """

    image: str
    missed: int
    iou: float | None
    score: float | None


@dataclass(frozen=True)
class BoardAgreement(JsonRecord):
    """How well the board's detections agree with the simulator's, as `lib.board.summary` measures it.

    For a classifier, `detections` is the number of images and `share` those with the same best class.
    """

    confidence: float
    detections: int
    share: float
    iou: float | None
    score: float | None
    worst: tuple[ImageDifference, ...]


@dataclass(frozen=True)
class OutputDifference(JsonRecord):
    """One output for the golden image: the board's bytes compared with the simulator's, without the padding."""

    name: str
    share: float  # of bytes that differ, 0..1
    largest: int  # in steps of the output's scale


@dataclass(frozen=True)
class RanOnBoard(JsonRecord):
    """The results of a model that the board ran."""

    result: Literal["ran"]
    verdict: str
    verdict_was: Literal["right", "wrong", "undecided"]
    runtime: str
    driver: str
    init_ms: float
    run_ms: Times
    decode_ms: Times
    repeated_ms: Times | None  # runs back to back; None where none were asked for
    agreement: BoardAgreement
    outputs: tuple[OutputDifference, ...]
    diverging: str | None  # the first output that differs
    metrics: ComparedMetrics  # of what the board detected
    measured: str  # a row for config/measured.csv
    rknn_sha256: str
    toolkit: str

    @property
    def outcome(self) -> str:
        """The outcome as the table words it."""
        return RAN


@dataclass(frozen=True)
class RefusedByBoard(JsonRecord):
    """A model that the board's runtime refused, with the runtime's own `words`."""

    result: Literal["refused"]
    words: str
    verdict: str
    verdict_was: Literal["right", "wrong", "undecided"]
    rknn_sha256: str
    toolkit: str

    @property
    def outcome(self) -> str:
        """The outcome as the table words it."""
        return self.words


def read_board_results(path) -> RanOnBoard | RefusedByBoard:
    """The results in a board.json. Raises UserError when the file is missing or not of this form."""
    value = read_json(path, "result")
    kind = RefusedByBoard if value["result"] == REFUSED else RanOnBoard
    return kind.from_json(value, path)
