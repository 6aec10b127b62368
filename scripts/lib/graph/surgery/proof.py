"""The proof that a rewritten graph makes the same predictions as the previous one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from lib.data.image_paths import image_paths
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import in_channels
from lib.detector.head import BOX, SELECTED, decode_selected
from lib.graph.input_form import input_form_of
from lib.graph.onnx_session import infer_image, open_session, session_input_form
from lib.graph.surgery.detector import predictions_output, selects
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.step.errors import UserError
from lib.tasks.task import Predicted


@dataclass(frozen=True)
class Tolerance:
    """How much predictions may change: boxes in pixels per pixel of the input's longer side, scores absolutely.

    What a task adds has the tolerance of scores, as a fraction of its largest value.
    """

    box: float
    score: float


# FP32 rounding moves boxes by about 1e-4 px at 640 and scores by about 1e-6; a wrong graph is off by whole units.
TOLERANCE = Tolerance(box=3e-5, score=1e-4)
# FP16 has 11 significant bits, and its errors accumulate over the layers.
HALF_TOLERANCE = Tolerance(box=8e-3, score=2e-2)
# In a graph that was quantized, the anchor points and strides for decoding are rounded to 8 bits.
ROUNDED_TOLERANCE = Tolerance(box=2e-2, score=1e-4)


PROVEN = 4  # most images that graphs are compared on; each takes time in every proof


class ReferencePredictions:
    """A model's predictions on a few images and on noise, to compare with its rewritten forms, one after another."""

    def __init__(self, model: onnx.ModelProto, form: OutputForm, images: list[np.ndarray], seed: int):
        self.imgsz = form.spec.imgsz
        self.inputs = [*images, noise_image(self.imgsz, seed, input_form_of(model).depth)]
        self.form = form
        self.predictions = self._predict(model, form)

    def compare(self, model: onnx.ModelProto, form: OutputForm, tolerance: Tolerance, failure: str) -> dict:
        """Largest differences, `box_px` and `score`, from the model that was compared last (or the first one).

        Raises UserError, which begins with `failure`, when they are beyond `tolerance`.
        """
        predictions = self._predict(model, form)
        before = (
            [_clipped(reference, self.imgsz) for reference in self.predictions] if form.clipped else self.predictions
        )
        pairs = list(zip(before, predictions, strict=True))
        if self.form.spec.head == SELECTED:
            differences = [_of_selection(*pair, tolerance.score) for pair in pairs]
        else:
            differences = [_difference(*pair, failure) for pair in pairs]
        # max keeps a NaN.
        box, score, extra = (float(np.max(kind)) for kind in zip(*differences))
        allowed = tolerance.box * max(self.imgsz)
        # Written so that a NaN fails too.
        if not (box <= allowed and score <= tolerance.score and extra <= tolerance.score):
            of_task = f", what '{form.spec.task}' adds by up to {extra:.3g} of its range" if form.spec.extras else ""
            raise UserError(
                f"{failure}: boxes differ by up to {box:.3g} px (allowed {allowed:.3g}), "
                f"scores by up to {score:.3g} (allowed {tolerance.score:.3g}){of_task}; nothing was written"
            )
        self.form, self.predictions = form, predictions
        return {"box_px": box, "score": score} | ({"extra": extra} if form.spec.extras else {})

    def _predict(self, model: onnx.ModelProto, form: OutputForm) -> list[Predicted]:
        session = open_session(model.SerializeToString())
        raw = (infer_image(session, image, form.names) for image in self.inputs)
        predicted = [form.predicted(outputs) for outputs in raw]
        for predictions, columns, shared in predicted:
            if not all(np.isfinite(values).all() for values in (predictions, columns, *shared)):
                raise UserError("some of the model's outputs are not finite; its weights are damaged")
        return predicted


def _clipped(predicted: Predicted, imgsz: ImageSize) -> Predicted:
    """Predictions [N, 4+C] with cx, cy, w, h limited to 0..width and 0..height of the image."""
    boxes, scores = np.split(predicted.predictions, (BOX,), axis=1)
    boxes = np.clip(boxes, 0, np.array([*imgsz, *imgsz], np.float32))
    return predicted._replace(predictions=np.concatenate([boxes, scores], axis=1))


def _difference(before: Predicted, after: Predicted, failure: str) -> tuple[float, float, float]:
    """Largest differences of boxes (pixels), scores and what the task adds, over all predictions."""
    shapes = [[values.shape for values in (each.predictions, each.columns, *each.shared)] for each in (before, after)]
    if shapes[0] != shapes[1]:
        raise UserError(f"{failure}: predictions have shapes {shapes[1]}, but had {shapes[0]} before")
    difference = np.abs(after.predictions - before.predictions).max(axis=0)
    columns = np.abs(after.columns - before.columns) / _range(before.columns)
    extra = max(float(columns.max(initial=0)), _shared_difference(before, after))
    return float(difference[:BOX].max()), float(difference[BOX:].max()), extra


def _range(columns: np.ndarray) -> np.ndarray:
    """The largest absolute value of each of the columns [N, E], at least 1."""
    return np.abs(columns).max(axis=0, initial=1)


def _shared_difference(before: Predicted, after: Predicted) -> float:
    """The largest difference of what all predictions share, as a fraction of its largest value."""
    pairs = zip(before.shared, after.shared, strict=True)
    return max((float(_outputs_apart(*pair)) for pair in pairs), default=0.0)


def _of_selection(selected: Predicted, after: Predicted, rounding: float) -> tuple[float, float, float]:
    """As `_difference`, if the earlier predictions are a selection of the later ones; see `selection_difference`."""
    box, score = selection_difference(selected.predictions, after.predictions, rounding)
    extra = 0.0
    unit = _range(selected.columns)
    for row, alike, distances in _of_one_score(selected.predictions, after.predictions, rounding):
        # Among those with the same score and box: the one whose other numbers are nearest.
        apart = np.abs(after.columns[alike][distances <= box] - selected.columns[row]) / unit
        extra = max(extra, float(apart.max(axis=1, initial=0).min(initial=np.inf)))
    return box, score, max(extra, _shared_difference(selected, after))


def selection_difference(selected: np.ndarray, predictions: np.ndarray, rounding: float) -> tuple[float, float]:
    """Largest differences of boxes (pixels) and scores between the `selected` and the best of `predictions`.

    selected: [K, 4+C] with one score per row. predictions: [N, 4+C], or also a selection. The K best scores must be the
    same, and each selected box must be present with its class and a score that differs by at most `rounding`. The order
    of rows does not matter, because nearly equal scores may change places. Infinite if a box is missing.
    """
    chosen = selected[:, BOX:][selected[:, BOX:] != 0]
    best = np.sort(predictions[:, BOX:], axis=None)[::-1][: len(selected)]
    expected = np.zeros(len(selected), np.float32)
    expected[: len(chosen)] = np.sort(chosen)[::-1]
    score = float(np.abs(best - expected).max()) if len(best) == len(selected) else np.inf
    nearest = (distances.min(initial=np.inf) for *_, distances in _of_one_score(selected, predictions, rounding))
    return float(max(nearest, default=0.0)), score


def _of_one_score(
    selected: np.ndarray, predictions: np.ndarray, rounding: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield, for each selected row, its index and which predictions have its class and score, bool [N].

    And the distance, in pixels, of the boxes of those predictions from the row's.
    """
    for row, class_id in zip(*np.nonzero(selected[:, BOX:])):
        alike = np.abs(predictions[:, BOX + class_id] - selected[row, BOX + class_id]) <= rounding
        yield row, alike, np.abs(predictions[alike, :BOX] - selected[row, :BOX]).max(axis=1)


def prove_same_outputs(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    images: list[np.ndarray],
    seed: int,
    allowed: float = TOLERANCE.score,
) -> float:
    """Run both graphs on `images` (uint8 [H, W, C]) and on noise; their raw outputs must be the same.

    Returns the largest difference, as a fraction of the largest absolute value (at least 1) of its channel (axis 1).
    For an end-to-end head, whose rows may change places by rounding: of the scores, and of the boxes relative to the
    input's longer side. For integers, as an ArgMax gives: the fraction of different ones. Raises UserError when it is
    more than `allowed`, and when an image does not have the model's size.
    """
    graph = Graph(before)
    imgsz = graph.imgsz
    demand_size(images, imgsz)
    apart = dict.fromkeys(graph.outputs, _outputs_apart)
    if selects(graph):
        apart[predictions_output(graph)] = partial(_selections_apart, max(imgsz))
    sessions = [open_session(model.SerializeToString()) for model in (before, after)]
    worst = 0.0
    for image in [*images, noise_image(imgsz, seed, session_input_form(sessions[0]).depth)]:
        outputs = (infer_image(session, image) for session in sessions)
        for name, expected, now in zip(graph.outputs, *outputs, strict=True):
            if expected.shape != now.shape:
                raise UserError(f"the rewritten graph has an output {now.shape}, but the previous one {expected.shape}")
            if not np.isfinite(now).all():
                raise UserError("the rewritten graph's outputs have values that are not finite")
            worst = np.fmax(worst, apart[name](expected, now))
    if worst > allowed:
        raise UserError(
            f"the rewritten graph computes something else: outputs differ by up to {worst:.3g} of their range "
            f"(allowed {allowed:.3g}); nothing was written"
        )
    return float(worst)


def _outputs_apart(expected: np.ndarray, now: np.ndarray) -> float:
    if not expected.size:
        return 0.0
    if not np.issubdtype(expected.dtype, np.floating):
        return float((expected != now).mean())
    expected, now = (np.atleast_2d(outputs) for outputs in (expected, now))
    expected, now = (outputs.reshape(*outputs.shape[:2], -1).astype(np.float64) for outputs in (expected, now))
    scale = np.maximum(1, np.abs(expected).max(axis=2, keepdims=True))
    return (np.abs(expected - now) / scale).max()


def _selections_apart(side: int, expected: np.ndarray, now: np.ndarray) -> float:
    columns = expected.shape[2] - BOX - 2
    classes = int(max(outputs[..., BOX + 1].max() for outputs in (expected, now))) + 1
    pair = (
        Predicted(decode_selected([outputs], classes, columns), outputs[0, :, BOX + 2 :]) for outputs in (expected, now)
    )
    box, score, extra = _of_selection(*pair, TOLERANCE.score)
    return max(box / side, score, extra)


def noise_image(imgsz: ImageSize, seed, depth: int = 3) -> np.ndarray:
    """Uniform noise, uint8 [H, W, depth], from a seed or a numpy Generator."""
    return np.random.default_rng(seed).integers(0, 256, (imgsz.height, imgsz.width, depth), dtype=np.uint8)


def demand_size(images: Sequence[np.ndarray], imgsz: ImageSize) -> None:
    """Raise UserError when one of `images`, [H, W, C], does not have the size `imgsz`."""
    for height, width in (image.shape[:2] for image in images):
        if (width, height) != (imgsz.width, imgsz.height):
            raise UserError(
                f"the model takes images of {imgsz}, but those to compare the graphs on are {width}x{height}; "
                f"letterbox them to {imgsz}"
            )


class ImageFiles(Sequence):
    """Images of files, uint8 [H, W, C], each read when it is asked for: most graphs need only the first few."""

    def __init__(self, paths: list[Path], read: Callable[[Path], np.ndarray]):
        self._paths, self._read = paths, read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ImageFiles(self._paths[index], self._read)
        return self._read(self._paths[index])


def proof_images(folder: Path, form: InputForm) -> ImageFiles:
    """The letterboxed RGB images of `folder`, in the channels of `form`. Raises UserError for none."""
    paths = image_paths(folder)
    if not paths:
        raise UserError(f"{folder} contains no image to compare the graphs on")
    return ImageFiles(paths, lambda path: np.ascontiguousarray(in_channels(read_image(path), form)))
