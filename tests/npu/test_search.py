"""The algorithm `search` brings outputs nearer to FP32's, refuses what it cannot judge, and is deterministic."""

import numpy as np
import pytest

from lib.data.images import read_image
from lib.data.input_form import InputForm
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import load, metadata
from lib.graph.onnx_session import open_session, to_tensor
from lib.npu import toolkit
from lib.npu.build import TWIN
from lib.npu.search.choice import searched, tied
from lib.npu.search.difference import Difference
from lib.npu.search.rerun import Rerun
from lib.npu.twin.graph import twin_of
from lib.npu.twin.ranges import RangePass, adjusted, union
from lib.npu.twin.run import open_twin, start_of
from lib.step.errors import UserError


def test_a_searched_model_is_what_its_ranges_say_and_no_further_from_fp32(split_onnx, pool):
    images = sorted(pool.iterdir())
    tensors = [to_tensor(read_image(path)) for path in images]
    spec = OutputSpec.from_metadata(metadata(load(split_onnx)))
    with toolkit.quantized(split_onnx, images, "rv1106", toolkit.SEARCH) as session:
        run = session.simulate()
        simulated = [run(read_image(path)) for path in images]
    structure = toolkit.structure_of(split_onnx, images[:1], "rv1106")
    ranges = searched(structure, tensors, spec)
    twin = start_of(TWIN, structure.with_ranges(ranges), InputForm())()
    for path, outputs in zip(images, simulated):
        for output, expected in zip(outputs, twin(read_image(path)), strict=True):
            np.testing.assert_array_equal(output, expected)
    rerun = Rerun(structure, tensors)
    difference = Difference(spec, rerun.outputs())
    assert difference.of(rerun.outputs()) == 0
    half = (len(tensors) + 1) // 2
    measure = RangePass(structure).measure
    widest = tied(structure, adjusted(structure, union(map(measure, tensors[:half]))))
    assert ranges != widest
    plain = open_twin(twin_of(structure.with_ranges(widest)))
    given = plain.get_inputs()[0].name
    normal = [plain.run(None, {given: tensor}) for tensor in tensors]
    assert difference.of(simulated) < 1.1 * difference.of(normal)


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
        toolkit.quantized(split_onnx, images, "rv1106", toolkit.SEARCH),
    ):
        pass
