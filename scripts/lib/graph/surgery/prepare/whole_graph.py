"""One plain graph: functions inlined, no initializers among the inputs, no Casts of FP16 outputs, BF16 widened.

node of a function of the model        →        the function's own nodes
initializer listed as a graph input    →        initializer alone
FP16 tensor ─ Cast ─ output            →        FP16 output
bfloat16 weights, tensors              →        float32 weights, tensors

torch's dynamo exporter writes a function for each of its operators; exporters before IR 4 list weights among the
inputs. A bfloat16 is the upper half of a float32, so no value changes; because onnxruntime does not support it on a
CPU, there is nothing to compare the result with.
"""

import onnx
import onnx.inliner

from lib.graph.surgery.graph import Graph
from lib.graph.surgery.passes import float32_weights
from lib.step.errors import UserError


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` without functions, without initializers among its inputs, and without BF16.

    Raises UserError when a function cannot be inlined.
    """
    if model.functions:
        try:
            whole = onnx.inliner.inline_local_functions(model)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"the model's functions cannot be inlined: {str(error).splitlines()[0]}") from None
    else:
        whole = onnx.ModelProto()
        whole.CopyFrom(model)
    _forget_unused_domains(whole)
    constants = {tensor.name for tensor in whole.graph.initializer}
    inputs = [tensor for tensor in whole.graph.input if tensor.name not in constants]
    if len(inputs) != len(whole.graph.input):
        del whole.graph.input[:]
        whole.graph.input.extend(inputs)
        # From IR 4 on an initializer need not be an input.
        whole.ir_version = max(whole.ir_version, 4)
    if float32_weights.holds(whole, (onnx.TensorProto.FLOAT16,)):
        whole = _with_half_outputs(whole)
    if not float32_weights.holds(whole, (onnx.TensorProto.BFLOAT16,)):
        return whole
    float32_weights.widen(whole)
    graph = Graph(whole)
    float32_weights.drop_idle_casts(graph)
    graph.tidy()
    return graph.model


def _with_half_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without Casts from FP16 to its outputs, so that these are FP16 as in other exports."""
    graph = Graph(model)
    half = onnx.TensorProto.FLOAT16
    for output in graph.model.graph.output:
        node = graph.producer(output.name)
        if node is not None and node.op_type == "Cast" and graph.dtype(node.input[0]) == half:
            source = node.input[0]
            if graph.producer(source) is None or source in graph.outputs:
                continue
            graph.model.graph.node.remove(node)
            graph.rename(source, output.name)
            output.type.tensor_type.elem_type = half
    graph.tidy()
    return graph.model


def _forget_unused_domains(model: onnx.ModelProto) -> None:
    """Drop operator sets that no node uses: onnx's version converter, and so the toolkit, fails on some of them."""
    used = {node.domain for node in model.graph.node} | {"", "ai.onnx"}
    kept = sorted((entry for entry in model.opset_import if entry.domain in used), key=lambda entry: entry.domain)
    imports = [onnx.helper.make_opsetid(entry.domain, entry.version) for entry in kept]
    del model.opset_import[:]
    model.opset_import.extend(imports)
