"""The config that start.py writes says the model and the data set as they are, and the workflow takes it."""

import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from lib.data.config_files import own_dataset
from lib.results.config_problems import problems
from lib.results.overlay import Model, Wishes, data_of, model_of, overlay, sorted_out
from lib.step.errors import UserError
from lib.step.workflow import checked_config

PARTS4 = ROOT / "example" / "parts4.pt"
DEFAULTS = ROOT / "config" / "config.yaml"
SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
ANY = Wishes("mine", None, (), (), ("split",))


@pytest.fixture
def work(tmp_path, monkeypatch, dataset):
    """A working folder with a checkpoint, and a set of ten images with its data.yaml in two parts."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARTS4, tmp_path / "best.pt")
    images = dataset / "images"
    (images / "val").mkdir()
    (dataset / "labels" / "val").mkdir()
    for kind, suffix in (("images", ".jpg"), ("labels", ".txt")):
        for number in (7, 8, 9):
            name = f"{number:02}{suffix}"
            (dataset / kind / "train" / name).rename(dataset / kind / "val" / name)
    (dataset / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: [bolt, nut, washer, gear]\n"
    )
    return tmp_path


def written(files: list[str], wishes: Wishes = ANY) -> dict:
    """The config that is written for files, once the workflow's own check has taken it."""
    models, data = sorted_out(files)
    model = model_of(models)
    text = overlay(model, data_of(data, None, model), wishes, Path("mine.yaml"))
    assert text.isascii() and text.startswith("# Written by scripts/start.py")
    config = yaml.safe_load(text)
    layers = [yaml.safe_load(DEFAULTS.read_text()), config]
    checked_config(config, [], DEFAULTS, SCHEMA, problems, lambda merged: own_dataset(merged, layers))
    return config


def test_a_checkpoint_and_its_data_yaml(work):
    assert written(["best.pt", "source/data.yaml"]) == {
        "run": "mine",
        "models": {
            "best": {
                "weights": ["best.pt"],
                "sha256": "2d8bcf50c5b582fff2b09b3aafc52693a9a23ae23801e8233a406c01f3b48c29",
            }
        },
        "dataset": {"yaml": "source/data.yaml"},
        "split": {"calibration": 7},
        "sweep": {"model": ["best"], "imgsz": [320, 640], "max_images": [7], "head": ["split"]},
        "layers": {"model": ["best"], "imgsz": [320], "max_images": [7], "head": ["split"]},
    }


def test_what_is_asked_for_is_said(work):
    wishes = Wishes("small", "luckfox-pico-mini", ("416x256", "96"), (2, 4), ("single", "split"))
    config = written(["source/data.yaml", "best.pt"], wishes)
    assert config["run"] == "small" and config["board_model"] == "luckfox-pico-mini"
    assert config["sweep"] == {
        "model": ["best"], "imgsz": ["416x256", 96], "max_images": [2, 4], "head": ["single", "split"]
    }  # fmt: skip
    assert config["split"] == {"calibration": 7}


@pytest.mark.parametrize(
    ("train", "val", "pool"),
    [("images/train", "images/train", 3), ("images", "images/val", 7), ("images/train", "", 3)],
)
def test_images_of_both_parts_are_counted_once(work, train, val, pool):
    (work / "source/data.yaml").write_text(f"train: {train}\nval: {val}\nnames: [bolt, nut, washer, gear]\n")
    assert written(["best.pt", "source/data.yaml"])["split"] == {"calibration": pool}


def test_a_set_without_names_gets_those_of_the_model(work):
    (work / "source" / "data.yaml").unlink()
    with zipfile.ZipFile(work / "größe.zip", "w") as archive:
        for path in sorted((work / "source").rglob("*.*")):
            archive.write(path, path.relative_to(work))
    config = written(["best.pt", "größe.zip"])
    assert config["dataset"] == {"archive": ["größe.zip"], "names": ["bolt", "nut", "washer", "gear"]}
    assert config["split"] == {"calibration": 7}  # of images/train


def test_where_names_go_that_nothing_knows(work):
    (work / "source" / "data.yaml").unlink()
    with pytest.raises(UserError, match=r"the names into a classes\.txt beside its folder 'images', one per line"):
        data_of("source", None, Model("m", {}))
    (work / "source" / "classes.txt").write_text("bolt\nnut\nwasher\ngear\n")
    assert data_of("source", None, Model("m", {})).names == ("bolt", "nut", "washer", "gear")


def test_a_set_with_names_of_its_own_keeps_them(work):
    """So that the workflow can compare them with the model's."""
    (work / "source" / "data.yaml").unlink()
    (work / "source" / "classes.txt").write_text("gear\nwasher\nnut\nbolt\n")
    (work / "source" / "notes.json").write_text("{}")
    assert written(["best.pt", "source"])["dataset"] == {
        "archive": ["source"],
        "names": ["gear", "washer", "nut", "bolt"],
    }


def test_a_voc_set_need_not_have_the_usual_folders(work):
    folder = work / "voc"
    (folder / "annotations").mkdir(parents=True)
    (folder / ".idea").mkdir()
    (folder / ".idea" / "data.yaml").touch()
    shutil.copy(work / "source/images/val/07.jpg", folder / "7.jpg")
    (folder / "annotations" / "7.xml").write_text(
        "<annotation><filename>7.jpg</filename><object><name>nut</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    (folder / "README.txt").write_text("exported")
    assert written(["best.pt", "voc"])["dataset"] == {"voc": "voc", "names": ["bolt", "nut", "washer", "gear"]}


def test_a_darknet_model_has_the_size_of_its_cfg(work):
    (work / "a b.cfg").write_text("[net]\nwidth = 320\nheight=224\n")
    (work / "a b.weights").write_bytes(b"weights")
    config = written(["a b.cfg", "a b.weights", "source/data.yaml"])
    assert set(config["models"]["a-b"]) == {"cfg", "weights", "sha256"}
    assert config["sweep"]["imgsz"] == ["320x224"]


def test_an_export_has_its_own_sizes(work, exported):
    shutil.copy(exported[0], work / "theirs.onnx")
    config = written(["theirs.onnx", "source/data.yaml"])
    assert config["models"] == {"theirs": {"onnx": ["theirs.onnx"]}} and config["sweep"]["imgsz"] == ["96x64"]


def test_the_task_of_an_export_is_in_the_config(work, export):
    shutil.copy(export("yolov8n-pose")[0], work / "theirs.onnx")
    assert written(["theirs.onnx", "source/data.yaml"])["task"] == "pose"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["best.pt"], "name the model (.pt, .onnx, or .cfg and .weights) and one data set"),
        (["source"], "name the model (.pt, .onnx, or .cfg and .weights) and one data set"),
        (["best.pt", "nosuch.yaml"], "there is no file or folder nosuch.yaml"),
        (["best.pt", "best.onnx", "source"], "best.pt, best.onnx are not the files of one model"),
        (["best.pt", "coco.names", "source"], "coco.names belongs to a .cfg and .weights"),
        (["a.cfg", "b.cfg", "a.weights", "source"], "a.cfg, b.cfg, a.weights are not the files of one model"),
        (["best.pt", "notes.txt"], "notes.txt is not a data.yaml, a COCO JSON, a zip, a tar or a folder"),
        (["best.pt", "empty"], "empty contains no labels"),
        (["best.tflite", "source"], "best.tflite is a TFLite model, which is not read; name the checkpoint (.pt) that"),
        (["lfs.pt", "source"], "lfs.pt is a Git LFS pointer, not the file; run `git lfs pull`"),
        (["best.pt", "lfs.zip"], "lfs.zip is a Git LFS pointer, not the file; run `git lfs pull`"),
    ],
)
def test_what_cannot_be_is_one_sentence(work, files, sentence):
    for name in ("best.onnx", "best.tflite", "notes.txt", "coco.names", "a.cfg", "b.cfg", "a.weights"):
        (work / name).write_bytes(b"")
    (work / "empty").mkdir()
    for name in ("lfs.pt", "lfs.zip"):
        (work / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        written(files)


def test_more_images_than_there_are_is_one_sentence(work):
    with pytest.raises(UserError, match="--max-images 9: the data set has 7 images to calibrate on"):
        written(["best.pt", "source/data.yaml"], Wishes("mine", None, (), (4, 9), ("split",)))
    assert written(["best.pt", "source"], Wishes("mine", None, (), (7,), ("split",)))["split"] == {"calibration": 7}


@pytest.mark.parametrize(
    ("option", "sentence"),
    [(["--run", "../other"], "run: '../other' cannot be part of a file name"),
     (["--head", "as_is", "single", "single"], "sweep.head names a value twice")],
)  # fmt: skip
def test_a_config_that_the_workflow_would_refuse_is_not_written(work, step, option, sentence):
    config = work / "mine.yaml"
    done = step("start", work / "best.pt", work / "source" / "data.yaml", "--config", config, "--dry-run", *option)
    assert done.returncode == 2 and sentence in done.stderr and not config.exists()


def test_the_command_shows_the_config_and_keeps_what_it_did_not_write(work, step):
    config = work / "mine.yaml"
    command = ["best.pt", "source/data.yaml", "--dry-run"]
    paths = [work / word if (work / word).exists() else word for word in command]
    done = step("start", *paths, "--config", config)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{config}:" and [line[2:] for line in lines[1:]] == config.read_text().splitlines()
    config.write_text("run: precious\n")
    done = step("start", *paths, "--config", config)
    assert done.returncode == 2 and "was not written by this command and is left as it is" in done.stderr
    assert config.read_text() == "run: precious\n"
