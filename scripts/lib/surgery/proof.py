"""The proof that a rewritten graph computes the same as the one before it."""

from pathlib import Path

import numpy as np
import onnx

from lib.dataset import picture_paths, read_picture
from lib.errors import UserError
from lib.head import EXPORTED, decode
from lib.imgsz import ImageSize
from lib.onnx_session import infer, open_session, to_tensor

# Rounding in FP32 moves boxes by some 1e-4 px at 640 and scores by some 1e-6; a wrong graph is off by whole units.
BOX_TOLERANCE_PX = 0.02
SCORE_TOLERANCE = 1e-4


def input_size(model: onnx.ModelProto) -> ImageSize:
    """Width and height of a model's input [1, 3, H, W]. Raises UserError when it has another form."""
    inputs = model.graph.input
    shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    if len(shape) != 4 or shape[:2] != [1, 3] or not all(shape):
        raise UserError(f"{len(inputs)} inputs, the first of shape {shape or '?'}; one input [1, 3, H, W] is expected")
    return ImageSize(width=shape[3], height=shape[2])


def prove(before: onnx.ModelProto, after: onnx.ModelProto, head: str, pictures: list[np.ndarray], seed: int) -> dict:
    """Run both graphs on `pictures` (uint8 RGB, letterboxed) and on noise, undo the head's transform, and compare.

    `before` has the exported output, `after` that of `head`. Returns the largest differences, `box_px` and `score`, and
    the number of inputs. Raises UserError when they are more than rounding.
    """
    imgsz = input_size(before)
    noise = np.random.default_rng(seed).integers(0, 256, (imgsz.height, imgsz.width, 3), dtype=np.uint8)
    sessions = [(open_session(before.SerializeToString()), EXPORTED), (open_session(after.SerializeToString()), head)]
    worst = np.zeros(2)
    for picture in [*pictures, noise]:
        expected, found = (decode(infer(session, to_tensor(picture)), form, imgsz) for session, form in sessions)
        if expected.shape != found.shape:
            raise UserError(f"the rewritten graph gives predictions {found.shape}, the one before it {expected.shape}")
        difference = np.abs(expected - found)
        worst = np.fmax(worst, [difference[:, :4].max(), difference[:, 4:].max()])
        if not np.isfinite(found).all():
            raise UserError("the rewritten graph gives values that are not finite")
    if worst[0] > BOX_TOLERANCE_PX or worst[1] > SCORE_TOLERANCE:
        raise UserError(
            f"the rewritten graph computes something else: boxes differ by up to {worst[0]:.3g} px (allowed "
            f"{BOX_TOLERANCE_PX}), scores by up to {worst[1]:.3g} (allowed {SCORE_TOLERANCE}); nothing was written"
        )
    return {"inputs": len(pictures) + 1, "box_px": float(worst[0]), "score": float(worst[1])}


def proof_pictures(folder: Path, most: int = 4) -> list[np.ndarray]:
    """The first few letterboxed pictures of `folder`. Raises UserError when there is none."""
    paths = picture_paths(folder)[:most]
    if not paths:
        raise UserError(f"{folder} holds no picture to compare the graphs on")
    return [read_picture(path) for path in paths]
