"""The columns of a run's tables, each defined once: name, heading, meaning, digits, and where its value comes from.

Table, report, rounding and the reference in the documentation are made from these lists. No module that is imported
here needs more than the standard library, so that the reference can be printed without pandas.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from lib.data.imgsz import parse_imgsz
from lib.npu.build import TOOLKIT
from lib.results.rounding import MAP_DIGITS

MISSING = "–"  # in place of a figure that a run does not have


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `value` takes what a row describes (for COLUMNS a `lib.results.variant_results.VariantResults`) and gives the cell
    before rounding, None where there is none.
    """

    name: str  # in the file
    label: str  # the heading in the report
    meaning: str  # a phrase without a full stop; values as in the file are between backticks
    digits: int | None  # after the decimal point; None leaves a value as it is
    value: Callable[[Any], Any]
    is_text: bool = False  # even where it looks like a number: a model may be called 8
    sort_key: Callable[[Any], Any] | None = None  # from a text to the number that it is sorted by
    note: str = ""  # sentences for readers of the file

    @property
    def sorts_as_number(self) -> bool:
        """Whether the cells are sorted by a number."""
        return not self.is_text or self.sort_key is not None

    def cell(self, facts):
        """A row's value as in the file: rounded; NaN for a missing number."""
        value = self.value(facts)
        if self.is_text:
            return value
        if value is None:
            return float("nan")
        return value if self.digits is None else round(value, self.digits)

    def text(self, value) -> str:
        """A cell's value as the report shows it, MISSING for None; every number of a column has the same digits."""
        if value is None:
            return MISSING
        return str(value) if self.digits is None else f"{value:.{self.digits}f}"

    def sorted_by(self, value):
        """What a cell is sorted by."""
        return self.sort_key(value) if self.sort_key else value

    @property
    def plain_meaning(self) -> str:
        """The meaning without backticks."""
        return self.meaning.replace("`", "")

    @property
    def sentences(self) -> str:
        """The meaning and the note, in Markdown."""
        # `mAP50-95` and names between backticks are not capitalized.
        first, space, rest = self.meaning.partition(" ")
        return f"{first.capitalize() if first.islower() else first}{space}{rest}. {self.note}".rstrip()


def _text(name: str, label: str, meaning: str, value, **more) -> Column:
    return Column(name, label, meaning, None, value, is_text=True, **more)


def _least_of_outputs(figure: Callable[[Any], float]) -> Callable[[Any], Any]:
    """The value of a column for the smallest `figure` over the outputs (`lib.accuracy.metrics.OutputLikeness`)."""

    def least(row) -> float | None:
        figures = [value for value in map(figure, row.int8.outputs or ()) if value is not None]
        return min(figures, default=None)

    return least


def _at_threshold(figure: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The value of a column for a `figure` of the INT8 model's `lib.accuracy.operating.OperatingPoint`."""
    return lambda row: figure(row.int8.operating.point) if row.int8.operating else None


def _at_largest(figure: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The value of a column for a `figure` of the largest size, a `lib.convert.frontier.Candidate`."""
    return lambda row: figure(row.frontier.largest) if row.frontier.largest else None


def _of_built(figure: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The value of a column for a `figure` of what a version of the toolkit built."""
    return lambda row: figure(row.built) if row.built else None


_OF_KB = "In KB of 1024 bytes."

# table.csv: the columns that every run has. Scripts may rely on their order; new ones are appended.
COLUMNS = (
    _text("model", "Model", "name under `models` in the config", lambda row: row.variant.model),
    _text(
        "imgsz",
        "Image size",
        "width x height of the input in pixels; one number for a square",
        lambda row: row.variant.imgsz,
        sort_key=lambda text: parse_imgsz(text, multiples_of=1).area,
    ),
    _text(
        "head",
        "Head",
        "`single`: one output with boxes and scores; `split`: raw maps for each stride, decoded on the CPU; `as_is`: "
        "the model's own outputs, which are not decoded",
        lambda row: row.variant.head,
    ),
    _text(
        "algorithm",
        "Algorithm",
        "how the value ranges of INT8 are chosen",
        lambda row: row.variant.algorithm,
        note="The toolkit's `normal`, `mmse` or `kl_divergence`, or `corrected`, `gptq` or `search`.",
    ),
    Column(
        "max_images",
        "Calibration images",
        "size of the calibration set, on which the value ranges are measured",
        None,
        lambda row: row.variant.max_images,
    ),
    Column(
        "map50_95_fp32",
        "mAP50-95 FP32",
        "the FP32 baseline: the exported ONNX, run by onnxruntime",
        MAP_DIGITS,
        lambda row: row.exported.map50_95,
        note="Every mAP and AP lies between 0 and 1, and is empty where the outputs are not decoded (`as_is`).",
    ),
    Column(
        "map50_fp32",
        "mAP50 FP32",
        "as mAP50-95 FP32, at the one overlap threshold 0.5",
        MAP_DIGITS,
        lambda row: row.exported.map50,
    ),
    Column(
        "map50_95_adapted",
        "mAP50-95 adapted",
        "the ONNX after graph surgery, in FP32; equal to the baseline if surgery is exact",
        MAP_DIGITS,
        lambda row: row.adapted.map50_95,
    ),
    Column(
        "map50_95_int8",
        "mAP50-95 INT8",
        "the INT8 model on the toolkit's simulator",
        MAP_DIGITS,
        lambda row: row.int8.map50_95,
    ),
    Column(
        "map50_int8",
        "mAP50 INT8",
        "as mAP50-95 INT8, at the one overlap threshold 0.5",
        MAP_DIGITS,
        lambda row: row.int8.map50,
    ),
    Column(
        "retention",
        "Retention",
        "mAP50-95 of the INT8 model divided by that of the FP32 baseline",
        MAP_DIGITS,
        lambda row: row.int8.retention,
        note="Retention and its limits are empty where the FP32 baseline finds nothing. For a classifier, they are "
        "those of top-1.",
    ),
    Column(
        "rknn_mb", "File MB", "size of `model.rknn`, in millions of bytes", 2, lambda row: row.build.rknn_bytes / 1e6
    ),
    Column(
        "npu_mcycles",
        "NPU Mcycles",
        "the toolkit's estimate for one inference, in millions of cycles",
        2,
        lambda row: row.build.npu_mcycles,
        note="It counts only convolutions.",
    ),
    Column(
        "internal_kb",
        "Internal KB",
        "NPU memory for the tensors between the layers",
        1,
        lambda row: row.build.internal_kb,
        note=_OF_KB,
    ),
    Column("weight_kb", "Weights KB", "NPU memory for the weights", 1, lambda row: row.build.weight_kb, note=_OF_KB),
    Column(
        "cpu_ops",
        "CPU operators",
        "number of operators on the CPU, not counting input and output; the board cannot run them there",
        None,
        lambda row: len(row.build.cpu_operators),
    ),
    _text(
        "verdict",
        "Verdict",
        "whether the board will run it, judged from the build log: `runs`, `fails` or `unsure`",
        lambda row: row.verdict.result,
    ),
    Column(
        "retention_low",
        "Retention, low",
        "lower limit of the retention's 95 % interval, from the same resamples of the images for FP32 and INT8",
        MAP_DIGITS,
        lambda row: row.int8.retention_low,
    ),
    Column(
        "retention_high",
        "Retention, high",
        "upper limit of that interval",
        MAP_DIGITS,
        lambda row: row.int8.retention_high,
    ),
    Column(
        "ms_low",
        "Time ms, low",
        "lower limit of the estimated time of one inference, from the spread of published measurements",
        1,
        lambda row: row.costs.ms_low,
    ),
    Column("ms_high", "Time ms, high", "upper limit of that estimate", 1, lambda row: row.costs.ms_high),
    Column(
        "threshold",
        "Threshold",
        "confidence threshold suggested for the INT8 model, by default that of the best F1",
        2,
        _at_threshold(attrgetter("threshold")),
        note="`evaluation.operating` in the config sets how it is chosen.",
    ),
    Column(
        "precision",
        "Precision",
        "share of the INT8 model's detections above that threshold that are right, at an overlap of 0.5, over all "
        "classes",
        MAP_DIGITS,
        _at_threshold(attrgetter("precision")),
    ),
    Column(
        "recall",
        "Recall",
        "share of the labelled objects that it detects above that threshold",
        MAP_DIGITS,
        _at_threshold(attrgetter("recall")),
    ),
    Column("f1", "F1", "harmonic mean of precision and recall", MAP_DIGITS, _at_threshold(attrgetter("f1"))),
)

# Appended in a run whose task is not boxes.
TASK_COLUMNS = (
    _text(
        "task",
        "Task",
        "what the model predicts besides boxes; every mAP but the next two is by the overlap of masks, keypoints (OKS) "
        "or rotated boxes",
        lambda row: row.exported.task,
        note="Only in runs with the task `segment`, `pose` or `obb`.",
    ),
    Column(
        "box_map50_95_fp32",
        "Box mAP50-95 FP32",
        "as mAP50-95 FP32, by the IoU of the boxes",
        MAP_DIGITS,
        lambda row: row.exported.box_map50_95,
    ),
    Column(
        "box_map50_95_int8",
        "Box mAP50-95 INT8",
        "as mAP50-95 INT8, by the IoU of the boxes",
        MAP_DIGITS,
        lambda row: row.int8.box_map50_95,
    ),
)

# Appended where nothing decodes the outputs of at least one variant (head `as_is`): in place of a mAP.
LIKENESS_COLUMNS = (
    Column(
        "output_cosine",
        "Cosine",
        "cosine between an output in INT8 and in FP32, mean over the images; the lowest of several outputs",
        MAP_DIGITS,
        _least_of_outputs(attrgetter("cosine")),
        note="Only for the head `as_is`, which has no mAP.",
    ),
    Column(
        "output_snr_db",
        "Signal to noise dB",
        "ratio of an output in FP32 to its error in INT8, in dB; the lowest of several outputs",
        1,
        _least_of_outputs(attrgetter("snr_db")),
        note="Only for the head `as_is`.",
    ),
)

# Appended where another simulator than the toolkit's ran at least one variant.
SIMULATOR_COLUMNS = (
    _text(
        "simulator",
        "Simulator",
        "what ran the INT8 model: `toolkit`, or `twin`, `twin_fast` or `npu`",
        lambda row: row.build.simulator or TOOLKIT,
        note="The key `evaluation.simulator` explains the names.",
    ),
    Column(
        "simulator_steps",
        "Steps off",
        "how far its outputs are from those of the toolkit's simulator on the first images: mean difference in INT8 "
        "steps, of the output that differs most",
        2,
        lambda row: row.build.agreement.steps if row.build.agreement else None,
        note="`build.json` also holds how far the order of additions alone moves them.",
    ),
)

# Appended where another version of the toolkit than the default built at least one variant.
TOOLKIT_COLUMNS = (
    _text(
        "toolkit",
        "Toolkit",
        "version of rknn-toolkit2 that built it",
        lambda row: row.build.toolkit,
        note="From the key `toolkit`. The board's runtime must be at least as new.",
    ),
)

# Appended where `snakemake board` ran at least one variant.
BOARD_COLUMNS = (
    Column(
        "map50_95_board",
        "mAP50-95 board",
        "the INT8 model on a board",
        MAP_DIGITS,
        lambda row: row.on_board.metrics.map50_95 if row.on_board else None,
        note="Empty where no board ran the variant.",
    ),
    Column(
        "ms_board",
        "Time ms, board",
        "median time of `rknn_run` on that board",
        1,
        lambda row: row.on_board.run_ms.median if row.on_board else None,
        note="Over the images; decoding is not included.",
    ),
    _text(
        "board",
        "Board result",
        "`ran`, or why the board's runtime refuses the model",
        lambda row: row.board.outcome if row.board else None,
    ),
    _text(
        "verdict_was",
        "Verdict on board",
        "`right` if the board did what the verdict said, else `wrong`",
        lambda row: row.board.verdict_was if row.board else None,
        note="`undecided` if the verdict was `unsure`.",
    ),
)

# Appended where a board ran a classifier.
TOP_BOARD_COLUMNS = (
    Column(
        "top1_board",
        "Top-1 board",
        "top-1 of the INT8 model on a board",
        MAP_DIGITS,
        lambda row: row.on_board.metrics.top1 if row.on_board else None,
        note="Only for the task `classify`. Empty where no board ran the variant.",
    ),
)

# Appended where such a variant has an output that is a vector, as a classifier has.
CLASSIFIER_COLUMNS = (
    Column(
        "output_top1",
        "Same largest value",
        "share of the images (0 to 1) whose largest value (a classifier's best class) is the same in INT8 and FP32",
        MAP_DIGITS,
        _least_of_outputs(attrgetter("top1")),
        note="Only for outputs that are a vector; the lowest of several. It needs no labels. It means little if the "
        "values are no class scores.",
    ),
    Column(
        "output_top5",
        "Largest value in top 5",
        "share of the images (0 to 1) whose largest value in FP32 is among the five largest in INT8",
        MAP_DIGITS,
        _least_of_outputs(attrgetter("top5")),
        note="As `output_top1`.",
    ),
)

# Appended where the labels are the classes of whole images (task `classify`), in place of a mAP.
TOP_COLUMNS = (
    Column(
        "top1_fp32",
        "Top-1 FP32",
        "share of the images (0 to 1) whose labelled class is the best one; the exported ONNX, run by onnxruntime",
        MAP_DIGITS,
        lambda row: row.exported.top1,
        note="Only for the task `classify`.",
    ),
    Column("top1_int8", "Top-1 INT8", "the same for the INT8 model", MAP_DIGITS, lambda row: row.int8.top1),
    Column(
        "top5_fp32",
        "Top-5 FP32",
        "share of the images (0 to 1) whose labelled class is one of the five best, in FP32",
        MAP_DIGITS,
        lambda row: row.exported.top5,
    ),
    Column("top5_int8", "Top-5 INT8", "the same for the INT8 model", MAP_DIGITS, lambda row: row.int8.top5),
)

# The order in which the report shows the columns of the lists above; columns that are not named here come last.
REPORT_ORDER = (
    "model", "imgsz", "head", "algorithm", "max_images", "verdict", "ms_low", "ms_high", "map50_95_int8",
    "map50_95_fp32", "retention", "retention_low", "retention_high", "task", "box_map50_95_int8", "box_map50_95_fp32",
    "top1_int8", "top1_fp32", "top5_int8", "top5_fp32",
    "output_cosine", "output_snr_db", "output_top1", "output_top5", "simulator", "simulator_steps", "toolkit",
    "npu_mcycles", "map50_95_board", "top1_board", "ms_board", "board", "verdict_was", "threshold", "precision",
    "recall", "f1", "rknn_mb", "map50_int8", "map50_fp32", "map50_95_adapted", "internal_kb", "weight_kb", "cpu_ops",
)  # fmt: skip

# Two columns of limits are shown as one in the report: from the upper limit's name, which the column is sorted by, to
# the lower limit's name, the heading and the meaning of both together.
LIMITS = {
    "ms_high": (
        "ms_low",
        "Time ms",
        "limits of the estimated time of one inference, from the spread of published measurements",
    ),
    "retention_high": (
        "retention_low",
        "Retention, interval",
        "limits of the retention's 95 % interval, from the same resamples of the images for FP32 and INT8",
    ),
}

# layers/….csv: one row per layer, as lib.npu.layer_errors reads it. The digits are the toolkit's own.
LAYER_COLUMNS = (
    _text("layer", "Layer", "name of the layer's output tensor", attrgetter("layer")),
    _text("type", "Type", "operator of the layer", attrgetter("type")),
    Column(
        "entire_cos",
        "Cosine, whole",
        "cosine between the FP32 and the INT8 output, with all layers before it in INT8 too",
        None,
        attrgetter("entire_cos"),
        note="1 is best.",
    ),
    Column(
        "entire_euc", "Distance, whole", "Euclidean distance of the same two outputs", None, attrgetter("entire_euc")
    ),
    Column(
        "single_cos",
        "Cosine, alone",
        "the same cosine with only this layer in INT8",
        None,
        attrgetter("single_cos"),
        note="It shows where an error begins.",
    ),
    Column(
        "single_euc",
        "Distance, alone",
        "Euclidean distance with only this layer in INT8",
        None,
        attrgetter("single_euc"),
    ),
)

_OR_TOP1 = "For the task `classify` the column is `top1_int8`, with top-1."

# calibration_study.csv, by scripts/calibration_study.py: one row per draw of the calibration set.
STUDY_COLUMNS = (
    Column(
        "max_images", "Calibration images", "number of images in the calibration set", None, attrgetter("max_images")
    ),
    Column("seed", "Seed", "seed of the draw", None, attrgetter("seed")),
    Column(
        "map50_95_int8",
        "mAP50-95 INT8",
        "mAP50-95 of the INT8 model on the toolkit's simulator",
        MAP_DIGITS,
        attrgetter("accuracy_int8"),
        note=_OR_TOP1,
    ),
)

# toolkit_study.csv, by scripts/toolkit_study.py: one row per version of the toolkit, with its build of one variant.
TOOLKIT_STUDY_COLUMNS = (
    _text("toolkit", "Toolkit", "version of rknn-toolkit2", attrgetter("version")),
    Column(
        "map50_95_int8",
        "mAP50-95 INT8",
        "mAP50-95 of the INT8 model on that version's simulator",
        MAP_DIGITS,
        _of_built(lambda built: built.metrics.accuracy),
        note=f"Empty, like the columns after it, if that version does not build the model. {_OR_TOP1}",
    ),
    Column(
        "retention",
        "Retention",
        "mAP50-95 of the INT8 model divided by that of the FP32 baseline",
        3,
        _of_built(lambda built: built.metrics.retention),
    ),
    Column(
        "npu_mcycles",
        "NPU Mcycles",
        "the toolkit's estimate for one inference, in millions of cycles",
        2,
        _of_built(attrgetter("build.npu_mcycles")),
        note="Versions count differently: compare the columns of time and cycles with care.",
    ),
    Column("internal_kb", "Internal KB", "memory for tensors between operators", 1,
           _of_built(attrgetter("build.internal_kb")), note=_OF_KB),
    Column("weight_kb", "Weights KB", "memory for weights", 1, _of_built(attrgetter("build.weight_kb")), note=_OF_KB),
    Column("rknn_mb", "File MB", "size of the `.rknn` file, in millions of bytes", 2,
           _of_built(lambda built: built.build.rknn_bytes / 1e6)),
    _text("cpu_ops", "CPU operators", "number of operators on the CPU, not counting input and output",
           _of_built(lambda built: str(len(built.build.cpu_operators)))),
    _text("verdict", "Verdict", "`runs`, `unsure` or `fails`; `no build` if that version does not build the model",
          lambda row: row.built.verdict.result if row.built else "no build"),
    _text("basis", "Basis", "`reported` or `inferred`", _of_built(attrgetter("verdict.basis"))),
    _text("reason", "Reason", "why it does not run, or was not built",
          lambda row: row.reason, note="Not in toolkit_study.md."),
)  # fmt: skip

# frontier.csv, by scripts/frontier.py: one row per kind of model.
FRONTIER_COLUMNS = (
    Column("classes", "Classes", "number of classes", None, attrgetter("classes")),
    _text("shape", "Shape", "proportions of the input, WIDTH:HEIGHT", attrgetter("shape")),
    _text("head", "Head", "output head, `single` or `split`", attrgetter("head")),
    _text(
        "largest",
        "Largest size",
        "largest input size found with the verdict `runs`",
        _at_largest(lambda candidate: str(candidate.size)),
        note="Empty if there is none.",
    ),
    Column(
        "npu_mcycles",
        "NPU Mcycles",
        "NPU cycles at that size, in millions",
        2,
        _at_largest(attrgetter("build.npu_mcycles")),
    ),
    Column(
        "ms_low",
        "Time ms, low",
        "lower limit of the estimated time at that size",
        1,
        _at_largest(attrgetter("costs.ms_low")),
    ),
    Column(
        "ms_high",
        "Time ms, high",
        "upper limit of the estimated time at that size",
        1,
        _at_largest(attrgetter("costs.ms_high")),
    ),
    Column(
        "internal_kb",
        "Internal KB",
        "memory for tensors between operators at that size",
        1,
        _at_largest(attrgetter("build.internal_kb")),
        note=_OF_KB,
    ),
    Column(
        "weight_kb",
        "Weights KB",
        "memory for weights at that size",
        1,
        _at_largest(attrgetter("build.weight_kb")),
        note=_OF_KB,
    ),
    Column(
        "rknn_mb",
        "File MB",
        "size of the `.rknn` file at that size, in millions of bytes",
        2,
        _at_largest(lambda candidate: candidate.build.rknn_bytes / 1e6),
    ),
    _text(
        "unsure",
        "Unsure sizes",
        "sizes tried whose verdict is `unsure`",
        lambda row: " ".join(map(str, row.frontier.unsure)) or None,
        note="There may be others.",
    ),
    _text(
        "next",
        "Next size",
        "the next size tried above the largest",
        lambda row: str(row.frontier.beyond.size) if row.frontier.beyond else None,
    ),
    _text(
        "next_verdict",
        "Verdict of the next",
        "verdict on that next size",
        lambda row: row.frontier.beyond.verdict.result if row.frontier.beyond else None,
    ),
    _text("reason", "Reason", "why the next size does not run", attrgetter("reason"), note="Not in frontier.md."),
)


def of_classifier(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of a study, with top-1 in place of mAP50-95."""
    return tuple(
        replace(column, name="top1_int8", label="Top-1 INT8") if column.name == "map50_95_int8" else column
        for column in columns
    )
