"""The proof that a prepared graph computes the same, by its raw outputs, since their meaning is not yet known."""

from collections.abc import Iterable

import numpy as np
import onnx

from lib.graph.onnx_session import open_session
from lib.step.errors import UserError


def prove_same(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    tolerance: float,
    work: str,
) -> float:
    """Run both graphs, each on its own tensor of a pair; the outputs must be the same.

    The second graph gets the images of a batch one by one. Returns the largest difference, as a fraction of the largest
    absolute value (at least 1) of its channel. Raises UserError, which names the `work`, when it is more than
    `tolerance`.
    """
    old, new = (open_session(model.SerializeToString()) for model in (before, after))
    worst = 0.0
    for first, second in pairs:
        expected = run(old, first, work)
        for number in range(len(second)):
            for all_images, now in zip(expected, run(new, second[number : number + 1], work), strict=True):
                worst = np.fmax(worst, apart(all_images[number : number + 1], now, work))
    if not worst <= tolerance:
        raise UserError(
            f"{work} changes what the model computes: outputs differ by up to {worst:.3g} of their range "
            f"(allowed {tolerance:.3g}); nothing was written"
        )
    return float(worst)


def apart(expected: np.ndarray, now: np.ndarray, work: str) -> float:
    """The largest difference of two outputs, as a fraction of its channel's largest value; NaN if one has a NaN."""
    if expected.shape != now.shape:
        raise UserError(f"{work} changes an output from {expected.shape} to {now.shape}; nothing was written")
    expected, now = (channels_first(values.astype(np.float64)) for values in (expected, now))
    scale = np.maximum(1, np.abs(expected).max(axis=1, keepdims=True, initial=0))
    difference = np.abs(expected - now) / scale
    return float(difference.max(initial=0)) if np.isfinite(now).all() else np.inf


def channels_first(output: np.ndarray) -> np.ndarray:
    """An output for one image as [channels, values]; for [1, N, K] with N > K the last axis is that of the channels."""
    if output.ndim == 3 and output.shape[1] > output.shape[2]:
        output = output.transpose(0, 2, 1)
    return output.reshape(output.shape[1], -1) if output.ndim > 2 and len(output) == 1 else output.reshape(1, -1)


def run(session, tensor: np.ndarray, work: str) -> list[np.ndarray]:
    """All outputs for a tensor, cast to the session's input type. Raises UserError when the graph does not run."""
    [given] = session.get_inputs()
    kinds = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    try:
        return session.run(None, {given.name: tensor.astype(kinds.get(given.type, np.float32))})
    # onnxruntime's errors have no common class below Exception.
    except Exception as error:
        raise UserError(f"{work} fails, because the graph does not run: {str(error).splitlines()[0]}") from None
