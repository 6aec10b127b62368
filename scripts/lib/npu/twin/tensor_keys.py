"""Tells which tensors of two structures have the same values for each image.

A tensor's key is a digest of all that it is computed from: the operators, their settings and constants, back to the
network's input. So equal keys mean equal values, whatever the tensors are called. The heads of a model share most of
their graph.
"""

import hashlib

import onnx

from lib.npu.twin.structure import COPY, Structure, inner_tensors


def tensor_keys(structure: Structure) -> dict[str, str]:
    """The key of each tensor that a structure computes, by name."""
    opsets = sorted((entry.domain, entry.version) for entry in structure.model.opset_import)
    shape = [side.dim_value for side in structure.input().type.tensor_type.shape.dim]
    given = {
        name: _digest(values.dtype.str, values.shape, values.tobytes())
        for name, values in structure.constants().items()
    } | {structure.input().name: _digest(opsets, shape)}
    keys = dict(given)
    for node in structure.model.graph.node:
        keys.update(_keys_of(node, keys))
    return {name: key for name, key in keys.items() if name not in given}


def _keys_of(node: onnx.NodeProto, keys: dict[str, str]) -> dict[str, str]:
    """The keys of the tensors that a node computes, from those of its inputs."""
    given = [keys[name] if name else "" for name in node.input]
    if node.op_type == COPY:
        return {node.output[0]: given[0]}
    inner = inner_tensors(node)
    settings = sorted(entry.SerializeToString() for entry in node.attribute if entry.name not in inner)
    places = [*enumerate(node.output), *inner.items()]
    return {name: _digest(node.op_type, node.domain, settings, given, place) for place, name in places}


def _digest(*parts) -> str:
    return hashlib.sha256(
        b"\0".join(part if isinstance(part, bytes) else repr(part).encode() for part in parts)
    ).hexdigest()
