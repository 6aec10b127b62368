"""What goes into a SiLU, a sigmoid or an exponential takes no steps for what these make nothing of."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.detector.output_spec import OutputSpec
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


def test_box_maps_of_anchors_are_cut_if_a_sigmoid_is_still_to_come():
    """The layer of stride 16 gives logits, that of stride 32 what a sigmoid made of them."""
    layers = (AnchorLayer(16, ((10.0, 20.0),)), AnchorLayer(32, ((30.0, 40.0),), new_coords=True))
    spec = OutputSpec((64, 64), "split", Anchors(layers), 2)
    nodes = [helper.make_node("exDataConvert", [f"box_{stride}_int8"], [f"box_{stride}"]) for stride in (16, 32)]
    inputs = [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, None)]
    structure = Structure(helper.make_model(helper.make_graph(nodes, "small", inputs, [])), {})
    ranges = {"box_16_int8": (-25.0, 4.0), "box_32_int8": (-25.0, 4.0), "other": (-25.0, 4.0)}
    assert built_ranges(structure, ranges, spec) == ranges | {"box_16_int8": (-7.0, 4.0)}
    single = OutputSpec((64, 64), "single", Anchors(layers), 2)
    assert built_ranges(structure, ranges, single) == ranges
