"""What is wrong with a config's data set is told before anything runs, and a change of its files is seen."""

import json
import os
import zipfile

import pytest
import yaml
from conftest import ROOT

from lib.data.config_files import (
    DATASET_FORMATS,
    DATASET_OWN,
    WITH_IMAGES,
    WITH_NAMES,
    dataset_sources,
    own_dataset,
    with_files_found,
)
from lib.data.opening import DESCRIBED
from lib.data.preview import looked_at
from lib.results.config_problems import problems
from lib.step.errors import UserError

BASE = {"name": "coco128", "archive": ["https://example.org/coco128.zip"], "names": "coco.names"}


@pytest.mark.parametrize(
    ("layers", "given", "expected"),
    [
        ([], {}, BASE),
        ([{"archive": ["mine.zip"]}], {}, BASE | {"archive": ["mine.zip"]}),
        ([{"yaml": "data.yaml"}], {}, {"yaml": "data.yaml"}),
        ([{"yaml": "data.yaml", "name": "mine"}], {}, {"yaml": "data.yaml", "name": "mine"}),
        ([{"archive": ["a.zip"], "yaml": "data.yaml"}], {}, {"archive": ["a.zip"], "yaml": "data.yaml"}),
        ([{"coco": "a.json", "images": "i", "names": ["x"]}], {}, {"coco": "a.json", "images": "i", "names": ["x"]}),
        ([{"yaml": "data.yaml"}, {"name": "other"}], {}, {"yaml": "data.yaml", "name": "other"}),
        ([{"yaml": "data.yaml"}, {"voc": "V"}], {}, {"voc": "V"}),
        ([{"yaml": "data.yaml"}, {"archive": ["drawn"]}], {}, BASE | {"archive": ["drawn"]}),
        ([{"images": "frames", "names": ["x"]}], {}, {"images": "frames", "names": ["x"]}),
        ([{"coco": "a.json"}, {"images": "i"}], {}, {"coco": "a.json", "images": "i"}),
        ([], {"yaml": "data.yaml"}, {"yaml": "data.yaml"}),
        ([{"yaml": "data.yaml"}], {"voc": "V"}, {"voc": "V"}),
    ],
)
def test_a_data_set_takes_nothing_over_from_another_one(layers, given, expected):
    merged = dict(BASE)
    for block in (*layers, given):
        merged |= block
    files = [{"dataset": BASE}, *({"dataset": block} for block in layers), {"run": "no dataset"}]
    assert own_dataset({"dataset": merged, "run": "x"}, files) == {"dataset": expected, "run": "x"}


@pytest.fixture
def config(dataset):
    """A config whose data set is the folder of ten images."""
    return {
        "dataset": {"archive": [str(dataset)], "names": list("abcd")},
        "split": {"calibration": 4, "seed": 0},
        "evaluation": {"images": "heldout", "part": "val"},
        "task": "detect",
    }


def test_a_folder_that_changes_has_another_state(config, dataset):
    names, before, _ = looked_at(config)
    assert names == tuple("abcd") and before and looked_at(config)[1] == before
    states = {before}
    (dataset / "labels/train/00.txt").write_text("0 0.5 0.5 0.2 0.2\n")  # a label for the background image
    states.add(looked_at(config)[1])
    os.utime(dataset / "labels/train/01.txt", (1, 1))
    states.add(looked_at(config)[1])
    (dataset / "images/train/09.jpg").unlink()
    states.add(looked_at(config)[1])
    assert len(states) == 4


def test_what_is_downloaded_or_drawn_is_not_looked_at(config):
    for archive in (
        ["https://example.org/a.zip"],
        ["drawn"],
        ["https://example.org/a.zip", *config["dataset"]["archive"]],
    ):
        config["dataset"]["archive"] = archive
        assert looked_at(config) == (tuple("abcd"), "", None)


def test_a_zip_is_looked_at_without_its_images(config, dataset, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(dataset.rglob("*.*")):
            file.write(path, f"set/train/{path.relative_to(dataset)}")
        file.writestr("set/data.yaml", "train: ../train/images\nnames: [a, b, c, ä]\n")
    config["dataset"] = {"yaml": str(archive)}
    assert looked_at(config)[0] == ("a", "b", "c", "ä")
    config["split"]["calibration"] = 10
    with pytest.raises(UserError, match="asks for 10 of 10 images; each side needs at least one"):
        looked_at(config)


def test_names_that_the_archives_own_data_yaml_contradicts_are_told_before_the_run(config, dataset, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(dataset.rglob("*.*")):
            file.write(path, f"train/{path.relative_to(dataset)}")
        file.writestr("data.yaml", "train: ../train/images\nnames: [d, c, b, a]\n")
    config["dataset"]["archive"] = [str(archive)]
    with pytest.raises(
        UserError, match=r"dataset.names is 4 names \(a, b, c, d\), set.zip/data.yaml is 4 names \(d, c"
    ):
        looked_at(config)


def changed(config, dataset, **keys):
    return config | {"dataset": {key: value for key, value in (config["dataset"] | keys).items() if value is not None}}


def test_what_would_end_the_run_later_is_told_now(config, dataset, tmp_path):
    (tmp_path / "data.yaml").write_text(json.dumps({"train": "source/images", "names": ["a"], "nc": 2}))
    (tmp_path / "a.tar").write_bytes(b"no zip")
    cases = [
        (
            {"names": str(tmp_path / "data.yaml")},
            "is a YAML file, not one name per line; for a data.yaml write dataset:",
        ),
        ({"archive": [str(tmp_path / "data.yaml")]}, "is neither a zip, a tar nor a folder; for a data.yaml write"),
        ({"archive": [str(tmp_path / "a.tar")]}, "a.tar is neither a zip, a tar nor a folder"),
        ({"archive": None, "names": None, "yaml": str(tmp_path / "data.yaml")}, "nc is 2, names has 1"),
        ({"calibration": {"images": str(dataset / "labels")}}, "contains no image"),
        ({"calibration": {"archive": [str(tmp_path / "a.tar")]}}, "dataset.calibration.archive: "),
        ({"names": None}, "has no class names; name them"),
    ]
    for keys, sentence in cases:
        with pytest.raises(UserError) as told:
            looked_at(changed(config, dataset, **keys))
        assert sentence in str(told.value) and "\n" not in str(told.value)
    (dataset / "more").mkdir()
    small = changed(config, dataset, calibration={"images": str(dataset / "images")}) | {
        "split": {"calibration": 11, "seed": 0}
    }
    with pytest.raises(UserError, match=r"asks for 11 images, .* has 0; ask for fewer"):
        looked_at(small)  # all of them are evaluated on


def test_files_of_the_config_that_are_not_there_are_told_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "measured.csv").touch()
    config = {
        "dataset": {"coco": "a.json", "images": "nowhere", "calibration": {"images": "frames"}},
        "models": {"m": {"weights": ["best.pt", "last.pt"]}, "unused": {"weights": ["x.pt"]}},
        "sweep": {"model": ["m"]},
        "verdict": {"measured": "measured.csv"},
    }
    with pytest.raises(UserError) as told:
        with_files_found(config, tmp_path / "home")
    assert sorted(str(told.value).splitlines()[1:]) == [
        "  dataset.calibration.images: there is no file or folder frames",
        "  dataset.coco: there is no file or folder a.json",
        "  dataset.images: there is no file or folder nowhere",
        "  models.m.weights: there is no file or folder best.pt or last.pt",
    ]
    config["models"]["m"]["weights"].append("https://example.org/best.pt")
    config["dataset"] = {"archive": ["no.zip", "https://example.org/a.zip"]}
    assert with_files_found(config, tmp_path / "home") == config


def test_the_sources_of_a_data_set_are_all_its_files():
    block = {"coco": "a.json", "images": "i", "names": "n.txt", "calibration": {"archive": ["c.zip"], "voc": "inside"}}
    assert dataset_sources(block) == ["c.zip", "a.json", "i", "n.txt"]


def test_a_message_about_a_zip_names_the_zip_and_no_temporary_folder(config, tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("images/a.jpg", b"")
        archive.writestr("data.yaml", "train: images\nval: nowhere\nnames: [a]\n")
    config["dataset"] = {"yaml": str(tmp_path / "mine.zip")}
    with pytest.raises(UserError) as told:
        looked_at(config)
    assert "mine.zip/" in str(told.value) and "/tmp" not in str(told.value).replace(str(tmp_path), "")


def test_the_keypoints_of_a_data_set_are_those_of_the_config_or_its_own(config, dataset):
    assert looked_at(config).kpt_shape is None
    (dataset / "data.yaml").write_text("train: images\nval: images\nnames: [a]\nkpt_shape: [4, 2]\n")
    config["dataset"] = {"yaml": str(dataset / "data.yaml")}
    assert looked_at(config).kpt_shape == [4, 2]
    config["dataset"]["kpt_shape"] = [17, 3]
    assert looked_at(config).kpt_shape == [17, 3]


def test_the_formats_that_the_config_names_are_those_that_can_be_read():
    assert sorted(DATASET_FORMATS) == list(DESCRIBED)
    assert {*DATASET_FORMATS} > WITH_NAMES | WITH_IMAGES and not WITH_NAMES & WITH_IMAGES
    described = yaml.safe_load((ROOT / "config/schema.yaml").read_text())["properties"]["dataset"]["properties"]
    assert described.keys() >= {*DATASET_FORMATS} | DATASET_OWN | {"archive"}


def test_a_config_without_a_data_set_is_told_every_format():
    schema, config = (yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()) for name in ("schema", "config"))
    config["dataset"] = {"name": "none"}
    [line] = problems(config, schema)
    assert line.startswith(
        "dataset names no data set; give archive, yaml, coco, voc, dota, obj_data or class_folders (or"
    )
    config["dataset"] = {"yaml": "data.yaml", "images": "images"}
    assert "dataset.images belongs to dataset.coco, voc or dota; only the head as_is can use images without labels" in (
        problems(config, schema)
    )
