"""Reads Darknet's .weights: a header, then the raw float32 numbers of the convolutions in their order.

Per convolution: biases; with batch normalization also scales, means and variances (each one number per filter); then
the kernel [filters, channels per group, size, size]. Format: https://github.com/AlexeyAB/darknet (src/parser.c,
load_weights).
"""

from pathlib import Path

import numpy as np

from lib.graph.darknet.layers import Convolutional, Network
from lib.step.errors import UserError

BATCH_NORM_EPSILON = 1e-5  # src/blas.c; pjreddie's older Darknet and OpenCV use 1e-6
_FLOAT = np.dtype("<f4")
_VERSION_BYTES = 12


def read_weights(path: Path, network: Network) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias (float32) of every convolution, by layer number, with batch normalization folded in.

    Raises UserError when the file has fewer or more bytes than `network` needs, with both counts, or numbers that are
    not finite, or a negative variance.
    """
    convolutions = {number: layer for number, layer in enumerate(network.layers) if isinstance(layer, Convolutional)}
    header = _header_bytes(path)
    needed = header + _FLOAT.itemsize * sum(map(_count, convolutions.values()))
    if (size := path.stat().st_size) != needed:
        reason = "it is truncated" if size < needed else f"{size - needed} are left over"
        raise UserError(
            f"weights {path} hold {size} bytes, but {network.path} needs {needed}: {reason}, or the two files do not "
            "belong together"
        )
    numbers = np.fromfile(path, _FLOAT, offset=header)
    if not np.isfinite(numbers).all():
        raise UserError(f"weights {path} hold numbers that are not finite; the file is damaged")
    parts = np.split(numbers, np.cumsum([_count(layer) for layer in convolutions.values()])[:-1])
    try:
        return {number: _folded(layer, part) for (number, layer), part in zip(convolutions.items(), parts)}
    except ArithmeticError:
        raise UserError(
            f"weights {path} hold a negative variance; the file is damaged or belongs to another .cfg"
        ) from None


def _header_bytes(path: Path) -> int:
    """Bytes before the first weight: three int32 of version, then the number of images seen, 8 bytes since 0.2."""
    try:
        with open(path, "rb") as file:
            version = file.read(_VERSION_BYTES)
    except OSError as error:
        raise UserError(f"weights {path} cannot be read: {error.strerror}") from None
    if len(version) < _VERSION_BYTES:
        raise UserError(f"weights {path} are too short to be Darknet's: {len(version)} bytes")
    major, minor, _ = np.frombuffer(version, "<i4").tolist()
    if not (0 <= major <= 1000 and 0 <= minor <= 1000):
        raise UserError(f"{path} is not a Darknet .weights: its header says version {major}.{minor}")
    return _VERSION_BYTES + (8 if major * 10 + minor >= 2 else 4)


def _count(layer: Convolutional) -> int:
    """How many numbers a convolution has in the file."""
    filters, channels, *size = layer.kernel
    return filters * (4 if layer.batch_normalize else 1) + filters * channels * size[0] * size[1]


def _folded(layer: Convolutional, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of one convolution, both multiplied by `scale / sqrt(variance + epsilon)`.

    Raises ArithmeticError for a negative variance.
    """
    filters = layer.shape[0]
    vectors = 4 if layer.batch_normalize else 1
    bias, *normalization = numbers[: vectors * filters].astype(np.float64).reshape(vectors, filters)
    kernel = numbers[vectors * filters :].astype(np.float64).reshape(layer.kernel)
    if normalization:
        scale, mean, variance = normalization
        if variance.min() < 0:
            raise ArithmeticError
        factor = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = kernel * factor[:, None, None, None]
        bias = bias - mean * factor
    return kernel.astype(np.float32), bias.astype(np.float32)
