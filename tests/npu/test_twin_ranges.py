"""Ranges measured without the toolkit are the toolkit's own, and a model that is built from them is the same."""

from pathlib import Path

import numpy as np
import pytest

from lib.data.images import read_image
from lib.graph.onnx_file import save
from lib.graph.onnx_session import to_tensor
from lib.npu import toolkit
from lib.npu.twin.ranges import RangePass, adjusted, chosen, union
from lib.step.errors import ToolkitError


def measured(structure, images):
    measure = RangePass(structure).measure
    return [measure(to_tensor(read_image(image))) for image in images]


@pytest.fixture
def images(pool) -> list[Path]:
    return sorted(pool.iterdir())


def test_a_model_built_from_own_ranges_and_one_image_is_the_one_that_is_built_on_all(split_onnx, images):
    def choose(structure):
        ranges = measured(structure, images[:3])
        return chosen(structure, ranges[0], union(ranges))

    with toolkit.built_with_ranges(split_onnx, choose, images[0], "rv1106") as (session, structure):
        run = session.simulate()
        ours = [run(read_image(image)) for image in images]
        assert session.log.cycles > 0
    with toolkit.quantized(split_onnx, images[:3], "rv1106", "normal") as session:
        run = session.simulate()
        for image, outputs in zip(images, ours):
            for output, expected in zip(outputs, run(read_image(image)), strict=True):
                np.testing.assert_array_equal(output, expected)
    changed = structure.with_ranges({name: (low - 1, high) for name, (low, high) in structure.ranges.items()})
    ranges = measured(structure, images[:3])
    assert chosen(changed, ranges[0], union(ranges)) is None
    with pytest.raises(ToolkitError, match="there is no range for"):
        structure.with_ranges({})


@pytest.mark.parametrize("head", ["split", "single"])
def test_ranges_with_attention_and_both_heads_are_the_toolkits(export, images, tmp_path, head):
    from lib.graph.surgery.pipeline import adapt

    path = tmp_path / "adapted.onnx"
    save(adapt(export(architecture="yolo11n")[1], head, [read_image(images[0])], seed=0)[0], path)
    structure = toolkit.structure_of(path, images[:2], "rv1106")
    own = adjusted(structure, union(measured(structure, images[:2])))
    assert own == {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in structure.ranges.items()}
