"""The algorithm `search` brings outputs nearer to FP32's, and refuses what it cannot judge."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from lib.data.images import read_image
from lib.data.input_form import InputForm
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import load, metadata, save
from lib.graph.onnx_session import open_session, to_tensor
from lib.npu import toolkit
from lib.npu.algorithms import OWN, SEARCH
from lib.npu.biases import corrected_biases
from lib.npu.build import TWIN
from lib.npu.int8 import Quantization, int8_model
from lib.npu.search.difference import Difference
from lib.npu.search.rerun import Rerun
from lib.npu.twin.run import start_of
from lib.npu.twin.structure import Parameters, Structure
from lib.step.errors import UserError


def asked(split_onnx, algorithm):
    spec = OutputSpec.from_metadata(metadata(load(split_onnx)))
    return Quantization(split_onnx, "rv1106", algorithm, InputForm(), spec, twin=True)


@pytest.mark.parametrize("algorithm", OWN)
def test_the_model_of_an_algorithm_is_what_its_twin_says_and_no_further_from_fp32(split_onnx, pool, algorithm):
    paths = sorted(pool.iterdir())
    outputs = {}
    for name in ("normal", algorithm):
        with int8_model(asked(split_onnx, name), paths) as built:
            run = built.session.simulate()
            outputs[name] = [run(read_image(path)) for path in paths]
    assert sorted(built.surest) == [8, 16, 32]
    twin = start_of(TWIN, built.structure, InputForm())()
    for path, simulated in zip(paths, outputs[algorithm]):
        for output, expected in zip(simulated, twin(read_image(path)), strict=True):
            np.testing.assert_array_equal(output, expected)
    source = toolkit.structure_of(split_onnx, paths[:1], "rv1106")  # its biases are the ONNX's
    rerun = Rerun(source, [to_tensor(read_image(path)) for path in paths])
    difference = Difference(asked(split_onnx, algorithm).outputs, rerun.outputs())
    assert difference.of(rerun.outputs()) == 0
    assert 0 < difference.of(outputs[algorithm]) < 1.1 * difference.of(outputs["normal"])


@pytest.mark.parametrize("algorithm", OWN)
def test_an_operator_that_only_the_toolkit_can_run_is_named(pool, tmp_path, algorithm):
    """The toolkit has an operator of its own for a normalization."""
    ones = numpy_helper.from_array(np.ones(3, np.float32), "ones")
    graph = helper.make_graph(
        [helper.make_node("InstanceNormalization", ["images", "ones", "ones"], ["y"])],
        "norm",
        [helper.make_tensor_value_info("images", 1, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("y", 1, [1, 3, 64, 96])],
        [ones],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), tmp_path / "norm.onnx")
    asked = Quantization(tmp_path / "norm.onnx", "rv1106", algorithm, InputForm(), None)
    with (
        pytest.raises(UserError, match=rf"{algorithm} cannot be used with .*norm\.onnx, because the operator exNorm"),
        int8_model(asked, sorted(pool.iterdir())),
    ):
        pass


def test_a_rerun_with_the_same_values_gives_the_outputs_of_the_onnx(split_onnx, pool):
    image = sorted(pool.iterdir())[0]
    structure = toolkit.structure_of(split_onnx, [image], "rv1106")
    tensor = to_tensor(read_image(image))
    rerun = Rerun(structure, [tensor])
    session = open_session(split_onnx)
    expected = session.run(None, {session.get_inputs()[0].name: tensor})
    name = rerun.names[len(rerun.names) // 3]
    for outputs in (rerun.outputs(), rerun.changed(name)(lambda values: values)):
        for output, wanted in zip(outputs[0], expected, strict=True):
            np.testing.assert_allclose(output, wanted, atol=1e-4)
    assert Difference(None, rerun.outputs()).of(rerun.changed(name)(lambda values: 0 * values)) > 0


def test_too_few_images_to_judge_on_are_one_sentence(split_onnx, pool):
    images = sorted(pool.iterdir())[:3]
    with (
        pytest.raises(UserError, match="give it 4 images or more, not 3"),
        int8_model(asked(split_onnx, SEARCH), images),
    ):
        pass


def test_a_bias_makes_up_for_the_shift_that_the_activation_passes_on():
    """A map of steps of 1 holds 0.4 less than FP32 in half of its cells, where the sums are -100 or 100 in FP32."""
    constants = {"filters": np.float32([[-1], [1]])[:, :, None, None], "bias": np.float32([2, 2])}
    nodes = [
        helper.make_node("Conv", ["images", "filters", "bias"], ["sums"]),
        helper.make_node("exSwish", ["sums"], ["active"]),
    ]
    given = helper.make_tensor_value_info("images", 1, [1, 1, 1, 8])
    result = helper.make_tensor_value_info("active", 1, [1, 2, 1, 8])
    constant = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "small", [given], [result], constant))
    structure = Structure(model, {"images": (0.0, 255.0), "sums": (-255.0, 255.0), "active": (-1.0, 255.0)})
    image = np.float32([100.4, 0] * 4).reshape(1, 1, 1, 8)
    biases = corrected_biases(structure, [image] * 3, ["sums"])
    # Below 0 the SiLU passes nothing of the shift on; above, all cells share it, and their slopes are 1 and 1.09.
    np.testing.assert_allclose(biases["sums"], [2, 2 + 0.4 / 2.09], atol=2e-3)
    assert not corrected_biases(structure, [image], [])
    changed = structure.with_parameters(Parameters(biases=biases))
    assert structure.model.graph.node[0].input[2] == "bias"
    np.testing.assert_array_equal(changed.constants()[changed.model.graph.node[0].input[2]], biases["sums"])
