"""Reads a built `.rknn`: names, shapes, quantization and native layout of its input and outputs.

A `.rknn` of toolkit 2.x is a header of 64 bytes ("RKNN" first; at 8 the container's version, at 16 the length n of what
follows), n bytes of sections (which begin with their lengths; the graph, a FlatBuffer, is the last one), and a JSON
with its length before it. Containers of version 1 have a header of 24 bytes, and older ones have no section but the
graph. Rockchip publishes no description; the graph's fields are numbered as in Netron's schema, plus those for scale
and zero point: https://github.com/lutzroeder/netron/blob/main/source/rknn-schema.js
"""

import ast
import json
import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flatbuffers.table import Table

from lib.step.errors import UserError
from lib.step.files import refuse_lfs_pointer, require

HEADER, FIRST_HEADER = 64, 24
# First bytes of containers without a readable graph, and what they are.
_OTHERS = {
    b"CYPTRKNN": "is encrypted",
    b"VPMN": "is made by the first rknn-toolkit, for RK1808, RV1109, RV1126 or RK3399Pro",
}
# Fields of the FlatBuffer's tables, as offsets into a table's vtable.
_MODEL_GRAPHS, _MODEL_SOURCE = 8, 10
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS = 4, 8, 10
_TENSOR_NATIVE_SHAPE, _TENSOR_SHAPE, _TENSOR_NAME, _TENSOR_SCALE, _TENSOR_ZERO_POINT = 10, 12, 14, 16, 18


class RknnTensor(NamedTuple):
    """An input or output as the NPU holds it: `real = (stored - zero_point) * scale`.

    `shape` is logical, [batch, channel, height, width]; `native_shape` is NC1HWC2, [batch, C1, height, width, C2]. An
    output that the CPU makes is NCHW, that is C2 = 1. A model with the head `as_is` may have outputs of any rank, and
    outputs that are not 8-bit integers: those (`float16`, say) are stored directly, and `scale` is None.
    """

    name: str
    shape: tuple[int, ...]
    native_shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None

    @property
    def quantization(self) -> str:
        """Scale and zero point in words; only for an output in INT8."""
        return f"scale {self.scale:.6g} zero point {self.zero_point}"


class RknnFile(NamedTuple):
    """The input, the outputs in the runtime's order, and the normalization of pixels before the network.

    The network sees `(pixel - mean) / std`, one value per channel; the NPU computes this itself from uint8 pixels.
    """

    input: RknnTensor
    outputs: tuple[RknnTensor, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    toolkit: str
    platform: str


class RknnContents(NamedTuple):
    """The contents of any `.rknn`: as RknnFile, but with any number of inputs.

    `normalization`: mean and std of the inputs that have them. `others`: further platforms that the file names.
    """

    inputs: tuple[RknnTensor, ...]
    outputs: tuple[RknnTensor, ...]
    normalization: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    toolkit: str
    platform: str
    others: tuple[str, ...]


# Errors that a damaged file can raise, whichever field is damaged.
_DAMAGE = (struct.error, ValueError, LookupError, TypeError, AttributeError, SyntaxError, RecursionError)


def read_rknn(path) -> RknnFile:
    """Read a `.rknn` file. Raises UserError when it is missing, not a `.rknn`, or of an unknown form."""
    return _read(path, lambda data: _file(_parse(data)))


def read_scales(path) -> dict[str, tuple[float, int]]:
    """Scale and zero point, by name, of each tensor of a `.rknn` file that has one of each, including inner tensors.

    Raises UserError as `read_rknn` does.
    """
    return _read(path, _scales)


def _read(path, parse):
    data = require(path, "model").read_bytes()
    try:
        return parse(data)
    except _DAMAGE as error:
        raise UserError(
            f"{Path(path)} is not a .rknn as toolkit 2.3.2 writes it ({type(error).__name__}: {error}); build it again"
        ) from None


def read_contents(path) -> RknnContents:
    """Read a `.rknn` of any toolkit 2.x. Raises UserError when it is missing, not a `.rknn`, or of an unknown form."""
    data = require(path, "model").read_bytes()
    refuse_lfs_pointer(path)
    for begin, what in _OTHERS.items():
        if data.startswith(begin):
            raise UserError(f"{Path(path)} {what}; its contents cannot be read, and no RV1106 can run it")
    try:
        return _parse(data)
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {error}"
    if made := _for_other_chips(data):
        raise UserError(
            f"{Path(path)} is {made}, so no RV1103 or RV1106 can run it, and its graph cannot be read; convert the "
            "model again for your board"
        )
    raise UserError(f"{Path(path)} is not a .rknn that can be read ({reason}); is it truncated?")


def _for_other_chips(data: bytes) -> str:
    """Which chips a `.rknn` is for, if RV1103 and RV1106 are not among them; empty if they are, or if it is damaged."""
    try:
        _, described = _halves(data)
        platforms, version = [str(platform) for platform in described["target_platform"]], described["version"]
    except _DAMAGE:
        return ""
    ours = any(platform.lower().startswith(("rv1103", "rv1106")) for platform in platforms)
    return "" if ours or not platforms else f"for {', '.join(platforms)} (toolkit {version})"


def quantize(output: np.ndarray, tensor: RknnTensor) -> np.ndarray:
    """The INT8 values behind the simulator's float `output`, in the same shape.

    The simulator dequantizes, so each value is a whole multiple of the scale. Raises UserError when one is not (to a
    thousandth of a scale), or does not fit into 8 bits, since scale or zero point then do not belong to the model.
    """
    exact = output.astype(np.float64) / tensor.scale + tensor.zero_point
    stored = np.rint(exact)
    error = np.abs(exact - stored).max()
    if not error <= 1e-3 or stored.min() < -128 or stored.max() > 127:
        raise UserError(
            f"output '{tensor.name}' is not INT8 with scale {tensor.scale:.9g} and zero point {tensor.zero_point}: "
            f"values {stored.min():.0f} to {stored.max():.0f}, up to {error:.2g} off a whole number"
        )
    return stored.astype(np.int8)


def dequantize(stored: np.ndarray, tensor: RknnTensor) -> np.ndarray:
    """The float32 values, bit for bit the simulator's, of INT8 `stored` values."""
    return (stored.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)


def _file(contents: RknnContents) -> RknnFile:
    """The contents of a model with one input."""
    (image,) = contents.inputs
    mean, std = contents.normalization[image.name]
    return RknnFile(image, contents.outputs, mean, std, contents.toolkit, contents.platform)


def _scales(data: bytes) -> dict[str, tuple[float, int]]:
    model, _ = _sections(data)
    (graph,) = _tables(model, _MODEL_GRAPHS)
    scales = {}
    for table in _tables(graph, _GRAPH_TENSORS):
        if not (table.Offset(_TENSOR_SCALE) and table.Offset(_TENSOR_ZERO_POINT)):
            continue
        pairs = list(zip(_numbers(table, _TENSOR_SCALE, "f"), _numbers(table, _TENSOR_ZERO_POINT, "i"), strict=True))
        if len(pairs) == 1:
            [scales[_text(table, _TENSOR_NAME)]] = pairs
    return scales


def _halves(data: bytes) -> tuple[bytes, dict]:
    """The sections, and the JSON at the end."""
    if data[:4] != b"RKNN":
        raise ValueError("the file does not begin with RKNN")
    version, length = struct.unpack_from("<QQ", data, 8)
    header = FIRST_HEADER if version & 0xFFF == 1 else HEADER
    return data[header : header + length], json.loads(data[header + length + 8 :])


def _sections(data: bytes) -> tuple[Table, dict]:
    """The graph's table, and the JSON at the end."""
    sections, described = _halves(data)
    flatbuffer = sections
    if sections[4:8] != b"RKNN":
        (graph_length,) = struct.unpack_from("<I", sections)
        flatbuffer = sections[len(sections) - graph_length :]
    if flatbuffer[4:8] != b"RKNN":
        raise ValueError("the graph is not where it is expected")
    return Table(flatbuffer, struct.unpack_from("<I", flatbuffer)[0]), described


def _parse(data: bytes) -> RknnContents:
    model, described = _sections(data)
    (graph,) = _tables(model, _MODEL_GRAPHS)
    tensors = _tables(graph, _GRAPH_TENSORS)
    dtypes = {tensor["url"]: (tuple(tensor["size"]), tensor["dtype"]["vx_type"]) for tensor in described["norm_tensor"]}
    inputs = tuple(_tensor(tensors[i], dtypes) for i in _numbers(graph, _GRAPH_INPUTS, "i"))
    outputs = tuple(_tensor(tensors[i], dtypes) for i in _numbers(graph, _GRAPH_OUTPUTS, "i"))
    sources = ast.literal_eval(_text(model, _MODEL_SOURCE))["attrs"]
    normalization = {
        name: (tuple(source["mean"]), tuple(source["std"])) for name, source in sources.items() if "mean" in source
    }
    platform, *others = described["target_platform"]
    return RknnContents(inputs, outputs, normalization, described["version"], platform, tuple(others))


def _tensor(table: Table, dtypes: dict) -> RknnTensor:
    name, shape = _text(table, _TENSOR_NAME), _numbers(table, _TENSOR_SHAPE, "i")
    native = _numbers(table, _TENSOR_NATIVE_SHAPE, "i")
    if native == shape:
        native = (*shape, 1)
    expected, dtype = dtypes[name]
    scales, zero_points = _numbers(table, _TENSOR_SCALE, "f"), _numbers(table, _TENSOR_ZERO_POINT, "i")
    (scale,), (zero_point,) = (scales, zero_points) if dtype == "int8" else ((None,), (None,))
    sound = len(native) == len(shape) + 1 and math.prod(native) >= math.prod(shape) and (scale is None or scale > 0)
    if shape != expected or not sound:
        raise ValueError(f"tensor '{name}' has shape {shape}, {native} in memory, but {expected} in its description")
    return RknnTensor(name, shape, native, dtype, scale, zero_point)


def _tables(table: Table, field: int) -> list[Table]:
    start, count = _vector(table, field)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(count)]


def _numbers(table: Table, field: int, kind: str) -> tuple:
    start, count = _vector(table, field)
    return struct.unpack_from(f"<{count}{kind}", table.Bytes, start)


def _text(table: Table, field: int) -> str:
    start, count = _vector(table, field)
    return table.Bytes[start : start + count].decode()


def _vector(table: Table, field: int) -> tuple[int, int]:
    """The offset of a vector's elements, and their number."""
    offset = table.Offset(field)
    if not offset:
        raise ValueError(f"field {field} is missing")
    count = table.VectorLen(offset)
    if count > len(table.Bytes):
        raise ValueError(f"field {field} is longer than the file")
    return table.Vector(offset), count
