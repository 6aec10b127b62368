"""Models for keypoints, masks and oriented boxes go through the one-shot commands as detectors do."""

import re

import cv2
import pytest
from conftest import image

import inspect_onnx
from lib.npu.rknn_file import read_rknn

# Of each a label for every image, in the middle of it.
LABELS = {
    "yolov8n-pose": "0 .5 .5 .4 .4" + " .5 .5 2" * 17,
    "yolov8n-seg": "0 .3 .3 .7 .3 .7 .7 .3 .7",
    "yolov8n-obb": "0 .5 .2 .8 .5 .5 .8 .2 .5",
}
MAPS = {
    "yolov8n-pose": [
        f"{role}_{stride}" for role in ("keypoints", "keypoints_fine", "visibility") for stride in (8, 16, 32)
    ],
    "yolov8n-seg": ["coefficients_8", "coefficients_16", "coefficients_32", "prototypes_4"],
    "yolov8n-obb": ["turn_8", "turn_16", "turn_32"],
}
TASKS = {"yolov8n-pose": "pose", "yolov8n-seg": "segment", "yolov8n-obb": "obb"}


@pytest.fixture
def labelled(tmp_path):
    """A function: a folder of four images with labels for a model."""

    def write(name):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir()
        for number in range(4):
            cv2.imwrite(str(tmp_path / f"images/{number}.png"), image(number))
            (tmp_path / f"labels/{number}.txt").write_text(f"{LABELS[name]}\n")
        return tmp_path

    return write


@pytest.mark.toolkit
@pytest.mark.parametrize("name", sorted(LABELS))
def test_a_model_of_a_task_is_converted_and_measured_by_its_overlap(step, export, labelled, name):
    folder = labelled(name)
    done = step("onnx_to_rknn", export(name)[0], "--dataset", folder / "images", "--labels", folder / "labels",
                "--max-images", "2", "-o", folder / "model.rknn")  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = [output.name for output in read_rknn(folder / "model.rknn").outputs]
    assert names[6:] == MAPS[name]
    fine = [output.scale for output in read_rknn(folder / "model.rknn").outputs if "fine" in output.name]
    assert fine == pytest.approx([2 / 255] * len(fine)), "the range -1 to 1, whatever the calibration images show"
    assert all(f"output     {map_name} [1," in done.stderr for map_name in names)
    objects = {"pose": "keypoints", "segment": "masks", "obb": "rotated boxes"}[TASKS[name]]
    assert re.search(rf"mAP50-95   FP32 [\d.]+, INT8 .* of {objects} on 2 images", done.stderr)
    assert re.search(r"boxes      mAP50-95 FP32 [\d.]+, INT8 [\d.]+\n", done.stderr)


@pytest.mark.parametrize("name", sorted(LABELS))
def test_inspect_says_the_task_and_that_single_is_none_of_its_heads(export, capsys, name):
    inspect_onnx.main([str(export(name)[0])])
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["task"].startswith(TASKS[name])
    assert (
        lines["single"] == f"impossible: a model for '{TASKS[name]}' cannot have the head 'single'; it can have split"
    )
    assert "split_outputs" in lines["split"]
