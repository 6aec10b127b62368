"""A model's class names are compared with the data set's; a checkpoint's are read without running it."""

import os
import pickle
import shutil
import zipfile
from unittest import mock

import pytest
from conftest import ROOT

from lib.graph.checkpoint_names import checkpoint_facts
from lib.graph.class_names import demand_same_order
from lib.results.config_problems import checkpoint_problems, names_problems
from lib.step.errors import UserError

PARTS = ["bolt", "nut", "washer", "gear"]


def test_the_names_of_a_checkpoint_are_read():
    assert checkpoint_facts(ROOT / "example/parts4.pt").names == PARTS


def test_the_task_and_the_keypoints_of_a_checkpoint_are_read(assets):
    expected = {"yolov8n": ("detect", None), "yolov8n-seg": ("segment", None), "yolov8n-pose": ("pose", [17, 3]),
                "yolo26n-pose": ("pose", [17, 3])}  # fmt: skip
    facts = {name: checkpoint_facts(assets / f"{name}.pt") for name in expected}
    assert {name: (of_model.task, of_model.kpt_shape) for name, of_model in facts.items()} == expected


class Evil:
    """An object that makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_in_a_checkpoint_runs(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"model": Evil(tmp_path / "ran")}))
    (tmp_path / "none.pt").write_bytes(b"no checkpoint")
    assert checkpoint_facts(tmp_path / "evil.pt") is None
    assert checkpoint_facts(tmp_path / "none.pt") is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        (PARTS, False),
        (["nut", "bolt", "washer", "gear"], True),
        (["Schraube", "Mutter", "Scheibe", "Zahnrad"], False),
        (["Schraube", "nut", "washer", "gear"], False),
        (["washer", "x", "y", "z"], True),
    ],
)
def test_names_under_other_numbers_are_told_with_both_lists(ours, told):
    if not told:
        demand_same_order("best.pt", PARTS, ours)
        return
    with pytest.raises(UserError) as error:
        demand_same_order("best.pt", PARTS, ours)
    text = str(error.value)
    assert f"the model:    {', '.join(PARTS)}\n" in text and f"the data set: {', '.join(ours)}\n" in text
    assert "evaluation.class_order: other" in text


def test_a_local_checkpoint_of_another_task_is_told_before_anything_runs_and_read_once(tmp_path):
    models = {"p": {"weights": [str(shutil.copy(ROOT / "example/parts4.pt", tmp_path))]}}
    config = {"task": "pose", "sweep": {"model": ["p"]}, "models": models}
    with mock.patch("lib.results.config_problems.checkpoint_facts", wraps=checkpoint_facts) as read:
        [line] = checkpoint_problems(config)
        assert line.startswith("models.p is a checkpoint for the task 'detect', but task is pose; set task")
        assert checkpoint_problems(config | {"task": "detect"}) == []
    assert read.call_count == 1


def test_a_local_checkpoint_is_compared_before_anything_runs():
    config = {
        "sweep": {"model": ["parts4"]},
        "models": {"parts4": {"weights": ["https://example.org/a.pt", str(ROOT / "example/parts4.pt")]}},
        "evaluation": {"class_order": "same"},
    }
    assert names_problems(config, tuple(PARTS)) == names_problems(config, None) == []
    [line] = names_problems(config, ("raccoon",))
    expected = "models.parts4 has 4 classes (bolt, nut, washer, gear), but the data set has 1 (raccoon); name "
    assert line.startswith(expected)
    [line] = names_problems(config, tuple(reversed(PARTS)))
    assert "models.parts4 and the data set number their classes differently" in line
    config["evaluation"]["class_order"] = "other"
    assert names_problems(config, tuple(reversed(PARTS))) == []
