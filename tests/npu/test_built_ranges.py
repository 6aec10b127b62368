"""What goes into a SiLU takes no steps for what the SiLU makes nothing of."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lib.graph.onnx_file import load
from lib.graph.output_spec import output_spec_of
from lib.npu.built_ranges import built_ranges
from lib.npu.twin.structure import Structure


def test_only_rounded_inputs_of_silu_are_cut(split_onnx):
    """A depthwise convolution is rounded before its SiLU and a plain one is not; a sum reads another depthwise one."""
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["deep"], group=3),
        helper.make_node("exSwish", ["deep"], ["deep_active"]),
        helper.make_node("Conv", ["deep_active", "plain_weights"], ["plain"]),
        helper.make_node("exSwish", ["plain"], ["plain_active"]),
        helper.make_node("Conv", ["images", "weights"], ["shared"], group=3),
        helper.make_node("exSwish", ["shared"], ["shared_active"]),
        helper.make_node("Mul", ["shared", "shared_active"], ["product"]),
        helper.make_node("Conv", ["images", "weights"], ["narrow"], group=3),
        helper.make_node("exSwish", ["narrow"], ["narrow_active"]),
    ]
    inputs = [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, None)]
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("weights", (3, 1, 1, 1)), ("plain_weights", (3, 3, 1, 1)))
    ]
    ranges = {name: (-40.0, 20.0) for node in nodes for name in node.output} | {"narrow": (-5.0, 20.0)}
    structure = Structure(helper.make_model(helper.make_graph(nodes, "small", inputs, [], weights)), ranges)
    assert built_ranges(structure, ranges, output_spec_of(load(split_onnx))) == ranges | {"deep": (-7.0, 20.0)}
