"""Tells which tensors of two structures have the same values for each image.

A tensor's key is a digest of all that it is computed from: the operators, their settings and constants, back to the
network's input. So equal keys mean equal values, whatever the tensors are called. The heads of a model share most of
their graph.
"""

import hashlib

from lib.npu.twin.ranges import COPY, inner_tensors
from lib.npu.twin.structure import Structure


def tensor_keys(structure: Structure) -> dict[str, str]:
    """The key of each tensor that a structure computes, by name."""
    opsets = sorted((entry.domain, entry.version) for entry in structure.model.opset_import)
    shape = [side.dim_value for side in structure.input().type.tensor_type.shape.dim]
    known = {
        name: _digest(values.dtype.str, values.shape, values.tobytes())
        for name, values in structure.constants().items()
    }
    known[structure.input().name] = _digest(opsets, shape)
    computed = {}
    for node in structure.model.graph.node:
        if node.op_type == COPY:
            known[node.output[0]] = computed[node.output[0]] = known[node.input[0]]
            continue
        inner = inner_tensors(node)
        settings = sorted(entry.SerializeToString() for entry in node.attribute if entry.name not in inner)
        given = [known[name] if name else "" for name in node.input]
        results = [*enumerate(node.output), *inner.items()]
        computed |= {name: _digest(node.op_type, node.domain, settings, given, place) for place, name in results}
        known |= computed
    return computed


def _digest(*parts) -> str:
    return hashlib.sha256(
        b"\0".join(part if isinstance(part, bytes) else repr(part).encode() for part in parts)
    ).hexdigest()
