"""The DFL with one Transpose, as the NPU takes it, in the place of two (as exported at opset 11 and 12).

    [1, 4, R, N] ─ Transpose ─ Softmax ─ Transpose ─ [1, R, 4, N] ─ Conv
                   0 3 1 2     axis 3    0 3 2 1
                                    ↓
    [1, 4, R, N] ─ Transpose ─ Softmax ─ [1, R, 4, N] ─ Conv
                   0 2 1 3     axis 1

Right from opset 13 on only; `raise_opset` runs before it.
"""

from onnx import helper

from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph, attribute


def needed(graph: Graph) -> bool:
    """Whether a Transpose stands on both sides of the DFL's Softmax."""
    return _chain(graph) is not None


def rewrite(graph: Graph) -> None:
    """Join both Transposes in front of the Softmax, which follows its axis."""
    first, softmax, second = _chain(graph)
    before, after = attribute(first, "perm"), attribute(second, "perm")
    joined = [before[each] for each in after]
    # Negative axes count from the end, as in Python's lists.
    axis = joined.index(before[attribute(softmax, "axis", -1)])
    for node, name, value in ((first, "perm", joined), (softmax, "axis", axis)):
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
    graph.bypass(second)


def _chain(graph: Graph):
    """The nodes Transpose, Softmax, Transpose of the DFL, or None."""
    softmax = graph.producer(find_detector(graph).softmax)
    first, readers = graph.producer(softmax.input[0]), graph.consumers(softmax.output[0])
    if first is None or first.op_type != "Transpose" or len(graph.consumers(first.output[0])) != 1:
        return None
    if len(readers) != 1 or readers[0].op_type != "Transpose":
        return None
    return first, softmax, readers[0]
