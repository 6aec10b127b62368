"""The proof that a rewritten graph predicts the same as the one before it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from lib.data.image_paths import picture_paths
from lib.data.images import read_picture
from lib.data.imgsz import ImageSize
from lib.detector.anchors import YoloLayer
from lib.detector.head import EXPORTED, decode
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.surgery.graph import Graph
from lib.step.errors import UserError


@dataclass(frozen=True)
class Tolerance:
    """How far predictions may move: boxes in pixels for each pixel of the input's longer side, scores as they are."""

    box: float
    score: float


# Rounding in FP32 moves boxes by some 1e-4 px at 640 and scores by some 1e-6; a wrong graph is off by whole units.
TOLERANCE = Tolerance(box=3e-5, score=1e-4)
# FP16 has 11 significant bits, and its errors add up over the layers.
HALF_TOLERANCE = Tolerance(box=8e-3, score=2e-2)


@dataclass(frozen=True)
class Form:
    """How predictions leave a graph, between the exported form and a head.

    head: whose shapes the outputs have. transposed: [1, N, 4+C]. sigmoid: whether the scores have passed it.
    normalized: boxes divided by width and height where the head does not imply it. outputs: names in the head's
    order, where the graph has another. darknet: the [yolo] layers of a model from Darknet.
    """

    head: str = EXPORTED
    transposed: bool = False
    sigmoid: bool = True
    normalized: bool = False
    outputs: tuple[str, ...] | None = None
    darknet: tuple[YoloLayer, ...] = ()

    def predictions(self, raw: list[np.ndarray], imgsz: ImageSize) -> np.ndarray:
        """The transform undone: float32 [N, 4+C], boxes in pixels, scores in 0..1."""
        if self.transposed:
            raw = [each.transpose(0, 2, 1) for each in raw]
        predictions = decode(raw, self.head, imgsz, self.darknet)
        if self.normalized:
            predictions[:, :4] *= np.array([*imgsz, *imgsz], np.float32)
        if not self.sigmoid:
            # tanh does not overflow where exp would.
            predictions[:, 4:] = 0.5 * (1 + np.tanh(predictions[:, 4:] / 2))
        return predictions


class Witness:
    """What a model predicts on a few pictures and on noise, to hold its rewritten forms against, one after another."""

    def __init__(self, model: onnx.ModelProto, form: Form, pictures: list[np.ndarray], seed: int):
        self.imgsz = input_size(model)
        self.inputs = [*pictures, noise_picture(self.imgsz, seed)]
        self.predictions = self._predict(model, form)

    def compare(self, model: onnx.ModelProto, form: Form, tolerance: Tolerance, failure: str) -> dict:
        """Largest differences, `box_px` and `score`, to the model compared last (or the first one).

        Raises UserError, beginning with `failure`, when they are beyond `tolerance`.
        """
        predictions = self._predict(model, form)
        if self.predictions[0].shape != predictions[0].shape:
            raise UserError(
                f"{failure}: predictions have shape {predictions[0].shape}, before {self.predictions[0].shape}"
            )
        difference = np.abs(np.stack(predictions) - np.stack(self.predictions)).max(axis=(0, 1))
        box, score = float(difference[:4].max()), float(difference[4:].max())
        allowed = tolerance.box * max(self.imgsz)
        # Written so that a NaN fails too.
        if not (box <= allowed and score <= tolerance.score):
            raise UserError(
                f"{failure}: boxes differ by up to {box:.3g} px (allowed {allowed:.3g}), "
                f"scores by up to {score:.3g} (allowed {tolerance.score:.3g}); nothing was written"
            )
        self.predictions = predictions
        return {"box_px": box, "score": score}

    def _predict(self, model: onnx.ModelProto, form: Form) -> list[np.ndarray]:
        session = open_session(model.SerializeToString())
        raw = (infer(session, to_tensor(picture), form.outputs) for picture in self.inputs)
        predictions = [form.predictions(each, self.imgsz) for each in raw]
        if not all(np.isfinite(each).all() for each in predictions):
            raise UserError("the model's outputs are not all finite numbers; its weights are damaged")
        return predictions


def prove_same_outputs(before: onnx.ModelProto, after: onnx.ModelProto, pictures: list[np.ndarray], seed: int) -> float:
    """Run both graphs on `pictures` (uint8 RGB) and on noise; their raw outputs must be the same.

    Returns the largest difference, as a share of the largest absolute value (at least 1) of its channel (axis 1).
    Raises UserError when it is more than rounding.
    """
    imgsz = input_size(before)
    sessions = [open_session(each.SerializeToString()) for each in (before, after)]
    worst = 0.0
    for picture in [*pictures, noise_picture(imgsz, seed)]:
        for expected, found in zip(*(infer(session, to_tensor(picture)) for session in sessions), strict=True):
            if expected.shape != found.shape:
                raise UserError(f"the rewritten graph has an output {found.shape}, the one before it {expected.shape}")
            expected, found = (each.reshape(*each.shape[:2], -1).astype(np.float64) for each in (expected, found))
            scale = np.maximum(1, np.abs(expected).max(axis=2, keepdims=True))
            worst = np.fmax(worst, (np.abs(expected - found) / scale).max())
            if not np.isfinite(found).all():
                raise UserError("the rewritten graph gives values that are not finite")
    if worst > TOLERANCE.score:
        raise UserError(
            f"the rewritten graph computes something else: outputs differ by up to {worst:.3g} of their range "
            f"(allowed {TOLERANCE.score:.3g}); nothing was written"
        )
    return float(worst)


def noise_picture(imgsz: ImageSize, seed) -> np.ndarray:
    """Even noise, uint8 [H, W, 3], from a seed or a numpy Generator."""
    return np.random.default_rng(seed).integers(0, 256, (imgsz.height, imgsz.width, 3), dtype=np.uint8)


def input_size(model: onnx.ModelProto) -> ImageSize:
    """Width and height of a model's input [1, 3, H, W]. Raises UserError when it has another form."""
    graph = Graph(model)
    _, _, height, width = graph.shape(graph.input)
    return ImageSize(width=width, height=height)


def proof_pictures(folder: Path, most: int = 4) -> list[np.ndarray]:
    """The first few letterboxed pictures of `folder`. Raises UserError when there is none."""
    paths = picture_paths(folder)[:most]
    if not paths:
        raise UserError(f"{folder} holds no picture to compare the graphs on")
    return [read_picture(path) for path in paths]
