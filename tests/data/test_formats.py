"""Data sets as people have them: each format gives the right images, boxes, classes and parts, or one sentence."""

import io
import json
import re
import shutil
import zipfile
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import ROOT, image
from PIL import Image

import fetch_dataset
from lib import tasks
from lib.data.formats import ultralytics
from lib.data.formats.source import Box, Boxes, Hints
from lib.data.images import ORIENTATION
from lib.step.errors import UserError

WIDTH, HEIGHT = 90, 70


@pytest.fixture
def put():
    """A function that writes images (by seed, so all differ) and labels below a folder."""

    def write(path, seed, label=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image(seed, WIDTH, HEIGHT)[:, :, ::-1])
        if label is not None:
            folder = path.parent.parent / "labels" if path.parent.name == "images" else path.parent
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{path.stem}.txt").write_text(label)

    return write


@pytest.fixture
def roboflow(tmp_path, put):
    """A set as Roboflow exports it: three parts, `../train/images` that means train/images."""
    root = tmp_path / "My Project.v1i.yolov8"
    for start, (part, count) in enumerate({"train": 6, "valid": 3, "test": 2}.items()):
        for number in range(count):
            put(root / part / "images" / f"{part}{number}.jpg", 10 * start + number, f"{number % 2} 0.5 0.5 0.4 0.3\n")
    lines = [f"{key}: ../{part}/images" for key, part in (("train", "train"), ("val", "valid"), ("test", "test"))]
    (root / "data.yaml").write_text("\n".join([*lines, "", "nc: 2", "names: ['raccoon', 'Igel']"]))
    return root


@pytest.fixture
def fetch(tmp_path, capsys):
    """A function: what fetch_dataset.py does with options, into a folder; (folder, how it ended)."""

    def run(*options, folder="ds"):
        code, error = 0, ""
        try:
            fetch_dataset.main([*map(str, options), "--output", str(tmp_path / folder)])
        except UserError as told:
            code, error = 2, f"error: {told}"
        return tmp_path / folder, SimpleNamespace(returncode=code, stdout=capsys.readouterr().out, stderr=error)

    return run


def parts_of(folder) -> dict[str, list[str]]:
    """Names of images by their part, as parts.csv says it."""
    parts = {}
    for line in (folder / "parts.csv").read_text().splitlines()[1:]:
        name, part = line.rsplit(",", 1)
        parts.setdefault(part, []).append(name)
    return parts


def names_of(folder) -> list[str]:
    return (folder / "names.txt").read_text(encoding="utf-8").splitlines()


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as file:
        for each in sorted(folder.rglob("*")):
            file.write(each, each.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("form", ["file", "folder", "zip", "inside"])
def test_roboflows_export_is_taken_as_it_is(fetch, roboflow, tmp_path, form):
    archive = zipped(roboflow, tmp_path / "robo.zip")
    given = {"file": ("--yaml", roboflow / "data.yaml"), "folder": ("--yaml", roboflow), "zip": ("--yaml", archive),
             "inside": ("--archive", archive, "--yaml", "data.yaml")}[form]  # fmt: skip
    folder, done = fetch(*given, "--calibration", 4)
    assert done.returncode == 0, done.stderr
    assert "7 images (0 background), 7 boxes" in done.stdout
    parts = parts_of(folder)
    assert parts["val"] == ["valid0.jpg", "valid1.jpg", "valid2.jpg"]
    assert len(parts["train"]) == 4 and all(name.startswith("train") for name in parts["train"])
    assert names_of(folder) == ["raccoon", "Igel"]


def test_the_pool_is_drawn_by_the_seed_from_train_and_split_takes_it_over(fetch, roboflow, step, tmp_path):
    draws = {}
    for seed in (0, 1):
        folder, done = fetch(
            "--yaml", roboflow, "--calibration", 3, "--seed", seed, "--part", "test", folder=f"s{seed}"
        )
        assert done.returncode == 0, done.stderr
        draws[seed] = parts_of(folder)
        assert draws[seed]["test"] == ["test0.jpg", "test1.jpg"]
        split = step(
            "split_dataset", "--dataset", folder, "--calibration", 3, "--seed", seed, "--output", folder / "split.csv"
        )
        assert split.returncode == 0, split.stderr
        rows = dict(line.split(",") for line in (folder / "split.csv").read_text().splitlines()[1:])
        assert sorted(name for name, part in rows.items() if part == "calibration") == sorted(draws[seed]["train"])
    assert draws[0]["train"] != draws[1]["train"]
    done = step("split_dataset", "--dataset", folder, "--calibration", 2, "--seed", 1, "--output", folder / "split.csv")
    assert done.returncode == 2 and "asks for 2 images, but fetch_dataset.py has drawn 3" in done.stderr


def test_a_pool_that_train_cannot_fill_is_told(fetch, roboflow):
    _, done = fetch("--yaml", roboflow, "--calibration", 7)
    assert done.returncode == 2
    assert "split.calibration asks for 7 images, but train of" in done.stderr and "has 6; ask for fewer" in done.stderr


def test_images_alone_have_no_labels_and_need_none(fetch, tmp_path, put):
    for seed, name in enumerate(("a.png", "b.png")):
        put(tmp_path / "frames" / name, seed)
    folder, done = fetch("--images", tmp_path / "frames", "--names", "none")
    assert done.returncode == 0, done.stderr
    assert "2 images (2 background), 0 boxes" in done.stdout and names_of(folder) == ["none"]
    _, done = fetch("--images", tmp_path / "frames", folder="other")
    assert "frames has no class names; give --names" in done.stderr


def test_roboflows_keypoints_of_two_values_get_a_third(fetch, roboflow):
    for label in (roboflow / "valid/labels").iterdir():
        label.write_text("9 0.5 0.5 0.4 0.3 0.4 0.4 0 0\n" * 2)
    path = edited(roboflow, names={4: "raccoon", 9: "Igel"}, nc=None, kpt_shape=[2, 2], flip_idx=[1, 0])
    folder, done = fetch("--yaml", path, "--task", "pose")
    assert done.returncode == 0, done.stderr
    assert "3 duplicate labels are dropped" in done.stdout
    assert "3 images (0 background), 3 objects with 3 labelled keypoints" in done.stdout
    assert numbers(folder / "labels/valid0.txt") == [[1, 0.5, 0.5, 0.4, 0.3, 0.4, 0.4, 2, 0, 0, 0]]


def edited(roboflow, **changes):
    """A data.yaml of the Roboflow set with other keys; None takes one away."""
    import yaml

    data = yaml.safe_load((roboflow / "data.yaml").read_text()) | changes
    path = roboflow / "data.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in data.items() if value is not None}, allow_unicode=True)
    )
    return path


def test_without_val_the_split_is_drawn_from_train_and_it_is_said_what_that_means(fetch, roboflow, step):
    folder, done = fetch("--yaml", edited(roboflow, val=None), "--calibration", 2)
    assert done.returncode == 0, done.stderr
    assert "has no part 'val'; it has test: set evaluation.part to test" in done.stdout
    assert "a model may have been trained on them" in done.stdout
    assert set(parts_of(folder)) == {"train"} and len(parts_of(folder)["train"]) == 6
    split = step(
        "split_dataset", "--dataset", folder, "--calibration", 2, "--seed", 0, "--output", folder / "split.csv"
    )
    assert "2 for calibration, 4 for evaluation" in split.stdout


def test_train_and_val_that_are_one_folder_are_told(fetch, roboflow):
    folder, done = fetch("--yaml", edited(roboflow, val="train/images"), "--calibration", 2)
    assert done.returncode == 0 and "train and val of data.yaml are the same images" in done.stdout
    assert set(parts_of(folder)) == {"train"}


def test_lists_of_folders_and_lists_of_images_are_read(fetch, roboflow):
    lines = "./valid/images/valid0.jpg\n./valid/images/valid2.jpg\n./valid/images/valid2.jpg\n"
    (roboflow / "val.txt").write_text(lines)
    changed = edited(roboflow, train=["train/images", "test/images"], val="val.txt", test=None)
    folder, done = fetch("--yaml", changed, "--calibration", 8)
    assert done.returncode == 0, done.stderr
    assert parts_of(folder)["val"] == ["valid0.jpg", "valid2.jpg"] and len(parts_of(folder)["train"]) == 8
    assert "val.txt lists 2 different images in 3 lines" in done.stdout
    (roboflow / "val.txt").write_text("./valid/images/valid0.jpg\n./nowhere.jpg\n")
    _, done = fetch("--yaml", changed, folder="other")
    assert done.returncode == 2 and "lists 2 images, but 1 cannot be found, the first ./nowhere.jpg" in done.stderr


def test_a_list_of_another_machine_may_lie_in_a_folder_beside_its_images(fetch, roboflow):
    (roboflow / "generated").mkdir()
    for key, part in (("train", "train"), ("val", "valid")):
        images = sorted((roboflow / part / "images").iterdir())
        lines = "".join(f"/Users/me/robo/{path.relative_to(roboflow).as_posix()}\n" for path in images)
        (roboflow / f"generated/{key}.txt").write_text(lines)
    lists = {key: f"/Users/me/robo/generated/{key}.txt" for key in ("train", "val")}
    shutil.move(edited(roboflow, path="/Users/me/robo/generated", test=None, **lists), roboflow / "generated/data.yaml")
    _, done = fetch("--yaml", roboflow / "generated/data.yaml", "--calibration", 4)
    assert done.returncode == 0 and "7 images (0 background), 7 boxes" in done.stdout, done.stderr
    assert f"the images of val.txt are looked for in {roboflow}, the folder above its own" in done.stdout
    (roboflow / "valid/images/valid1.jpg").unlink()
    _, done = fetch("--yaml", roboflow / "generated/data.yaml", folder="other")
    assert (
        "val.txt lists 3 images, but 3 cannot be found, the first /Users/me/robo/valid/images/valid0.jpg" in done.stderr
    )
    assert (
        f"nor below {roboflow / 'generated'}, {roboflow}, also without its leading folders; correct the list"
        in done.stderr
    )


@pytest.mark.parametrize("name", ["Labels", "label", None])
def test_a_part_without_labels_is_refused_when_it_is_fetched(fetch, roboflow, name):
    shutil.move(roboflow / "valid/labels", roboflow / "aside")
    if name:
        shutil.move(roboflow / "aside", roboflow / "valid" / name)
    folder, done = fetch("--yaml", roboflow, "--calibration", 4)
    assert done.returncode == 2 and not list((folder).iterdir())
    assert f"none of the 3 images of the part val of {roboflow / 'data.yaml'} has a label with a box" in done.stderr
    image, place = roboflow / "valid/images/valid0.jpg", roboflow / "valid/labels"
    end = f"; rename {roboflow / 'valid' / name} to labels" if name else ""
    assert done.stderr.endswith(f"; the label of {image} belongs in {place}{end}")


def test_folders_in_another_spelling_are_named(fetch, roboflow):
    shutil.move(roboflow / "train/images", roboflow / "train/image")
    _, done = fetch("--yaml", roboflow)
    assert f"nor in the folder above; {roboflow / 'train/image'} may be meant; set path" in done.stderr
    shutil.move(roboflow / "train/image", roboflow / "train/Images")
    shutil.move(roboflow / "train", roboflow.parent / "set")
    _, done = fetch("--archive", roboflow.parent / "set", "--names", "a", "b")
    assert f"set has no folder 'images' (rename {roboflow.parent / 'set/Images'} to images); the layout" in done.stderr
    shutil.move(roboflow.parent / "set/Images", roboflow.parent / "set/images")
    shutil.move(roboflow.parent / "set/labels", roboflow.parent / "set/LABELS")
    _, done = fetch("--archive", roboflow.parent / "set", "--names", "a", "b")
    assert f"named like the images; rename {roboflow.parent / 'set/LABELS'} to labels" in done.stderr


def test_names_with_gaps_are_numbered_anew_with_their_labels(fetch, roboflow):
    for label in (roboflow / "valid/labels").iterdir():
        label.write_text("90 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.2 0.2\n")
    folder, done = fetch("--yaml", edited(roboflow, names={1: "a", 17: "b", 90: "ß"}, nc=3))
    assert done.returncode == 0, done.stderr
    assert "class numbers of data.yaml, 1 to 90, become 0 to 2, in the same order" in done.stdout
    assert names_of(folder) == ["a", "b", "ß"]
    assert (folder / "labels/valid0.txt").read_text() == "2 0.5 0.5 0.2 0.2\n0 0.3 0.3 0.2 0.2\n"
    (roboflow / "valid/labels/valid1.txt").write_text("2 0.5 0.5 0.2 0.2\n")
    _, done = fetch("--yaml", roboflow, folder="other")
    assert done.returncode == 2 and "valid1.txt, line 1 ('2 0.5 0.5 0.2 0.2'): no name has class 2" in done.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nc": 3}, "nc is 3, names has 2; correct the wrong one"),
        ({"names": None, "nc": None}, "has neither names nor nc"),
        ({"names": ["a", "a"]}, "class names must be distinct"),
        ({"train": None, "val": None, "test": None}, "names no images"),
        ({"val": "nowhere", "download": "import os; os.remove('x')"}, "its `download:` is never run"),
    ],
)
def test_a_data_yaml_that_does_not_hold_is_one_sentence(fetch, roboflow, changes, sentence):
    folder, done = fetch("--yaml", edited(roboflow, **changes))
    assert done.returncode == 2 and sentence in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nc": 10**9, "names": None}, "nc is 1000000000; at most 100000 classes are possible"),
        ({"names": {0.5: "a", 1: "b"}}, "nc must be a whole number, and names a list or a mapping of class numbers"),
        ({"names": {True: "a", 0: "b"}}, "nc must be a whole number, and names a list or a mapping of class numbers"),
        ({"names": ["a", None]}, "names holds None, which is not text; put it in quotes if it is a name"),
        ({"names": [True, "b"]}, "names holds True, which is not text; put it in quotes if it is a name"),
        ({"names": [["a"], "b"]}, r"names holds \['a'\], which is not text"),
        ({"val": "/dev/zero"}, "/dev/zero is neither a folder nor a file"),
    ],
)
def test_values_that_yaml_makes_of_words_are_no_names_and_no_images(roboflow, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        ultralytics.read(edited(roboflow, **changes), Hints())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'path: x\ntrain: "C:\\Users\\me\\train"\n',
            r"line 2, is not valid YAML: expected escape sequence of 8 hexadecimal numbers, but found 's' (in double "
            r"quotes, a backslash means something else: write C:/data or 'C:\data')",
        ),
        (
            "names:\n\t- a\n",
            "line 2, is not valid YAML: found character '\\t' that cannot start any token (use no tabs",
        ),
        ("nc: 1\n---\nnc: 2\n", "line 2, is not valid YAML: but found another document (use no tabs"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_by_its_line(tmp_path, text, sentence):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'data.yaml'}, {sentence}")):
        ultralytics.read(tmp_path / "data.yaml", Hints())


@pytest.mark.parametrize("path", [2024, ["a"], {"a": 1}])
def test_a_path_that_yaml_reads_as_something_else_is_looked_for_as_it_is_written(roboflow, path):
    remarks = ultralytics.read(edited(roboflow, path=path, val="valid/images"), Hints()).remarks
    assert remarks[0].startswith(f"path: {path} of data.yaml does not exist here")


def test_a_path_of_another_machine_is_told_and_not_followed(fetch, roboflow):
    folder, done = fetch("--yaml", edited(roboflow, path="/content/datasets/x", val="valid/images"))
    assert done.returncode == 0 and "path: /content/datasets/x of data.yaml does not exist here" in done.stdout
    assert len(parts_of(folder)["val"]) == 3


@pytest.mark.parametrize(
    ("path", "yaml_in", "images_in"),
    [
        ("../datasets/robo", ".", "."),  # the file is in the folder that it names
        ("/content/robo", ".", "robo"),
        ("/kaggle/working/robo", "robo/config", "robo"),
        ("kaggle/robo", "robo.yaml.d", "datasets/robo"),
        ("robo", "configs", "datasets/robo"),
        (r"C:\Users\me\robo", ".", "robo"),
        ("..", "a", "a/robo"),  # it exists, and is the wrong one
        (None, ".", "robo"),
    ],
)
def test_images_are_found_where_path_is_off_by_a_level(fetch, roboflow, tmp_path, path, yaml_in, images_in):
    changed = edited(roboflow, path=path, train="train/images", val="valid/images", test=None)
    root = tmp_path / "x"
    (root / yaml_in).mkdir(parents=True)
    (root / images_in).mkdir(parents=True, exist_ok=True)
    shutil.move(changed, root / yaml_in / "data.yaml")
    for part in ("train", "valid"):
        shutil.move(roboflow / part, root / images_in / part)
    _, done = fetch("--yaml", root / yaml_in / "data.yaml", "--calibration", 4)
    assert done.returncode == 0, done.stderr
    assert "7 images (0 background), 7 boxes" in done.stdout
    if yaml_in != images_in:
        assert f"its images are looked for in {root / images_in}, the only folder nearby that has them" in done.stdout


@pytest.mark.parametrize("prefix", ["/content/robo", "/kaggle/working/robo", "/home/me/projects/training/robo"])
def test_paths_of_another_machine_end_as_those_here(fetch, roboflow, prefix):
    entries = {key: f"{prefix}/{part}/images" for key, part in (("train", "train"), ("val", "valid"))}
    (roboflow / "images").mkdir()  # is not the images of a part
    _, done = fetch("--yaml", edited(roboflow, test=None, **entries), "--calibration", 4)
    assert done.returncode == 0 and "7 images (0 background), 7 boxes" in done.stdout, done.stderr


def test_images_that_may_be_in_two_folders_or_in_none_are_not_guessed(fetch, roboflow):
    for name in ("one", "two"):
        for part in ("train", "valid"):
            shutil.copytree(roboflow / part, roboflow / name / part)
    for part in ("train", "valid", "test"):
        shutil.rmtree(roboflow / part)
    folder, done = fetch("--yaml", edited(roboflow, path="/content/robo"))
    assert done.returncode == 2 and not list(folder.iterdir())
    assert f"several folders have such: {roboflow / 'one'}, {roboflow / 'two'}; write one of them" in done.stderr
    shutil.rmtree(roboflow / "one/valid")
    shutil.rmtree(roboflow / "two/train")
    _, done = fetch("--yaml", roboflow)
    assert (
        f"train: ../train/images is not in {roboflow}, {roboflow / 'one'}, {roboflow / 'two'}, nor in the folder above"
        in done.stderr
    )
    assert "set path (now /content/robo) to the folder that ../train/images is relative to" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    _, done = fetch("--yaml", edited(roboflow, train="/content/robo/train/images"))
    assert "write under train where these images are on this machine" in done.stderr


@pytest.mark.parametrize(
    ("entry", "here", "path"),
    [
        ("../valid/images", "val", None),
        ("val/images", "valid", None),
        ("../validation/images", "valid", "/content/robo"),
        ("valid\\images", "validation", None),
    ],
)
def test_the_folder_of_the_val_images_may_have_another_usual_name(fetch, roboflow, entry, here, path):
    shutil.move(roboflow / "valid", roboflow / "aside")
    shutil.move(roboflow / "aside", roboflow / here)
    folder, done = fetch("--yaml", edited(roboflow, path=path, val=entry), "--calibration", 4)
    assert done.returncode == 0, done.stderr
    assert len(parts_of(folder)["val"]) == 3
    assert f"{entry} of data.yaml does not exist; " in done.stdout and f"{here}" in done.stdout
    assert "the only folder that it can mean" in done.stdout


def test_a_folder_of_val_images_that_may_be_two_is_not_guessed(fetch, roboflow):
    shutil.copytree(roboflow / "valid", roboflow / "val")
    _, done = fetch("--yaml", edited(roboflow, val="../validation/images"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "../validation/images does not exist, and may mean ../valid/images or ../val/images; write" in done.stderr
    # What exists as it is written is meant.
    folder, done = fetch("--yaml", edited(roboflow, val="../valid/images"), folder="other")
    assert done.returncode == 0 and "does not exist" not in done.stdout and len(parts_of(folder)["val"]) == 3


@pytest.mark.parametrize("form", ["folders", "lists", "archive", "beside"])
def test_labels_without_an_image_are_told_in_every_layout(fetch, tmp_path, put, form):
    root, orphan = tmp_path / "set", "0 0.5 0.5 0.2 0.2\n"
    for seed, name in enumerate(("train/a", "train/b", "val/c")):
        image_at, label_at = (f"{kind}/{name}" for kind in (("images", "labels") if form != "beside" else ("x", "x")))
        put(root / f"{image_at}.jpg", seed)
        (root / label_at).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{label_at}.txt").write_text(orphan)
    labels = root / ("x" if form == "beside" else "labels")
    # Those of an image in another folder, or written with another suffix, are no labels either.
    for name in ("train/lost.txt", "val/a.txt"):
        (labels / name).write_text(orphan)
    for name in ("train/classes.txt", "README.roboflow.txt", "train.cache"):
        (labels / name).write_text("x\n")
    images = "x" if form == "beside" else "images"
    for part, names in (("train", "a"), ("val", "c")):  # b is in no list
        (root / f"{part}.txt").write_text("".join(f"{images}/{part}/{name}.jpg\n" for name in names))
    suffix = ".txt" if form == "lists" else ""
    folders = "" if form == "lists" else f"{images}/"
    (root / "data.yaml").write_text(f"train: {folders}train{suffix}\nval: {folders}val{suffix}\nnames: [x]\n")
    given = ("--archive", root, "--names", "x") if form == "archive" else ("--yaml", root)
    if form == "archive":
        (labels / "train/classes.txt").unlink()  # looked for at the top
    _, done = fetch(*given, "--calibration", 1)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "belong to no image" in line]
    assert told == ["WARNING: 2 label files belong to no image: lost.txt, a.txt"]


def test_images_of_one_name_in_two_parts_are_both_kept(fetch, tmp_path, put):
    root = tmp_path / "set"
    for seed, part in enumerate(("train", "val")):
        put(root / part / "images" / "0001.jpg", seed, "0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("train: train/images\nval: val/images\nnames: [a]\n")
    folder, done = fetch("--yaml", root, "--calibration", 1)
    assert done.returncode == 0, done.stderr
    assert parts_of(folder) == {"train": ["train-images-0001.jpg"], "val": ["val-images-0001.jpg"]}


COCO = {
    "images": [
        {"id": 7, "file_name": "a/1.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 8, "file_name": "2.jpg", "width": "90", "height": "70"},
        {"id": 9, "file_name": "3.jpg"},
        {"id": 10, "file_name": "lost.jpg", "width": 5, "height": 5},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [9, 7, 18, 14], "area": 252, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": ["0.0", "0", "90", "35.0"], "iscrowd": 1},
        {"id": 3, "image_id": 8, "category_id": 1, "segmentation": [[9, 7, 27, 7, 27, 21]]},
        {"id": 4, "image_id": 8, "category_id": 1, "bbox": [5, 5, 0, 10]},
        {"id": 5, "image_id": 8, "category_id": 90, "bbox": [80, 60, 20, 20]},
    ],
    "categories": [{"id": 90, "name": "tooth brush"}, {"id": 1, "name": "Straße"}],
}


@pytest.fixture
def coco(tmp_path, put):
    """COCO's JSON as other tools write it, and its images."""
    put(tmp_path / "images/a/1.jpg", 1)
    put(tmp_path / "images/2.jpg", 2)
    put(tmp_path / "images/3.jpg", 3)
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances.json"
    path.write_text(json.dumps(COCO))
    return path


def numbers(path) -> list[list]:
    """The lines of a label, numbers as numbers."""
    return [
        [float(word) if word[0].isdigit() else word for word in line.split()] for line in path.read_text().splitlines()
    ]


def test_cocos_json_is_taken_as_other_tools_write_it(fetch, coco):
    folder, done = fetch("--coco", coco, "--images", coco.parent.parent / "images")
    assert done.returncode == 0, done.stderr
    assert "class numbers of instances.json, 1 to 90, become 0 to 1" in done.stdout
    assert "1 of 4 images of instances.json are not in" in done.stdout and "lost.jpg" in done.stdout
    assert "1 objects extend beyond their image" in done.stdout
    assert "1 boxes have no area in their image and are dropped: 2.jpg (Straße)" in done.stdout
    assert "1 labels are crowds or difficult objects" in done.stdout
    assert "3 images (1 background), 3 boxes" in done.stdout
    assert names_of(folder) == ["Straße", "tooth brush"]
    assert numbers(folder / "labels/1.txt") == [
        pytest.approx([1, 0.2, 0.2, 0.2, 0.2]),
        [0, 0.5, 0.25, 1, 0.5, "crowd"],
    ]
    assert numbers(folder / "labels/2.txt") == [
        pytest.approx([0, 0.2, 0.2, 0.2, 0.2]),
        pytest.approx([1, 85 / 90, 65 / 70, 10 / 90, 10 / 70]),
    ]
    assert (folder / "labels/3.txt").read_text() == ""


def test_the_models_names_give_cocos_classes_their_order(fetch, coco):
    folder, done = fetch(
        "--coco", coco, "--images", coco.parent.parent / "images", "--names", "tooth brush", "x", "Straße"
    )
    assert done.returncode == 0, done.stderr
    assert names_of(folder) == ["tooth brush", "x", "Straße"]
    assert [line[0] for line in numbers(folder / "labels/1.txt")] == [0, 2]
    _, done = fetch("--coco", coco, "--names", "tooth brush", "x", folder="other")
    assert done.returncode == 2 and "has objects labelled Straße, which dataset.names lacks" in done.stderr


def test_roboflows_category_of_categories_is_left_out(fetch, coco):
    data = json.loads(coco.read_text())
    data["categories"] = [{"id": 0, "name": "things", "supercategory": "none"},
                          {"id": 1, "name": "a", "supercategory": "things"},
                          {"id": 2, "name": "b", "supercategory": "things"}]  # fmt: skip
    for annotation in data["annotations"]:
        annotation["category_id"] = 1 + annotation["id"] % 2
    coco.write_text(json.dumps(data))
    folder, done = fetch("--coco", coco)
    assert done.returncode == 0 and names_of(folder) == ["a", "b"], done.stderr
    assert "category things has no object; left out" in done.stdout


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data.pop("categories"), "it has no list 'categories'"),
        (lambda data: data["annotations"][0].update(bbox=[1, 2, "x", 3]), "annotation 1 has no bbox of four numbers"),
        (lambda data: data["annotations"][0].update(category_id=5), "category_id 5 is not among its categories"),
        (lambda data: data["images"][0].update(width=HEIGHT, height=WIDTH), "an image that is turned or cropped"),
        (lambda data: data.update(images=[]), "none of the 0 images"),
        (lambda data: data["images"][0].pop("id"), "an entry lacks 'id'"),
        (lambda data: data["annotations"][0].update(category_id=None), "'category_id' is not a number"),
        (lambda data: data["images"][1].update(id=data["images"][0]["id"]), "both have the id"),
        (
            lambda data: data["images"].append(data["images"][0] | {"id": 77}),
            "times; keep one entry, with all annotations",
        ),
        (lambda data: data["annotations"][0].update(image_id=[7]), "'image_id' is neither a number nor text"),
    ],
)
def test_a_json_that_does_not_hold_is_one_sentence(fetch, coco, change, sentence):
    data = json.loads(coco.read_text())
    change(data)
    coco.write_text(json.dumps(data))
    _, done = fetch("--coco", coco, "--images", coco.parent.parent / "images")
    assert done.returncode == 2 and sentence in done.stderr


def test_an_image_is_the_one_that_the_json_means_among_others_of_its_name(fetch, tmp_path, put):
    one = {"images": [{"id": 1, "file_name": "1.jpg"}], "categories": [{"id": 0, "name": "a"}],
           "annotations": [{"image_id": 1, "category_id": 0, "bbox": [9, 7, 18, 14]}]}  # fmt: skip
    for name, (seed, places) in {
        "part": (1, ("images/train/1.jpg", "images/val/1.jpg")),
        "masks": (1, ("images/1.jpg", "masks/1.jpg")),
        "beside": (1, ("set/1.jpg", "drawn/1.jpg")),
        "unclear": (1, ("a/1.jpg", "b/1.jpg")),
    }.items():
        for number, place in enumerate(places):
            put(tmp_path / name / place, seed + number)
        path = tmp_path / name / ("set/labels.json" if name == "beside" else "annotations/instances_train.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(one))
        folder, done = fetch("--coco", tmp_path / name, folder=f"{name}-read")
        if name == "unclear":
            assert done.returncode == 2 and "2 images in" in done.stderr and "a/1.jpg and" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            assert (folder / "images/1.jpg").read_bytes() == (tmp_path / name / places[0]).read_bytes()


def test_a_json_in_the_folder_of_each_part(fetch, tmp_path, put):
    kinds = [{"id": 0, "name": "things"}, {"id": 1, "name": "a", "supercategory": "things"}]
    for number, part in enumerate(("train", "valid", "test")):
        put(tmp_path / "set" / part / "1.jpg", number)
        box = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [9, 7, 9 + number, 14]}
        content = {"images": [{"id": 0, "file_name": "1.jpg"}], "categories": kinds, "annotations": [box]}
        (tmp_path / "set" / part / "_annotations.coco.json").write_text(json.dumps(content))
    (tmp_path / "set" / "train" / "other.json").write_text("{}")
    folder, done = fetch("--coco", tmp_path / "set", "--calibration", 1)
    assert done.returncode == 0, done.stderr
    assert parts_of(folder) == {"train": ["train-1.jpg"], "val": ["valid-1.jpg"]} and names_of(folder) == ["a"]
    for number, part in enumerate(("train", "valid")):
        source = tmp_path / "set" / part / "1.jpg"
        assert (folder / "images" / f"{part}-1.jpg").read_bytes() == source.read_bytes()
        assert numbers(folder / "labels" / f"{part}-1.txt")[0][3] == pytest.approx((9 + number) / WIDTH)
    kinds[1]["name"] = "b"
    (tmp_path / "set" / "test" / "_annotations.coco.json").write_text(json.dumps(content))
    _, done = fetch("--coco", tmp_path / "set", "--calibration", 1, folder="mixed")
    assert done.returncode == 2 and "has other categories than" in done.stderr


def test_numbers_of_images_may_be_text_in_one_table(fetch, coco):
    data = json.loads(coco.read_text())
    for annotation in data["annotations"][:2]:
        annotation["image_id"] = str(annotation["image_id"])
    data["annotations"].append({"id": 6, "image_id": 99, "category_id": 1, "bbox": [1, 1, 9, 9]})
    coco.write_text(json.dumps(data))
    _, done = fetch("--coco", coco, "--images", coco.parent.parent / "images")
    assert done.returncode == 0, done.stderr
    assert "3 images (1 background), 3 boxes" in done.stdout
    assert (
        "1 annotations of instances.json are left out, because it has no image with their image_id: 99" in done.stdout
    )


def test_many_crowds_are_told(fetch, coco):
    data = json.loads(coco.read_text())
    for annotation in data["annotations"][:2]:
        annotation["iscrowd"] = 1
    coco.write_text(json.dumps(data))
    _, done = fetch("--coco", coco, "--images", coco.parent.parent / "images")
    assert "2 of 5 objects are crowds (iscrowd), which no metric counts: CVAT marks every mask so" in done.stdout
    for annotation in data["annotations"]:
        annotation["iscrowd"] = 1
    coco.write_text(json.dumps(data))
    _, done = fetch("--coco", coco, "--images", coco.parent.parent / "images", folder="crowds")
    assert done.returncode == 2 and "all 5 objects of" in done.stderr


def test_a_polygon_may_be_a_plain_list_of_numbers(fetch, coco):
    data = json.loads(coco.read_text())
    for annotation in data["annotations"]:
        annotation |= {"segmentation": [9, 7, 27, 7, 27, 21], "bbox": []}
    coco.write_text(json.dumps(data))
    folder, done = fetch("--coco", coco, "--images", coco.parent.parent / "images")
    assert done.returncode == 0, done.stderr
    assert numbers(folder / "labels/1.txt")[0] == pytest.approx([1, 0.2, 0.2, 0.2, 0.2])


def test_boxes_as_fractions_are_refused(fetch, coco):
    data = json.loads(coco.read_text())
    for entry in data["annotations"]:
        entry["bbox"] = [0.1, 0.2, 0.3, 0.8]
    coco.write_text(json.dumps(data))
    folder, done = fetch("--coco", coco)
    assert done.returncode == 2 and not list(folder.iterdir())
    count = len(data["annotations"])
    assert f"{count} of {count} boxes of {coco} are within 0 to 1, as fractions of the image's sides" in done.stderr
    # A box of a pixel in the corner is a box.
    for entry in data["annotations"][1:]:
        entry["bbox"] = [10, 10, 20, 20]
    data["annotations"][0]["bbox"] = [0, 0, 1, 1]
    coco.write_text(json.dumps(data))
    _, done = fetch("--coco", coco)
    assert done.returncode == 0, done.stderr


def test_run_lengths_alone_give_the_box_around_them(fetch, coco):
    data = json.loads(coco.read_text())
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[7:21, 9:27] = 1
    runs = np.diff(np.flatnonzero(np.diff(np.r_[2, mask.T.reshape(-1), 2]))).tolist()
    data["annotations"][0] |= {"bbox": [], "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}}
    coco.write_text(json.dumps(data))
    folder, done = fetch("--coco", coco, "--images", coco.parent.parent / "images")
    assert done.returncode == 0, done.stderr
    assert numbers(folder / "labels/1.txt")[0] == pytest.approx([1, 0.2, 0.2, 0.2, 0.2])


OBJECT = """<object><name>{name}</name>{more}
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


def xml(*objects, size=(WIDTH, HEIGHT), filename="somebody's.jpg", more="") -> str:
    entries = "".join(OBJECT.format(*corners, name=name, more=extra) for name, corners, extra in objects)
    return (
        f"<annotation><folder>x</folder><filename>{filename}</filename><path>C:\\\\Users\\\\x\\\\somebody's.jpg</path>{more}"
        f"<size><width>{size[0]}</width><height>{size[1]}</height></size>{entries}</annotation>"
    )


@pytest.fixture
def voc(tmp_path, put):
    """A set in Pascal VOC's form: wrong paths, a name that is not ASCII, a difficult object, one without area."""
    root = tmp_path / "VOC"
    for number in range(4):
        put(root / f"JPEGImages/{number}.jpg", number)
    (root / "Annotations").mkdir()
    annotations = [
        xml(("狗", (9, 7, 27, 21), ""), ("cat", (0, 0, 45, 35), "<difficult>1</difficult>")),
        xml(("cat", (5, 5, 5, 20), ""), ("cat", (9.0, 7.0, 27.0, 21.0), "<difficult>0</difficult>"), size=(0, 0)),
        xml(),
    ]
    for number, text in enumerate(annotations):
        (root / f"Annotations/{number}.xml").write_text(text, encoding="utf-8")
    return root


def test_pascal_voc_is_taken_as_it_is(fetch, voc):
    folder, done = fetch("--voc", voc)
    assert done.returncode == 0, done.stderr
    assert "3 images (1 background), 2 boxes" in done.stdout
    assert "1 labels are crowds or difficult objects" in done.stdout
    assert "1 boxes have no area in their image and are dropped: 1.jpg (cat)" in done.stdout
    assert "1 images have no annotation, or are in no list, and are left out: 3.jpg" in done.stdout
    assert names_of(folder) == ["cat", "狗"]
    assert numbers(folder / "labels/0.txt") == [
        pytest.approx([1, 0.2, 0.2, 0.2, 0.2]),
        [0, 0.25, 0.25, 0.5, 0.5, "difficult"],
    ]
    assert numbers(folder / "labels/1.txt") == [pytest.approx([0, 0.2, 0.2, 0.2, 0.2])]


def test_the_challenges_own_files_count_pixels_from_one(fetch, voc):
    source = "<source><database>The VOC2007 Database</database></source>"
    (voc / "Annotations/0.xml").write_text(xml(("cat", (10, 8, 27, 21), ""), more=source))
    folder, done = fetch("--voc", voc)
    assert done.returncode == 0 and numbers(folder / "labels/0.txt") == [pytest.approx([0, 0.2, 0.2, 0.2, 0.2])]


def test_lists_of_imagesets_are_parts(fetch, voc):
    (voc / "ImageSets/Main").mkdir(parents=True)
    (voc / "ImageSets/Main/train.txt").write_text("0\n")
    (voc / "ImageSets/Main/val.txt").write_text("1\n")
    folder, done = fetch("--voc", voc, "--calibration", 1)
    assert done.returncode == 0, done.stderr
    assert parts_of(folder) == {"train": ["0.jpg"], "val": ["1.jpg"]}
    assert "1 annotations are in no list of ImageSets/Main and are left out: 2.xml" in done.stdout


@pytest.mark.parametrize("name", ["a_jpg.rf.0f", "a.v1", "Screenshot (573)", "a 1", "a.jpg"])
@pytest.mark.parametrize("line", ["{}", "{}  1", "{} -1", "{}.jpg", "VOC/JPEGImages/{}.bmp"])
def test_names_in_the_lists_may_hold_dots_and_spaces(fetch, voc, put, name, line):
    put(voc / f"JPEGImages/{name}.jpg", 9)
    (voc / f"Annotations/{name}.xml").write_text(xml(("cat", (9, 7, 27, 21), "")))
    (voc / "ImageSets/Main").mkdir(parents=True)
    (voc / "ImageSets/Main/train.txt").write_text("0\n")
    (voc / "ImageSets/Main/val.txt").write_text(f"{line.format(name)}\n")
    folder, done = fetch("--voc", voc, "--calibration", 1)
    assert done.returncode == 0, done.stderr
    assert parts_of(folder) == {"train": ["0.jpg"], "val": [f"{name}.jpg"]}
    assert "have no annotation and are left out" not in done.stdout


def test_a_folder_of_xmls_for_each_part(fetch, tmp_path, put):
    for number, part in enumerate(("train", "valid", "test")):
        put(tmp_path / "set" / part / "1.jpg", number)
        (tmp_path / "set" / part / "1.xml").write_text(xml(("cat", (9, 7, 27, 21 + number), "")))
    folder, done = fetch("--voc", tmp_path / "set", "--calibration", 1)
    assert done.returncode == 0, done.stderr
    assert parts_of(folder) == {"train": ["train-1.jpg"], "val": ["valid-1.jpg"]}
    source = tmp_path / "set" / "valid" / "1.jpg"
    assert (folder / "images" / "valid-1.jpg").read_bytes() == source.read_bytes()


def test_what_is_in_no_list_is_told_apart_from_what_has_no_image(fetch, voc):
    (voc / "ImageSets/Main").mkdir(parents=True)
    lists = voc / "ImageSets/Main/train.txt"
    lists.write_text("7\n8\n")
    _, done = fetch("--voc", voc)
    assert f"none of the 3 files in {voc / 'Annotations'} is in a list of {lists.parent}, which has 7, 8" in done.stderr
    lists.write_text("0\n8\n")
    _, done = fetch("--voc", voc)
    assert "WARNING: 1 names in the lists of ImageSets/Main have no annotation and are left out: 8" in done.stdout
    (voc / "JPEGImages/0.jpg").unlink()
    _, done = fetch("--voc", voc, folder="none")
    assert f"2 are in no list of {lists.parent}, and the others have no image in {voc}" in done.stderr


@pytest.mark.parametrize("drawn", ["SegmentationClass", "SegmentationObjectPNG", "AnnotationsVisualization", "masks"])
def test_a_mask_is_no_image(fetch, voc, put, drawn):
    (voc / "JPEGImages").rename(voc / "frames")
    for number in range(4):
        put(voc / drawn / f"{number}.png", 50 + number)
    folder, done = fetch("--voc", voc)
    assert done.returncode == 0, done.stderr
    for number in range(3):
        assert (folder / f"images/{number}.jpg").read_bytes() == (voc / f"frames/{number}.jpg").read_bytes()
    (voc / "frames/0.jpg").unlink()
    folder, done = fetch("--voc", voc, folder="lost")
    assert "1 annotations have no image and are left out: 0.xml" in done.stdout


def test_an_xml_says_which_of_two_files_is_its_image(fetch, voc, put):
    put(voc / "JPEGImages/0.png", 50)
    _, done = fetch("--voc", voc)
    assert done.returncode == 2 and "0.jpg or " in done.stderr and done.stderr.endswith("keep one of them there")
    (voc / "Annotations/0.xml").write_text(xml(("cat", (9, 7, 27, 21), ""), filename="0.jpg"))
    folder, done = fetch("--voc", voc)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "images").glob("*.*g")) == ["0.jpg", "1.jpg", "2.jpg"]
    assert f"1 images share the name of one that is taken and are left out: {voc / 'JPEGImages/0.png'}" in done.stdout


@pytest.mark.parametrize("images", ["JPEGImages", "images", None])
def test_an_xml_in_a_folder_has_the_image_of_the_same_folder(fetch, tmp_path, put, images):
    root = tmp_path / "V"
    for seed, camera in enumerate(("cam1", "cam2")):
        put(root / (images or "Annotations") / camera / "0.jpg", seed)
        (root / "Annotations" / camera).mkdir(parents=True, exist_ok=True)
        (root / "Annotations" / camera / "0.xml").write_text(xml((camera, (9, 7, 27, 21), "")))
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("cam1/0\n")
    (root / "ImageSets/Main/val.txt").write_text("cam2/0\n")
    folder, done = fetch("--voc", root, "--calibration", 1, *(("--images", root / images) if images else ()))
    assert done.returncode == 0, done.stderr
    assert parts_of(folder) == {"train": ["cam1-0.jpg"], "val": ["cam2-0.jpg"]}
    for seed, camera in enumerate(("cam1", "cam2")):
        original = root / (images or "Annotations") / camera / "0.jpg"
        assert (folder / f"images/{camera}-0.jpg").read_bytes() == original.read_bytes()
        assert numbers(folder / f"labels/{camera}-0.txt")[0][0] == seed


def test_an_image_of_one_name_in_two_folders_is_not_guessed(fetch, voc, tmp_path, put):
    pictures = tmp_path / "pictures"
    shutil.move(voc / "JPEGImages", pictures / "train")
    put(pictures / "val/0.jpg", 60)
    _, done = fetch("--voc", voc, "--images", pictures)
    assert done.returncode == 2
    assert f"0.xml may be {pictures}/train/0.jpg or {pictures}/val/0.jpg; name the folder" in done.stderr
    _, done = fetch("--voc", voc, "--images", pictures / "train")
    assert done.returncode == 0 and "3 images (1 background), 2 boxes" in done.stdout, done.stderr


def test_two_xmls_of_one_image_are_refused(fetch, voc):
    (voc / "Annotations/copy.xml").write_text(xml(("cat", (9, 7, 27, 21), ""), filename="0.jpg"))
    _, done = fetch("--voc", voc)
    assert done.returncode == 2 and "0.xml and " in done.stderr and "copy.xml have the same image" in done.stderr


def test_images_that_are_not_read_are_called_by_their_suffix(fetch, voc, dota):
    told = "; there are {} .bmp files, which are not read: save them as jpg or png"
    (voc / "JPEGImages/0.jpg").rename(voc / "JPEGImages/0.bmp")
    _, done = fetch("--voc", voc, folder="some")
    assert done.returncode == 0 and "WARNING: there are 1 .bmp files, which are not read" in done.stdout
    for path in [*voc.rglob("*.jpg"), *dota.rglob("*.png")]:
        path.rename(path.with_suffix(".bmp"))
    for option, root, count in (("--voc", voc, 4), ("--dota", dota, 2)):
        _, done = fetch(option, root)
        assert done.returncode == 2 and done.stderr.endswith(f"has its image in {root}{told.format(count)}")


@pytest.mark.parametrize("encoding", ["GB2312", "klingon"])
def test_an_xml_in_an_encoding_that_is_not_read_is_one_sentence(fetch, voc, encoding):
    (voc / "Annotations/0.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>\n{xml()}')
    _, done = fetch("--voc", voc)
    assert done.returncode == 2 and "0.xml is not text in UTF-8; save it as UTF-8" in done.stderr


def test_an_xml_that_does_not_hold_is_one_sentence(fetch, voc):
    for text, sentence in (
        ("<a>", "is not valid XML"),
        ("<a><object><name>x</name></object></a>", "no bndbox of four numbers"),
        ("<a><object><name>x</name><robndbox/></object></a>", "no robndbox with cx, cy, w, h and angle"),
        (
            "<a><object><name>x</name><robndbox><cx>1</cx><cy>1</cy><w>2</w><h>a</h><angle>0</angle></robndbox></object></a>",
            "no robndbox with cx, cy, w, h and angle",
        ),
    ):
        (voc / "Annotations/0.xml").write_text(text)
        _, done = fetch("--voc", voc)
        assert done.returncode == 2 and sentence in done.stderr and "0.xml" in done.stderr


def test_rotated_boxes_of_voc_are_for_obb_and_a_detector_gets_the_boxes_around_them(fetch, voc):
    """A box of 40x20 in the middle of an image of 90x70, turned clockwise by 30 degrees; and one of four corners."""
    corners = [32.6795, 16.3397, 67.3205, 36.3397, 57.3205, 53.6603, 22.6795, 33.6603]
    fields = ("x_left_top", "y_left_top", "x_right_top", "y_right_top")
    fields += ("x_right_bottom", "y_right_bottom", "x_left_bottom", "y_left_bottom")
    as_corners = "".join(f"<{field}>{value}</{field}>" for field, value in zip(fields, corners))
    turned = "<cx>45</cx><cy>35</cy><w>40</w><h>20</h><angle>0.5235988</angle>"
    for file, box in (("0.xml", turned), ("1.xml", as_corners)):
        entry = f"<object><type>robndbox</type><name>nut</name><robndbox>{box}</robndbox></object>"
        (voc / "Annotations" / file).write_text(xml().replace("</annotation>", f"{entry}</annotation>"))
    for task, expected in (
        ("obb", [0, *(value / side for value, side in zip(corners, (90, 70) * 4))]),
        ("detect", [0, 0.5, 0.5, 44.641 / 90, 37.3205 / 70]),
    ):
        folder, done = fetch("--voc", voc, "--task", task, folder=task)
        assert done.returncode == 0, done.stderr
        for name in ("0.txt", "1.txt"):
            assert numbers(folder / "labels" / name) == [pytest.approx(expected, abs=1e-5)]
    (voc / "Annotations/2.xml").write_text(xml(("nut", (0, 0, 45, 35), "")))
    _, done = fetch("--voc", voc, "--task", "obb", folder="mixed")
    assert done.returncode == 2 and "an object with only a box that is not rotated" in done.stderr


@pytest.fixture
def dota(tmp_path, put):
    """A set in DOTA's form, with the parts train and val."""
    root = tmp_path / "DOTA"
    for number, part in enumerate(("train", "val")):
        put(root / part / "images" / f"P{number}.png", number)
        (root / part / "labelTxt-v1.0" / "labelTxt").mkdir(parents=True)
        (root / part / "labelTxt-v1.0" / "labelTxt" / f"P{number}.txt").write_text(
            "imagesource:GoogleEarth\ngsd:0.146\n45.0 7.0 63.0 21.0 45.0 35.0 27.0 21.0 small-vehicle 0\n"
            "9 7 27 7 27 21 9 21 plane 1\n\n"
        )
    return root


def test_dota_is_taken_as_it_is(fetch, dota, tmp_path):
    rotated = [1, 0.5, 0.1, 0.7, 0.3, 0.5, 0.5, 0.3, 0.3]
    folder, done = fetch("--dota", zipped(dota, tmp_path / "dota.zip"), "--task", "obb", "--calibration", 1)
    assert done.returncode == 0, done.stderr
    assert names_of(folder) == ["plane", "small-vehicle"]
    assert parts_of(folder) == {"train": ["P0.png"], "val": ["P1.png"]}
    assert numbers(folder / "labels/P1.txt") == [
        pytest.approx(rotated),
        [0, 0.1, 0.1, 0.3, 0.1, 0.3, 0.3, 0.1, 0.3, "difficult"],
    ]
    folder, done = fetch("--dota", dota / "val" / "labelTxt-v1.0", folder="ds2")
    assert done.returncode == 0, done.stderr
    assert numbers(folder / "labels/P1.txt")[0] == pytest.approx([1, 0.5, 0.3, 0.4, 0.4])
    assert "1 labels are crowds or difficult objects" in done.stdout


def test_dotas_images_are_those_beside_the_labels(fetch, dota, put):
    for number, part in enumerate(("train", "val")):
        put(dota / part / "vis" / f"P{number}.png", 50 + number)
    folder, done = fetch("--dota", dota, "--task", "obb", "--calibration", 1)
    assert done.returncode == 0, done.stderr
    for number, part in enumerate(("train", "val")):
        original = dota / part / "images" / f"P{number}.png"
        assert (folder / "images" / original.name).read_bytes() == original.read_bytes()
    assert "2 images share the name of one that is taken and are left out" in done.stdout
    (dota / "val/images").rename(dota / "val/pictures")
    _, done = fetch("--dota", dota, "--task", "obb", folder="unsure")
    assert done.returncode == 2 and "P1.txt may be " in done.stderr and "pictures/P1.png or " in done.stderr


def test_dota_labels_that_do_not_hold_are_one_sentence(fetch, dota):
    label = dota / "train" / "labelTxt-v1.0" / "labelTxt" / "P0.txt"
    for text, sentence in (
        (
            "1 2 3 4 5 6 7 plane 0\n",
            "line 1 ('1 2 3 4 5 6 7 plane 0') is not 'x1 y1 x2 y2 x3 y3 x4 y4 class difficult'",
        ),
        ("gsd:null\n1 1 9 1 9 9 1 9 plane maybe\n", "line 2 ("),
    ):
        label.write_text(text)
        _, done = fetch("--dota", dota, "--task", "obb")
        assert done.returncode == 2 and sentence in done.stderr
    (dota / "val" / "labelTxt").mkdir()
    (dota / "val" / "labelTxt" / "P0.txt").write_text("")
    _, done = fetch("--dota", dota)
    assert done.returncode == 2 and "has several label files called P0.txt" in done.stderr
    _, done = fetch("--dota", dota / "train" / "images")
    assert done.returncode == 2 and "contains no folder labelTxt or annfiles" in done.stderr


@pytest.mark.parametrize("task", ["detect", "segment", "obb", "pose"])
@pytest.mark.parametrize("line", ["imagesource:GoogleEarth", "1 1 9 1 9 9 1 9 plane 0", "1 1 9 1 9 9 1 9 plane"])
def test_dotas_lines_in_another_layout_are_called_by_their_name(tmp_path, task, line):
    (tmp_path / "P0.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"is DOTA's layout, .*dataset: {dota: FOLDER}"):
        tasks.get(task).check_label(tmp_path / "P0.txt", 2)


def test_cvats_lists_with_labels_beside_the_images(fetch, tmp_path, put):
    root = tmp_path / "cvat"
    for number in range(3):
        put(root / f"obj_train_data/frame_{number}.png", number, "1 0.5 0.5 0.2 0.2\n")
    (root / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    (root / "obj.names").write_text("a\nb\n")
    lines = [f"data/obj_train_data/frame_{number}.png" for number in range(3)]
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    folder, done = fetch("--obj_data", zipped(root, tmp_path / "cvat.zip"))
    assert done.returncode == 0, done.stderr
    assert "3 images (0 background), 3 boxes" in done.stdout and names_of(folder) == ["a", "b"]


def test_labels_beside_the_images_are_found_below_a_folder_called_images(fetch, tmp_path, put):
    root = tmp_path / "images/set"
    put(root / "train/a.jpg", 0, "0 0.5 0.5 0.2 0.2\n")
    put(root / "val/b.jpg", 1, "0 0.5 0.5 0.2 0.2\n")
    # Ultralytics' own place comes first.
    put(root / "val/images/c.jpg", 2, "0 0.5 0.5 0.2 0.2\n")
    (root / "val/images/c.txt").write_text("9 notes\n")
    (root / "data.yaml").write_text("train: train\nval: val\nnames: [a]\n")
    _, done = fetch("--yaml", root / "data.yaml", "--calibration", 1)
    assert done.returncode == 0 and "3 images (0 background), 3 boxes" in done.stdout, done.stderr


def test_label_studios_zip_brings_its_names(fetch, tmp_path, put):
    root = tmp_path / "project-1"
    put(root / "images/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (root / "classes.txt").write_text("Schraube\nMutter\n")
    (root / "notes.json").write_text("{}")
    folder, done = fetch("--archive", zipped(root, tmp_path / "ls.zip"))
    assert done.returncode == 0 and names_of(folder) == ["Schraube", "Mutter"], done.stderr
    (root / "classes.txt").unlink()
    _, done = fetch("--archive", root, folder="other")
    assert done.returncode == 2 and "has no class names; give --names (dataset.names)" in done.stderr


@pytest.mark.parametrize(
    ("folder", "names"), [("set/labels", "classes.txt"), ("set", "_darknet.labels"), ("set/labels", "obj.names")]
)
def test_names_are_found_where_tools_write_them(fetch, tmp_path, put, folder, names):
    put(tmp_path / "set/images/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (tmp_path / folder / names).write_text("Schraube\nMutter\n")
    got, done = fetch("--archive", tmp_path / "set")
    assert done.returncode == 0 and names_of(got) == ["Schraube", "Mutter"], done.stderr
    assert "WARNING" not in done.stdout
    _, done = fetch("--archive", tmp_path / "set", "--names", "schraube", "Mutter", folder="other")
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("theirs", "ours", "refusal"),
    [
        ("bolt\nnut\n", ["nut", "bolt"], "'bolt' is class 1 and class 0"),
        ("bolt\nnut\n", ["person", "bicycle", "car"], "dataset.names is 3 names (person, bicycle, car)"),
        ("bolt\nnut\n", ["washer", "bolt", "nut"], "remove it"),
        ("bolt\nwing nut\n", ["Bolt", "wing_nut", "washer"], None),
        ("bolt\nnut\nwasher\n\n", ["bolt", "nut"], None),
        ("bolt\nnut\nnut\n", ["bolt", "nut"], None),
    ],
)
def test_names_that_contradict_those_beside_the_labels_are_refused(fetch, tmp_path, put, theirs, ours, refusal):
    put(tmp_path / "set/images/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set/classes.txt").write_text(theirs)
    folder, done = fetch("--archive", tmp_path / "set", "--names", *ours)
    if refusal:
        assert done.returncode == 2 and "the labels would get wrong names" in done.stderr and refusal in done.stderr
        assert f"{tmp_path / 'set/classes.txt'} is 2 names (bolt, nut)" in done.stderr
        assert not list(folder.iterdir())
    else:
        assert done.returncode == 0 and names_of(folder) == ours and "WARNING" not in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("place", "content", "refusal"),
    [
        ("set", "names: [bolt, nut]\n", "'bolt' is class 1 and class 0"),
        ("set", "names: {0: bolt, 1: nut}\nnc: 2\n", "'bolt' is class 1 and class 0"),
        ("", "train: ../set/images\nnames: [bolt, nut]\n", "or name it (dataset.yaml); if data.yaml is not for these"),
        ("", "train: other/images\nnames: [bolt, nut]\n", None),  # of another set in the folder above
        ("set", "names: [nut, bolt, washer]\n", None),
        ("set", "train: images\n", None),
    ],
)
def test_names_that_contradict_the_data_yaml_beside_the_labels_are_refused(
    fetch, tmp_path, put, place, content, refusal
):
    put(tmp_path / "set/images/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (tmp_path / place / "data.yaml").write_text(content)
    folder, done = fetch("--archive", tmp_path / "set", "--names", "nut", "bolt")
    if refusal:
        assert done.returncode == 2 and "the labels would get wrong names" in done.stderr and refusal in done.stderr
        assert f"{tmp_path / place / 'data.yaml'} is 2 names (bolt, nut)" in done.stderr
        assert len(done.stderr.splitlines()) == 1 and not list(folder.iterdir())
    else:
        assert done.returncode == 0 and names_of(folder) == ["nut", "bolt"] and "WARNING" not in done.stdout


def test_a_data_yaml_beside_the_labels_gives_names_unless_it_is_damaged(fetch, tmp_path, put):
    put(tmp_path / "set/images/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set/data.yaml").write_text("train: images\nnames: [bolt, nut]\n")
    folder, done = fetch("--archive", tmp_path / "set")
    assert done.returncode == 0 and names_of(folder) == ["bolt", "nut"], done.stderr
    (tmp_path / "set/data.yaml").write_text("train: images\nnames: [bolt, nut]\nnc: 3\n")
    folder, done = fetch("--archive", tmp_path / "set", "--names", "x", "y", folder="other")
    assert done.returncode == 0 and "nc is 3, names has 2; correct the wrong one; its names are not used" in done.stdout
    (tmp_path / "set/data.yaml").write_text("train: images\nnames: [bolt, washer]\n")
    (tmp_path / "set/classes.txt").write_text("bolt\nnut\nwasher\n")
    _, done = fetch("--archive", tmp_path / "set", folder="third")
    assert (
        f"{tmp_path / 'set/classes.txt'} is 3 names" in done.stderr and "'washer' is class 2 and class 1" in done.stderr
    )


def test_translated_names_are_used_and_told(fetch, tmp_path, put):
    put(tmp_path / "set/images/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set/classes.txt").write_text("Schraube\nMutter\n")
    folder, done = fetch("--archive", tmp_path / "set", "--names", "bolt", "nut")
    assert done.returncode == 0 and names_of(folder) == ["bolt", "nut"], done.stderr
    assert "WARNING: dataset.names is 2 names (bolt, nut)" in done.stdout
    assert "is 2 names (Schraube, Mutter); dataset.names is used: check that both mean the same" in done.stdout


def test_roboflows_names_beside_images_and_labels(fetch, tmp_path, put):
    put(tmp_path / "valid/a.jpg", 0, "1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "valid/_darknet.labels").write_text("cable\nplug")
    folder, done = fetch("--archive", tmp_path / "valid")
    assert done.returncode == 0 and names_of(folder) == ["cable", "plug"], done.stderr
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("option", ["--archive", "--yaml", "--images"])
def test_hidden_folders_are_left_out_but_the_set_may_lie_in_one(fetch, tmp_path, put, option):
    root = tmp_path / ".data/set"
    put(root / "images/a.jpg", 0, "0 0.5 0.5 0.2 0.2\n")
    for hidden in ("images/.ipynb_checkpoints", ".cache/images"):
        put(root / hidden / "a-checkpoint.jpg", 1)
    (root / "labels/.ipynb_checkpoints").mkdir(parents=True)
    (root / "labels/.ipynb_checkpoints/b.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [x]\n")
    (root / ".cache/data.yaml").write_text("train: images\nval: images\nnames: [y]\n")
    names = () if option == "--yaml" else ("--names", "x")
    folder, done = fetch(option, root, *names)
    assert done.returncode == 0 and "belong to no image" not in done.stdout, done.stderr + done.stdout
    assert [path.name for path in (folder / "images").glob("*.jpg")] == ["a.jpg"]


@pytest.fixture
def parted(tmp_path, put):
    """A set without a data.yaml, whose images and labels lie in folders called after parts."""
    for start, (part, count) in enumerate({"train": 5, "valid": 3, "test": 2}.items()):
        for number in range(count):
            put(tmp_path / f"parted/images/{part}/{number}.jpg", 10 * start + number)
            label = tmp_path / f"parted/labels/{part}/{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "parted/classes.txt").write_text("x\n")
    return tmp_path / "parted"


@pytest.mark.parametrize(("train", "val"), [("train2017", "val2017"), ("Train", "Validation"), ("training", "valid")])
def test_parts_may_be_written_in_other_ways(fetch, parted, train, val):
    for kind in ("images", "labels"):
        shutil.rmtree(parted / kind / "test")
        for old, new in (("train", train), ("valid", val)):
            shutil.move(parted / kind / old, parted / kind / "aside")
            shutil.move(parted / kind / "aside", parted / kind / new)
    folder, done = fetch("--archive", parted, "--calibration", 4)
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stderr + done.stdout
    assert {part: len(names) for part, names in parts_of(folder).items()} == {"val": 3, "train": 4}


def test_folders_called_after_parts_are_parts(fetch, parted):
    folder, done = fetch("--archive", parted, "--calibration", 4)
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stderr + done.stdout
    assert {part: len(names) for part, names in parts_of(folder).items()} == {"val": 3, "train": 4}
    folder, done = fetch("--archive", parted, "--part", "test", folder="other")
    assert {part: len(names) for part, names in parts_of(folder).items()} == {"test": 2}, done.stderr


def test_labels_beside_the_images_of_parts_need_no_folder_of_their_own(fetch, parted):
    for label in sorted((parted / "labels").rglob("*.txt")):
        label.rename(parted / "images" / label.relative_to(parted / "labels"))
    shutil.rmtree(parted / "labels")
    (parted / "images/train/0.txt").rename(parted / "images/train/x.txt")
    folder, done = fetch("--archive", parted, "--calibration", 5)
    assert done.returncode == 0 and "8 images (1 background), 7 boxes" in done.stdout, done.stderr
    assert {part: len(names) for part, names in parts_of(folder).items()} == {"val": 3, "train": 5}
    assert "WARNING: 1 label files belong to no image: x.txt" in done.stdout and "not jpg" not in done.stdout


def test_parts_that_are_not_all_are_mixed_and_it_is_said(fetch, parted, put):
    put(parted / "images/more.jpg", 50)
    for number in range(3):
        (parted / f"images/valid/{number}.jpg").rename(parted / f"images/valid/v{number}.jpg")
        (parted / f"labels/valid/{number}.txt").rename(parted / f"labels/valid/v{number}.txt")
    shutil.rmtree(parted / "images/test")
    folder, done = fetch("--archive", parted)
    assert list(parts_of(folder)) == [""], done.stderr
    assert "has images in no folder, train, valid, which are mixed; to keep parts separate" in done.stdout
    shutil.rmtree(parted / "images/valid")
    (parted / "images/more.jpg").unlink()
    folder, done = fetch("--archive", parted, folder="one")
    assert list(parts_of(folder)) == [""] and "mixed" not in done.stdout, done.stderr


def test_the_first_bad_label_is_named_and_the_others_are_counted(fetch, tmp_path, put):
    for number, box in enumerate(("0.5 0.5 0.2 0.2", "0.5 0.5 1.2 0.2", "0.5 0.5 0.2 0.2", "7 7 1 1", "a b c d")):
        put(tmp_path / f"flat/{number}.jpg", number, f"0 {box}\n")
    _, done = fetch("--archive", tmp_path / "flat", "--names", "x")
    assert "1.txt, line 1" in done.stderr and done.stderr.endswith("; 2 more label files are refused too"), done.stderr
    (tmp_path / "flat/3.txt").unlink()
    (tmp_path / "flat/4.txt").unlink()
    _, done = fetch("--archive", tmp_path / "flat", "--names", "x")
    assert "1.txt, line 1" in done.stderr and "more label files" not in done.stderr


@pytest.mark.parametrize(("far", "refused"), [(3, False), (4, True)])
def test_boxes_that_leave_the_image_are_cut_unless_they_are_many(fetch, tmp_path, put, far, refused):
    """Ultralytics trains with them (Label Studio lets people draw them), and with corners taken for centres."""
    for number in range(12):
        label = "0 0.9 0.5 0.44 0.2\n" if number < far else "0 0.5 0.5 0.2 0.2\n"
        put(tmp_path / f"flat/{number}.jpg", number, label)
    folder, done = fetch("--archive", tmp_path / "flat", "--names", "x")
    if refused:
        assert (
            f"4 of 12 objects leave their image by more than 1 %, the first in {tmp_path / 'flat/0.txt'}" in done.stderr
        )
    else:
        assert (
            done.returncode == 0
            and "WARNING: 3 objects leave their image by more than 1 %: 0.txt, 1.txt" in done.stdout
        )
        assert numbers(folder / "labels/0.txt") == [pytest.approx([0, 0.84, 0.5, 0.32, 0.2])]


def test_labels_beside_the_images_of_a_plain_folder(fetch, tmp_path, put):
    put(tmp_path / "flat/a.jpg", 0, "0 0.5 0.5 0.2 0.2\n")
    put(tmp_path / "flat/b.jpg", 1)
    _, done = fetch("--archive", tmp_path / "flat", "--names", "x")
    assert done.returncode == 0 and "2 images (1 background), 1 boxes" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["images", "yaml"])
def test_calibration_images_of_another_source(fetch, coco, roboflow, tmp_path, kind):
    source = {"images": roboflow / "train/images", "yaml": roboflow / "data.yaml"}[kind]
    folder, done = fetch("--coco", coco, f"--calibration.{kind}", source, "--calibration", 4)
    assert done.returncode == 0, done.stderr
    parts = parts_of(folder)
    assert parts[""] == ["1.jpg", "2.jpg", "3.jpg"] and len(parts["calibration"]) == 4
    assert all(name.startswith("train") for name in parts["calibration"])
    assert names_of(folder) == ["Straße", "tooth brush"]


def test_calibration_images_may_have_labels_of_other_classes(fetch, coco, tmp_path, put):
    put(tmp_path / "pool/images/p.jpg", 30, "0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "pool/classes.txt").write_text("tooth brush\nx\n")
    given = ("--coco", coco, "--names", "Straße", "tooth brush", "--calibration", 1)
    folder, done = fetch(*given, "--calibration.archive", tmp_path / "pool")
    assert done.returncode == 0 and names_of(folder) == ["Straße", "tooth brush"], done.stderr
    assert parts_of(folder)["calibration"] == ["p.jpg"]
    other = json.loads(coco.read_text())
    other["categories"][1]["name"] = "dog"
    (tmp_path / "pool/other.json").write_text(json.dumps(other))
    _, done = fetch(
        *given, "--calibration.coco", tmp_path / "pool/other.json", "--calibration.images", coco.parent.parent
    )
    assert "labelled dog" not in done.stderr


def test_the_same_image_under_other_names_is_told(fetch, dataset, step):
    for number in range(3, 10):
        shutil.copy(dataset / f"images/train/{number % 3:02}.jpg", dataset / f"images/train/{number:02}.jpg")
    folder, done = fetch("--archive", dataset, "--names", *"abcd")
    assert done.returncode == 0, done.stderr
    assert "WARNING: 3 different images among 10: 00.jpg = 03.jpg = 06.jpg = 09.jpg" in done.stdout
    split = step(
        "split_dataset", "--dataset", folder, "--calibration", 5, "--seed", 0, "--output", folder / "split.csv"
    )
    assert "are in the calibration pool and in the evaluation set, under two names" in split.stdout


def encoded(mode, form, **options) -> bytes:
    buffer = io.BytesIO()
    picture = (
        Image.fromarray(image(3)).convert(mode)
        if mode != "I;16"
        else Image.fromarray(np.arange(6300, dtype=np.uint16).reshape(70, 90) * 10)
    )
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [("grey.jpg", encoded("L", "JPEG")), ("cmyk.jpg", encoded("CMYK", "JPEG")), ("palette.png", encoded("P", "PNG")),
     ("sixteen.png", encoded("I;16", "PNG")), ("alpha.png", encoded("RGBA", "PNG")),
     ("web.webp", encoded("RGB", "WEBP")), ("named.jpg", encoded("RGB", "WEBP"))],
)  # fmt: skip
def test_kinds_of_images_are_read_as_for_training(fetch, dataset, name, content):
    from lib.data.images import read_image

    (dataset / "images/train" / name).write_bytes(content)
    folder, done = fetch("--archive", dataset, "--names", *"abcd")
    assert done.returncode == 0 and "11 images" in done.stdout, done.stderr
    # As Ultralytics reads images (utils/patches.py, imread).
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.array_equal(read_image(folder / "images" / name), expected)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_by_name(fetch, dataset, form):
    frames = [Image.fromarray(image(seed)) for seed in range(3)]
    frames[0].save(dataset / "images/train/moves.jpg", form, save_all=True, append_images=frames[1:])
    _, done = fetch("--archive", dataset, "--names", *"abcd")
    assert done.returncode == 2 and f"moves.jpg: an animated {form}; save one of its frames" in done.stderr


def test_webp_that_its_exif_turns_is_refused_by_name_whatever_its_ending(fetch, dataset):
    upright = Image.fromarray(image(0))
    exif = upright.getexif()
    exif[ORIENTATION] = 6
    upright.save(dataset / "images/train/turned.jpg", "WEBP", exif=exif)
    _, done = fetch("--archive", dataset, "--names", *"abcd")
    assert done.returncode == 2 and "turned.jpg: WEBP with an EXIF rotation" in done.stderr


def test_boxes_are_fractions_of_the_frame_that_they_were_drawn_in(tmp_path):
    boxes = Boxes((Box(0, (10, 10, 30, 20)), Box(1, (90, 5, 120, 10))), frame=(100, 50))
    label = boxes.text(tmp_path / "a.jpg", (200, 100))
    assert label.text == "0 0.2 0.3 0.2 0.2\n1 0.95 0.15 0.1 0.1\n" and label.cut == 1
    with pytest.raises(UserError, match="is 100x200, but its labels are for an image of 100x50"):
        boxes.text(tmp_path / "a.jpg", (100, 200))


@pytest.mark.parametrize(
    ("task", "name", "option", "images", "objects"),
    [
        # Counted in the zips themselves: files, lines, <object>, annotations that are no crowds, keypoints with v > 0.
        ("detect", "roboflow-raccoon.zip", "--yaml", 24, "28 boxes"),
        ("detect", "voc-raccoon.zip", "--voc", 60, "64 boxes"),
        ("detect", "coco-pose-80.zip", "--coco", 80, "731 boxes"),
        ("segment", "coco-pose-80.zip", "--coco", 80, "731 masks"),
        ("pose", "coco-pose-80.zip", "--coco", 80, "167 objects with 800 labelled keypoints"),
        ("segment", "coco128-seg.zip", "--archive", 100, "746 masks"),
        ("detect", "coco128-seg.zip", "--archive", 100, "746 boxes"),
    ],
)
def test_sets_of_strangers_are_taken_as_they_are(assets, fetch, task, name, option, images, objects):
    names = ("--names", ROOT / "config/coco.names") if option == "--archive" else ()
    _, done = fetch(option, assets / "datasets" / name, "--task", task, *names)
    assert done.returncode == 0, done.stderr
    assert f"{images} images" in done.stdout and done.stdout.endswith(f", {objects}\n")


@pytest.mark.parametrize(
    ("task", "name", "sentence"),
    [
        ("pose", "coco128-seg.zip", r"label .*\.txt, line 2 has 107 numbers, .*, line 1 has 65; for the task pose"),
        ("obb", "coco128-seg.zip", r"label .*\.txt, line 1 .* has 65 numbers; a rotated box has nine"),
        ("segment", "coco128-val.zip", r"label .*\.txt, line 1 .* is a box, a label for the task detect"),
        ("pose", "coco128-val.zip", r"label .*\.txt, line 1 .* is a box without keypoints, for the task detect"),
        ("obb", "coco128-val.zip", r"label .*\.txt, line 1 .* is a box without an angle, for the task detect"),
    ],
)
def test_labels_of_another_task_are_one_sentence_with_file_and_line(assets, fetch, task, name, sentence):
    names = ("--names", ROOT / "config/coco.names")
    _, done = fetch("--archive", assets / "datasets" / name, "--task", task, *names)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert re.search(sentence, done.stderr)
