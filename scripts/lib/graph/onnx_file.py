"""Reads and writes ONNX files.

A file that a step writes ends in a seal: the metadata entry SEAL with the SHA-256 of all bytes before it. Protocol
Buffers merge concatenated messages (https://protobuf.dev/programming-guides/encoding/#last-one-wins), so any other
program reads the file as one model with that entry.
"""

import hashlib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from lib.data.model_kinds import instead_of, kind_of
from lib.step.errors import UserError
from lib.step.files import refuse_lfs_pointer, whole

SEAL = "rv1106.sha256"


def load(path) -> onnx.ModelProto:
    """The model in the file `path`, without its seal.

    Raises UserError when it is missing, damaged, not an ONNX, or was changed after the step that sealed it.
    """
    try:
        if Path(path).is_dir():
            raise ValueError
        model = onnx.load(str(path))
        _demand_known_versions(model, path)
        _name_plugins(model)
        _sort(model.graph)
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise UserError(f"model {path} does not exist") from None
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        refuse_lfs_pointer(path)
        if kind := kind_of(Path(path)):
            raise UserError(f"{path} is {kind}, not an ONNX model; {instead_of(Path(path))}") from None
        raise UserError(
            f"{path} is not a valid ONNX model: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None
    _unseal(model, path)
    return model


def _demand_known_versions(model: onnx.ModelProto, path) -> None:
    """Raises UserError for a file newer than the onnx package that reads it."""
    newest = {"IR version": onnx.IR_VERSION, "opset": onnx.defs.onnx_opset_version()}
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    for what, version in {"IR version": model.ir_version, "opset": opset}.items():
        if version > newest[what]:
            raise UserError(
                f"{path} has {what} {version}; this program reads up to {newest[what]}: export it with onnx "
                f"{onnx.__version__} or older, and opset 19 or below"
            )


def _name_plugins(model: onnx.ModelProto) -> None:
    """Give TensorRT's plugins, which some tools write as if they were ONNX operators, a domain of their own."""
    plugins = [node for node in model.graph.node if node.op_type.endswith("_TRT") and node.domain in ("", "ai.onnx")]
    for node in plugins:
        node.domain = "TRT"
    if plugins and all(entry.domain != "TRT" for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("TRT", 1))


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes behind those that they read from, where they are not; converters to half precision append their casts.

    A graph with a loop is left as it is.
    """
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    readers = {
        number: {makers[name] for name in node.input if name in makers} for number, node in enumerate(graph.node)
    }
    if all(maker < number for number, read in readers.items() for maker in read):
        return
    try:
        order = list(TopologicalSorter(readers).static_order())
    except CycleError:
        return
    nodes = [graph.node[number] for number in order]
    del graph.node[:]
    graph.node.extend(nodes)


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The model's metadata as a dict."""
    return {entry.key: entry.value for entry in model.metadata_props}


def save(model: onnx.ModelProto, path) -> None:
    """Write `model` to `path` and seal it, whole or not at all."""
    content = model.SerializeToString(deterministic=True)
    with whole(path) as part:
        Path(part).write_bytes(content + _seal(content))


def _seal(content: bytes) -> bytes:
    seal = onnx.ModelProto()
    seal.metadata_props.add(key=SEAL, value=hashlib.sha256(content).hexdigest())
    return seal.SerializeToString()


def _unseal(model: onnx.ModelProto, path) -> None:
    """Remove the seal from `model`, which was read from `path`. Raises UserError when it does not match the file."""
    if SEAL not in metadata(model):
        return
    seal = len(_seal(b""))
    content = Path(path).read_bytes()
    if content[-seal:] != _seal(content[:-seal]):
        raise UserError(
            f"{path} was changed after a step wrote it; delete it and run again; or, if you changed it, remove "
            f"its metadata entry {SEAL}"
        )
    model.metadata_props.pop()
