"""Classifiers: folders of images per class, the middle of an image as input, top-1 and top-5 beside FP32."""

import json
import re
import zipfile

import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from colour_classifier import CLASSES, class_folders_in, classifier, finished_run, tinted
from conftest import ROOT
from onnx import helper

import draw_scenes
import fetch_dataset
from lib.accuracy import classes, inference
from lib.accuracy.classes import best_classes, in_rows, right
from lib.accuracy.evaluation import compared, evaluate
from lib.accuracy.undecoded_set import UndecodedSet, read_evaluated, write_undecoded
from lib.bundle import program
from lib.bundle.check import problems as problems_of
from lib.bundle.contract import Contract
from lib.convert.class_labels import calibration_folder, read_class_labels
from lib.data import images as images_of
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.graph.input_form import input_form_of, set_input_form
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.as_is import leave_as_is
from lib.graph.surgery.passes.logits import LOGITS
from lib.results.config_problems import problems
from lib.step.errors import UserError
from lib.step.files import sha256

CROP = InputForm(letterbox="crop")


@pytest.fixture
def folders(tmp_path):
    return class_folders_in(tmp_path / "colours")


def fetched(tmp_path, source, *options):
    """The folder that fetch_dataset.py makes of class folders."""
    folder = tmp_path / "ds"
    arguments = ["--class_folders", source, "--task", "classify", *options, "--output", folder]
    fetch_dataset.main(list(map(str, arguments)))
    return folder


def labels_in(folder) -> dict[str, str]:
    return {path.stem: path.read_text().strip() for path in sorted((folder / "labels").glob("*.txt"))}


def test_class_folders_give_each_image_its_class_and_part(tmp_path, folders, capsys):
    folder = fetched(tmp_path, folders, "--calibration", 5)
    assert (folder / "names.txt").read_text().split() == list(CLASSES)
    labels = labels_in(folder)
    assert labels["val-red-1"] == "2" and labels["val-blue-2"] == "0" and len(labels) == 9 + 5
    parts = pd.read_csv(folder / "parts.csv").part.value_counts()
    assert parts.to_dict() == {"val": 9, "train": 5}
    assert "14 images (0 background), 14 classes" in capsys.readouterr().out


def test_parts_may_be_called_as_on_kaggle(tmp_path, folders):
    (folders / "train").rename(folders / "Training")
    (folders / "val").rename(folders / "Testing")
    folder = fetched(tmp_path, folders, "--calibration", 5, "--part", "test")
    assert (folder / "names.txt").read_text().split() == list(CLASSES)
    assert pd.read_csv(folder / "parts.csv").part.value_counts().to_dict() == {"test": 9, "train": 5}
    assert calibration_folder(folders) == folders / "Training"


def test_a_zip_with_a_folder_around_it_and_names_in_another_order_are_taken(tmp_path, folders):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((folders / "val").rglob("*.png")):
            file.write(path, path.relative_to(folders.parent / "colours" / "val").as_posix().join(("colours/", "")))
    folder = fetched(tmp_path, archive, "--names", "red", "green", "blue")
    assert (folder / "names.txt").read_text().split() == ["red", "green", "blue"]
    assert labels_in(folder)["red-1"] == "0" and labels_in(folder)["blue-0"] == "2"


def test_a_class_may_be_called_train_and_loose_images_are_told(tmp_path, folders, capsys):
    (folders / "val" / "red").rename(folders / "val" / "train")
    (folders / "val" / "green" / "0.png").rename(folders / "val" / "loose.png")
    (folders / "val" / "green" / "1.png").rename(folders / "val" / "green" / "1.bmp")
    folder = fetched(tmp_path, folders / "val")
    assert (folder / "names.txt").read_text().split() == ["blue", "green", "train"]
    told = capsys.readouterr().out
    assert "WARNING: 1 images are in no class's folder and are left out: loose.png" in told
    assert "WARNING: 1 files are not jpg, png or webp and are left out: 1.bmp" in told


def test_folders_that_are_no_classes_are_one_sentence(tmp_path, folders):
    with pytest.raises(UserError, match="red holds 0 folders of classes; give a folder of images for each class"):
        fetched(tmp_path, folders / "val" / "red")
    (folders / "other").mkdir()
    with pytest.raises(UserError, match="has both the parts train, val and other; name a folder that holds only parts"):
        fetched(tmp_path, folders)


def test_parts_of_images_without_folders_of_classes_are_no_classes(tmp_path, folders):
    for image in sorted(folders.rglob("*.png")):
        part, kind = image.relative_to(folders).parts[:2]
        image.rename(folders / part / f"{kind}-{image.name}")
    for kind in folders.glob("*/*"):
        if kind.is_dir():
            kind.rmdir()
    with pytest.raises(UserError, match=r"the images in train, val are not in folders of classes; .*CLASS/NAME.jpg$"):
        fetched(tmp_path, folders)
    (folders / "val" / "_classes.csv").write_text("filename,red\n")
    with pytest.raises(UserError, match=r"NAME.jpg; _classes.csv is not read: in Roboflow, export .* as 'Folder Struc"):
        fetched(tmp_path, folders)


@pytest.mark.parametrize("size", [(100, 60), (61, 173), (64, 64), (33, 40), (500, 333)])
def test_the_middle_of_an_image_is_that_of_torchvision(size):
    torch = pytest.importorskip("torch", reason="needs torch, which a light environment lacks")
    import PIL
    from PIL import Image
    from ultralytics.data.augment import classify_transforms

    pixels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    theirs = classify_transforms(64)(Image.fromarray(pixels))
    ours = torch.from_numpy(CROP.tensor(letterbox(pixels, ImageSize(64, 64), CROP)[0])[0])
    apart = (theirs - ours).abs().max() * 255
    # Pillow 13 may scale rows before columns, by the size of the image.
    assert apart == 0 if int(PIL.__version__.partition(".")[0]) < 13 else apart <= 1.001


def test_boxes_of_a_cropped_image_come_back_to_their_places():
    _, fit = letterbox(np.zeros((60, 100, 3), np.uint8), ImageSize(120, 120), CROP)
    assert (fit.scale, fit.left, fit.top) == (2, -40, 0)
    assert fit.to_image(np.array([[0.0, 0, 120, 120]])).tolist() == [[20, 0, 80, 60]]


def test_classifiers_of_ultralytics_take_the_middle_unless_the_user_says_otherwise():
    model = classifier(task="classify")
    assert input_form_of(model) == CROP and input_form_of(classifier()) == InputForm()
    for form in (InputForm(), CROP, InputForm(letterbox="stretch")):
        set_input_form(model, form)
        assert input_form_of(model) == form


def test_a_checkpoint_of_a_classifier_is_exported(tmp_path, step):
    torch = pytest.importorskip("torch", reason="needs torch, which a light environment lacks")
    from ultralytics.nn.tasks import ClassificationModel

    path, made = tmp_path / "mine-cls.pt", tmp_path / "x.onnx"
    model = ClassificationModel("yolov8n-cls.yaml", nc=3, verbose=False).half()
    model.task = "classify"
    torch.save({"model": model, "train_args": {}}, path)
    done = step("export_onnx", "--weights", path, "--sha256", sha256(path), "--imgsz", "64", "--opset", "19",
                "--task", "classify", "--output", made, "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = onnx.load(made)
    assert input_form_of(model) == CROP
    assert [side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim] == [1, 3]


def test_the_softmax_of_ultralytics_classifiers_is_left_out(folders):
    model = classifier(task="classify")
    model.graph.node[-1].output[0] = LOGITS  # a name that surgery gives
    model.graph.node.append(helper.make_node("Softmax", [LOGITS], ["out"], axis=1))
    images = [letterbox(tinted(kind, kind), ImageSize(64, 64), CROP)[0] for kind in range(3)]
    after, record = leave_as_is(model, images, 0)
    assert [entry["pass"] for entry in record["passes"]] == ["logits"] and record["difference"] < 1e-6
    assert [output.name for output in after.graph.output] == [LOGITS]
    for kind, pixels in enumerate(images):
        before, now = (infer_image(open_session(each.SerializeToString()), pixels)[0] for each in (model, after))
        assert before.argmax() == now.argmax() == kind and np.ptp(now) > 1
    onnx.helper.set_model_props(model, {})  # of another author, who may want probabilities
    assert not leave_as_is(model, images, 0)[1]["passes"]
    # PyTorch's own exporter keeps both that Ultralytics' classifiers return.
    model.graph.output.append(helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, [1, 3]))
    after, record = leave_as_is(model, images, 0)
    assert [output.name for output in after.graph.output] == [LOGITS] and record["difference"] < 1e-6


def test_the_best_classes_are_those_of_the_one_output_of_that_size():
    scores = np.array([[0.1, 0.5, 0.5, 0.2, 0.0, 0.3]])
    assert best_classes([scores], 6) == (1, 2, 5, 3, 0)
    assert best_classes([scores, np.zeros((1, 4))], 6) == (1, 2, 5, 3, 0)
    assert best_classes([scores], 5) is None and best_classes([scores, scores], 6) is None
    assert in_rows([(1, 0), None]) is None
    found = right(in_rows([(1, 0), (0, 1), (0, 2)]), np.array([1, 1, 1]))
    assert found.top1.tolist() == [True, False, False] and found.top5.tolist() == [True, True, False]


def test_each_image_is_classified_once(tmp_path, folders, monkeypatch):
    onnx.save(classifier(), tmp_path / "colours.onnx")
    images, read = sorted((folders / "val").rglob("*.png")), []
    monkeypatch.setattr(inference, "over_images", lambda start, work, some, *_: [work(start(), path) for path in some])
    monkeypatch.setattr(images_of, "read_image", lambda path: read.append(path) or read_image(path))
    for some in (images, images[:1]):
        read.clear()
        best = classes.classify_all(tmp_path / "colours.onnx", 3, some, 1, "title")
        assert read == some and best.shape == (len(some), 3)
    read.clear()
    assert classes.classify_all(tmp_path / "colours.onnx", 4, images, 1, "title") is None and len(read) == 1


@pytest.fixture
def convert(tmp_path, step):
    """A function that converts the classifier with the names given, and returns exit code and lines."""

    def converted(*options, names=CLASSES, model=None):
        entries = {"task": "classify", "names": str(dict(enumerate(names)))} if names else {}
        onnx.save(model or classifier(**entries), tmp_path / "colours.onnx")
        done = step("onnx_to_rknn", tmp_path / "colours.onnx", *options)
        return done.returncode, done.stderr

    return converted


def test_the_converter_measures_top1_on_a_folder_of_images_per_class(tmp_path, folders, convert):
    """Calibrated on `train`, evaluated on `val`; the bundle has the same figures."""
    code, said = convert("--labels", folders, "--max-images", 5, "--bundle", tmp_path / "b")
    assert code == 0, said
    assert "classes    3: blue, green, red" in said
    assert re.search(
        r"top-1 +FP32 0.8889, INT8 0.8889 \(100.0% kept, .*\) on 9 images that it was not calibrated", said
    )
    assert re.search(r"top-5 +FP32 1.0000, INT8 1.0000", said)
    contract = Contract.of_bundle(tmp_path / "b")
    assert contract.proof.top1 == contract.accuracy.top1_fp32 == 0.8889 and contract.accuracy.images == 9
    assert f"bundle     {tmp_path / 'b'}: C classifies 9 images as Python does, top-1 0.8889" in said


def test_labels_that_do_not_fit_a_classifier_are_one_sentence(tmp_path, folders, convert):
    def refused(*options, **model):
        code, said = convert(*options, "--max-images", 2, **model)
        assert code == 2 and "Traceback" not in said and not (tmp_path / "colours.rknn").exists()
        return said.splitlines()[-1]

    (folders / "val" / "red").rename(folders / "val" / "pink")
    assert "has the classes pink, which" in refused("--labels", folders / "val")
    (folders / "val" / "pink" / "0.png").rename(folders / "val" / "pink" / "a.png")
    (folders / "val" / "other").mkdir()
    message = refused("--labels", folders / "val", names=None)
    assert "has 4 classes, but the outputs of" in message and "colours.onnx have 3 values" in message
    (folders / "val" / "blue" / "0.txt").write_text("0\n")
    assert "--labels needs the images" in convert("--labels", folders / "val")[1]
    message = refused("--dataset", folders, "--labels", folders / "val")
    assert message.endswith("for a classifier, give a folder of images for each class, without label files")


def test_folders_number_the_classes_of_a_model_as_its_names_do(tmp_path, folders, capsys):
    def read(*names):
        found = read_class_labels(folders, list(names), tmp_path / "m.onnx")
        return found.names, {path.parent.name: kind for path, kind in found.kinds.items()}, capsys.readouterr().out

    of_folders = {"blue": 0, "green": 1, "red": 2}
    assert read() == (list(CLASSES), of_folders, "")
    names = ["red", "pink", "blue", "green"]
    assert read(*names) == (names, {"red": 0, "blue": 2, "green": 3}, "")
    known, kinds, said = read("rot", "gelb", "blau")
    assert (known, kinds) == (list(CLASSES), of_folders) and "they are numbered in alphabetical order" in said


def labelled(tmp_path, classes: list[int]):
    """A data set's folder with labels only."""
    (tmp_path / "labels").mkdir()
    for number, kind in enumerate(classes):
        (tmp_path / "labels" / f"{number}.txt").write_text(f"{kind}\n")
    return tmp_path


def test_top1_has_an_interval_and_its_retention_is_paired(tmp_path):
    data, names = labelled(tmp_path, [0, 1] * 20), ["a", "b", "c"]
    images = [f"{number}.png" for number in range(40)]
    best = np.array([[0, 1, 2], [1, 0, 2]] * 20)
    worse = best.copy()
    worse[:8] = [2, 0, 1]  # of these, only top-5 is right
    fp32, baseline = evaluate(UndecodedSet(images, "why", best=best), data, names, 200, 0)
    assert (fp32.top1, fp32.top1_low, fp32.top1_high, fp32.top5, fp32.map50_95) == (1, 1, 1, 1, None)
    write_undecoded(tmp_path / "int8.npz", UndecodedSet(images, "why", best=worse))
    int8, resampled = evaluate(read_evaluated(tmp_path / "int8.npz"), data, names, 200, 0)
    int8 = compared(int8, resampled, baseline)
    assert (int8.top1, int8.top5, int8.retention) == (0.8, 1, 0.8)
    assert 0.6 < int8.retention_low == int8.top1_low < 0.8 < int8.top1_high < 0.95


def test_labels_that_are_no_classes_give_no_top1_and_wrong_models_are_told(tmp_path):
    data = labelled(tmp_path, [0, 1])
    best = np.array([[0, 1], [0, 1]])
    with pytest.raises(UserError, match="the model has no output of one value for each of the 2 classes"):
        evaluate(UndecodedSet(["0.png", "1.png"], "why"), data, ["a", "b"], 9, 0)
    with pytest.raises(UserError, match="label of class 1, but there are 1 class names"):
        evaluate(UndecodedSet(["0.png", "1.png"], "why", best=best), data, ["a"], 9, 0)
    (data / "labels" / "0.txt").write_text("0 0.5 0.5 1 1\n")
    metrics, _ = evaluate(UndecodedSet(["0.png", "1.png"], "why", best=best), data, ["a", "b"], 9, 0)
    assert metrics.top1 is None and metrics.undecoded == "why"


def test_a_config_for_a_classifier_is_checked():
    schema, config = (yaml.safe_load((ROOT / "config" / name).read_text()) for name in ("schema.yaml", "config.yaml"))
    classes = {"dataset": {"class_folders": "F"}}
    lines = problems(config | classes, schema)
    assert "dataset.class_folders is for the task classify, but task is detect" in lines
    lines = problems(config | {"task": "classify"}, schema)
    assert "sweep.head: a classifier can have only the head as_is; set sweep: {head: [as_is]}" in lines
    assert any(line.startswith("dataset.archive has labels of objects, but task is classify; give") for line in lines)
    fine = {"task": "classify", "dataset": {"images": "F", "names": ["a", "b"]}}
    assert problems(config | fine | {"sweep": config["sweep"] | {"head": ["as_is"]}}, schema) == []


def test_no_images_are_drawn_for_a_classifier(tmp_path):
    drawn = tmp_path / "drawn"
    draw_scenes.main(["--count", "0", "--seed", "0", "--task", "classify", "--output", str(drawn)])
    assert not any((drawn / "images").iterdir())
    with pytest.raises(UserError, match="no images are drawn for the task classify; set draw"):
        draw_scenes.main(["--count", "1", "--seed", "0", "--task", "classify", "--output", str(drawn)])


@pytest.mark.toolkit
def test_a_classifier_goes_from_its_file_to_table_report_and_bundle(once):
    folder = finished_run(once)
    said = (folder / "said").read_text()
    results = folder / "results" / "c"
    [row] = pd.read_csv(results / "table.csv").to_dict("records")
    assert [row[name] for name in ("head", "imgsz", "verdict")] == ["as_is", 64, "runs"]
    assert [row[name] for name in ("top1_fp32", "top1_int8", "top5_fp32", "retention")] == [0.8889, 0.8889, 1, 1]
    summary = json.loads((results / "summary.json").read_text())
    assert [summary[name] for name in ("fp32", "int8", "retention")] == [0.8889, 0.8889, 1]
    report = (results / "report.html").read_text()
    assert '0.8889 <span class="unit">top-1</span>' in report
    assert "Top-1 INT8" in report and "mAP50-95 INT8" not in report
    assert "snakemake bundle --cores all" in report and "finds the best classes" in report
    assert "top-1 0.8889 in INT8, 1.000 of FP32's" in said and "-j4 board" in said
    bundle = results / "bundle/colours/64/as_is/normal-4"
    assert f"bundle     {bundle.relative_to(folder)}" in said and "threshold" not in said
    assert problems_of(bundle, program.compiler()) == []
    contract = Contract.of_bundle(bundle)
    assert contract.proof.top1 == contract.accuracy.top1_int8 == 0.8889 and contract.proof.detections == 9 * 3
    assert contract.classes == CLASSES and contract.input.form.letterbox == "crop"
    assert contract.outputs[0].name == "out"
    assert "| INT8, simulator | 0.8889 | 1.0000 |" in (bundle / "README.md").read_text()
    expected = (bundle / "golden" / "detections.txt").read_text().splitlines()
    assert len(expected) == 6  # two lines for each class
    metrics = json.loads((results / "metrics/colours/64/exported.json").read_text())
    assert metrics["top1"] == pytest.approx(8 / 9)
