"""Runs a structure in FP32 on some images, and again from any tensor on with other values for that tensor."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from lib.npu.twin.graph import twin_of
from lib.npu.twin.run import open_twin
from lib.npu.twin.structure import Structure


class Rerun:
    """The values of all tensors on some images, and the outputs when one tensor is changed."""

    def __init__(self, structure: Structure, tensors: list[np.ndarray]):
        """tensors: the network's input for each image, float32 [1, C, H, W]."""
        self._model = twin_of(structure, exact=False, rounded=False)
        self.names = [name for node in self._model.graph.node for name in node.output]
        self._outputs = [output.name for output in self._model.graph.output]
        everything = onnx.ModelProto()
        everything.CopyFrom(self._model)
        del everything.graph.output[:]
        everything.graph.output.extend(_float(name) for name in self.names)
        session, given = open_twin(everything, exact=False), structure.input().name
        self.values = [
            {given: tensor} | dict(zip(self.names, session.run(self.names, {given: tensor}))) for tensor in tensors
        ]

    def outputs(self) -> list[list[np.ndarray]]:
        """The outputs for each image."""
        return [[values[name] for name in self._outputs] for values in self.values]

    def changed(self, name: str) -> Callable[[Callable], list[list[np.ndarray]]]:
        """A function that takes a change of tensor `name`'s values and returns the outputs for the first images."""
        [behind, made, needed] = self._behind(name)
        graph = helper.make_graph(
            behind,
            "behind",
            [_float(other, self.values[0][other].shape) for other in needed],
            [_float(output) for output in self._outputs if output in made],
            [tensor for tensor in self._model.graph.initializer if any(tensor.name in node.input for node in behind)],
        )
        model = helper.make_model(graph, opset_imports=self._model.opset_import)
        model.ir_version = self._model.ir_version
        session = open_twin(model, exact=False)
        outputs = [output.name for output in session.get_outputs()]

        def run(change, images: int | None = None) -> list[list[np.ndarray]]:
            results = []
            for values in self.values[:images]:
                fed = {other: values[other] for other in needed} | {name: change(values[name])}
                after = dict(zip(outputs, session.run(outputs, fed)))
                results.append([after.get(output, values[output]) for output in self._outputs])
            return results

        return run

    def _behind(self, name: str) -> tuple[list[onnx.NodeProto], set[str], list[str]]:
        """The nodes that depend on `name`, their outputs, and the tensors that they read from elsewhere."""
        reached, nodes = {name}, []
        for node in self._model.graph.node:
            if reached.intersection(node.input):
                nodes.append(node)
                reached.update(node.output)
        made = reached - {name}
        given = dict.fromkeys(other for node in nodes for other in node.input)
        return nodes, made, [other for other in given if other not in made and other in self.values[0]]


def _float(name: str, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
