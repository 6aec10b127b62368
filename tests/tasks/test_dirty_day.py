"""A day with bad labels, exports and configs of tasks other than boxes: each is one sentence, and nothing is left.

Exit code 2, no traceback; the sentence names the file and the line, the annotation, or the key.
"""

import copy
import json
import re
from functools import partial

import cv2
import numpy as np
import onnx
import pytest
import yaml
from conftest import ROOT, image

import evaluate
import export_onnx
import fetch_dataset
import graph_surgery
from lib import tasks
from lib.accuracy.detection_set import DetectionSet, write_detections
from lib.convert.comparison import ImageComparison
from lib.convert.labels import Labels
from lib.data.manifest import write_manifest
from lib.detector.instances import Instances
from lib.results.config_problems import checkpoint_problems, keypoint_problems, problems
from lib.step.errors import UserError, run_step
from lib.step.files import sha256

SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
WIDTH, HEIGHT = 90, 70


@pytest.fixture
def told(capsys):
    """A function: the sentence that a step ends with."""

    def run(module, *words) -> str:
        code = run_step(partial(module.main, list(map(str, words))))
        error = capsys.readouterr().err
        assert code == 2, error
        assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error, error
        return error.strip()

    return run


@pytest.fixture
def source(tmp_path):
    """A data set of two images in Ultralytics' layout, its labels empty."""
    root = tmp_path / "set"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(root / f"images/{number}.png"), image(number, WIDTH, HEIGHT))
        (root / f"labels/{number}.txt").touch()
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
    return root


BOX = "0 .5 .5 .4 .4"
POSE = f"{BOX} .4 .5 2 .6 .5 1"  # two keypoints
TRIANGLE = "1 .1 .1 .5 .1 .5 .5"
TURNED = "1 .2 .1 .6 .3 .5 .5 .1 .3"

LABELS = [
    ("pose", BOX, "1.txt, line 3 .* is a box without keypoints, for the task detect"),
    ("pose", f"{BOX} .4 .5 2 .6 .5 3", "1.txt, line 3 .* 3 is not a visibility; a keypoint's is 0, 1 or 2"),
    ("pose", f"{BOX} .4 .5 2 .6 1.5 1", "1.txt, line 3 .* keypoint 0.6 1.5 leaves the image"),
    ("pose", "0 1.1 .5 .4 .4 .9 .5 2 .9 .5 2", "1.txt, line 3 .* the box leaves the image by more than 1 %"),
    ("pose", "0 .5 .5 -.1 .4 .5 .5 2 .5 .5 2", "1.txt, line 3 .* the box leaves the image .*, or its size is negative"),
    ("pose", "7" + POSE[1:], "1.txt, line 3 .* class 7 is not in 0..1; the data set has 2 names"),
    ("pose", ".5" + POSE[1:], "1.txt, line 3 .* class 0.5 is not in 0..1"),
    ("pose", f"{BOX} nan .5 2 .6 .5 1", "1.txt, line 3 .* is not a label for pose"),
    ("pose", f"{BOX} left .5 2 .6 .5 1", "1.txt, line 3 .* is not a label for pose"),
    ("pose", f"{BOX} .4 .5 2", "1.txt, line 3 has 8 numbers, .*line 1 has 11; for the task pose all lines"),
    ("pose", "0 .1 .1 .5 .1 .5 .5 .3 .6 .2 .4 .1 .3", "1.txt, line 3 has 13 numbers, .* line 1 has 11; .*polygons"),
    ("segment", BOX, "1.txt, line 3 .* is a box, a label for the task detect; a mask's label is a polygon"),
    ("segment", POSE, "1.txt, line 3 .* is a box with keypoints, a label for the task pose"),
    ("segment", "0 .1 .1 .5 .1 .5", "1.txt, line 3 .* is not a polygon .* of three or more points"),
    ("segment", "0 .1 .1 .5 .1", "1.txt, line 3 .* is a box, a label for the task detect"),
    ("segment", "0 .1 .1 .5 .1 .5 1.5", "1.txt, line 3 .* the polygon leaves the image by more than 1 %"),
    ("segment", "0 9 7 45 7 45 35", "1.txt, line 3 .* the polygon leaves the image .*; numbers are fractions"),
    ("segment", "0 .1 .1 .5 .1 .5 x", "1.txt, line 3 .* is not a polygon"),
    ("segment", "2" + TRIANGLE[1:], "1.txt, line 3 .* class 2 is not in 0..1"),
    ("obb", BOX, "1.txt, line 3 .* is a box without an angle, for the task detect"),
    ("obb", f"{BOX} .3", "1.txt, line 3 .* has 6 numbers; a rotated box has nine"),
    ("obb", TRIANGLE, "1.txt, line 3 .* has 7 numbers; a rotated box has nine"),
    ("obb", "9 7 45 7 45 35 9 35 plane 0", "1.txt, line 3 .* is DOTA.s layout"),
    ("obb", "0 .1 .1 .5 .1 .5 .5 .1 1.5", "1.txt, line 3 .* the box is larger than the image"),
    ("obb", "0 .1 .1 .2 .2 .3 .3 .4 .4", "1.txt, line 3 .* the four corners are on one line"),
    ("obb", "-1" + TURNED[1:], "1.txt, line 3 .* class -1 is not in 0..1"),
]  # fmt: skip
SOUND = {"pose": POSE, "segment": TRIANGLE, "obb": TURNED}


@pytest.mark.parametrize(("task", "line", "sentence"), LABELS)
def test_a_bad_label_is_named_with_its_line(told, source, tmp_path, task, line, sentence):
    (source / "labels/1.txt").write_text(f"{SOUND[task]}\n" * 2 + f"{line}\n")
    words = ("--archive", source, "--names", "a", "b", "--task", task, "--output", tmp_path / "out")
    assert_matches(sentence, told(fetch_dataset, *words))
    assert list((tmp_path / "out").iterdir()) == []


def assert_matches(sentence: str, error: str) -> None:
    assert re.search(sentence, error), error


DATA_YAMLS = [
    ("kpt_shape: [3, 3]", POSE, [], r"1.txt, line 1 .* has 11 numbers; 14 are .* 3 keypoints of 3 values each"),
    ("kpt_shape: [2]", POSE, [], r"data.yaml: kpt_shape is \[2\], not the number of keypoints"),
    ("kpt_shape: [2, 4]", POSE, [], r"data.yaml: kpt_shape is \[2, 4\], not the number of keypoints"),
    ("kpt_shape: 17", POSE, [], r"data.yaml: kpt_shape is 17, not the number of keypoints"),
    ("kpt_shape: [2, 3]", POSE, ["--kpt_shape", 3, 3], r"dataset.kpt_shape is \[3, 3\], .*data.yaml says \[2, 3\]"),
    ("", f"{BOX} 0 0 0 0 0 0", [], r"1.txt, line 1 may have 2 keypoints of 3 or 3 keypoints of 2 values; set dataset"),
    ("", TURNED, [], r"1.txt, line 1 is not a box with keypoints"),
]


@pytest.mark.parametrize(("key", "line", "options", "sentence"), DATA_YAMLS)
def test_a_data_yaml_that_says_other_keypoints_than_the_labels_is_told(
    told, source, tmp_path, key, line, options, sentence
):
    (source / "labels/1.txt").write_text(f"{line}\n")
    with (source / "data.yaml").open("a") as file:
        file.write(f"{key}\n")
    words = ("--yaml", source / "data.yaml", "--task", "pose", *options, "--output", tmp_path / "out")
    assert_matches(sentence, told(fetch_dataset, *words))


SHAPE = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [9, 7, 36, 28]}
MASK = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
ANNOTATIONS = [
    ("pose", {}, "annotation 7 has no keypoints, nor does any other"),
    ("pose", {"keypoints": [9, 7]}, "annotation 7: its keypoints are not a list of numbers, x, y and 0, 1 or 2"),
    ("pose", {"keypoints": [9, 7, "seen"]}, "7: its keypoints are not a list of numbers, x, y and 0, 1 or 2"),
    ("pose", {"keypoints": [9, 7, 5]}, "annotation 7: its keypoints are not a list of numbers, x, y and 0, 1 or 2"),
    ("segment", {}, "no object in .*instances.json has an outline"),
    ("segment", {"segmentation": "x"}, "annotation 7: its segmentation is neither polygons nor a mask"),
    ("segment", {"segmentation": [[9, 7, 45]]}, "7: its segmentation has a polygon that is not a list of numbers"),
    ("segment", {"segmentation": [[9, 7, 45, None, 9, 35]]}, "annotation 7: its segmentation has a polygon that"),
    ("segment", {"segmentation": MASK | {"size": [WIDTH, HEIGHT]}}, "its mask is 70x90 pixels, but the image is"),
    ("segment", {"segmentation": MASK | {"counts": [1, 2]}}, "the counts of its mask do not add up to 90x70 pixels"),
    ("segment", {"segmentation": {"counts": "abc"}}, "7: its segmentation is not a mask with size and counts"),
    ("obb", {}, "annotation 7: its segmentation has no corners; an oriented box has four"),
    ("obb", {"segmentation": [[9, 7, 45, 7, 50, 20, 45, 35, 9, 35]]}, "annotation 7: its segmentation has 5 corners"),
    ("obb", {"segmentation": [[9, 7, 20, 7, 30, 7, 40, 8]]}, "image 1.png, line 1 .* are on one line"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "annotation", "sentence"), ANNOTATIONS)
def test_a_bad_annotation_is_named(told, source, tmp_path, task, annotation, sentence):
    if sentence.startswith("image"):
        annotation = {"segmentation": [[9, 7.0, 18, 14.00001, 27, 21, 36, 28]]}
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [SHAPE | annotation],
        "categories": [{"id": 1, "name": "a"}],
    }
    (source / "instances.json").write_text(json.dumps(data))
    words = ("--coco", source / "instances.json", "--task", task, "--output", tmp_path / "out")
    assert_matches(sentence, told(fetch_dataset, *words))


CONFIGS = [
    ({"task": "poses"}, "task is 'poses', not one of detect, pose, segment, obb, classify (did you mean pose?)"),
    ({"task": ["pose"]}, "task is '['pose']', not one of detect, pose, segment, obb"),
    ({"task": "depth"}, "task is 'depth', not one of detect, pose, segment, obb, classify"),
    ({"task": "segment", "dataset": {"class_folders": "F"}}, "dataset.class_folders is for the task classify, but"),
    ({"task": "segment", "sweep.head": ["single"]}, "sweep.head: single is only for boxes, but task is segment; set"),
    ({"task": "segment", "dataset": {"dota": "DOTA"}}, "dataset.dota has only boxes, rotated or not, but task is"),
    ({"task": "segment", "dataset.kpt_shape": [17, 3]}, "dataset.kpt_shape is for the task pose, but task is segment"),
    ({"task": "pose", "dataset.kpt_shape": [17, 4]}, "dataset.kpt_shape is [17, 4], not the number of keypoints"),
    ({"task": "pose", "dataset.kpt_shape": "17x3"}, "dataset.kpt_shape is '17x3'; a list is expected"),
    ({"task": "pose", "dataset.kpt_shape": [0, 3]}, "dataset.kpt_shape[0] is 0; at least 1 is needed"),
    ({"task": "obb", "evaluation.oks_sigmas": [0.1]}, "evaluation.oks_sigmas is for the task pose, but task is obb"),
    ({"task": "pose", "evaluation.oks_sigmas": [0.1, -1]}, "evaluation.oks_sigmas is '0.1 -1', neither coco nor a"),
    (
        {"task": "pose", "evaluation.oks_sigmas": [0.1], "dataset.kpt_shape": [4, 2]},
        "evaluation.oks_sigmas has 1 numbers for 4 keypoints (dataset.kpt_shape); give one per keypoint",
    ),
    (
        {"task": "pose", "models.yolov8n": {"cfg": ["a.cfg"], "weights": ["a.weights"]}},
        "models.yolov8n.cfg is for a model with boxes only, but task is pose",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sentence"), CONFIGS)
def test_a_config_that_no_task_can_have_is_told_by_its_key(changes, sentence):
    config = copy.deepcopy(DEFAULT)
    config["sweep"]["head"] = ["split"]
    for path, value in changes.items():
        block, _, key = path.rpartition(".")
        (config[block] if block else config)[key] = value
    [line] = problems(config, SCHEMA)
    assert line.startswith(sentence) and "\n" not in line


def test_a_checkpoint_of_another_task_is_told_before_anything_runs(assets):
    config = {"task": "segment", "sweep": {"model": ["p"]}}
    config["models"] = {"p": {"weights": [str(assets / "yolov8n-pose.pt")]}}
    [line] = checkpoint_problems(config)
    assert line == (
        "models.p is a checkpoint for the task 'pose', but task is segment; set task, or name another checkpoint"
    )


def test_a_checkpoint_with_other_keypoints_than_the_data_set_is_told_before_anything_runs(assets):
    config = copy.deepcopy(DEFAULT) | {"task": "pose"}
    config["models"] = {"yolov8n": {"weights": [str(assets / "yolov8n-pose.pt")]}}
    assert keypoint_problems(config, [17, 3]) == keypoint_problems(config, None) == []
    [line] = keypoint_problems(config, [4, 2])
    assert line == "models.yolov8n has 17 keypoints, but the data set has 4 (kpt_shape [4, 2])"
    [line] = keypoint_problems(config, [4, 5])
    assert line.startswith("kpt_shape of the data set is [4, 5], not the number of keypoints")
    config["evaluation"]["oks_sigmas"] = [0.1, 0.2]
    [line] = keypoint_problems(config, [17, 3])
    assert line == "evaluation.oks_sigmas has 2 numbers for 17 keypoints; give one per keypoint"
    assert keypoint_problems(config | {"task": "detect"}, [4, 5]) == []


@pytest.fixture
def heads(tmp_path):
    """A folder with one letterboxed image of 96x64, and where an ONNX may be written."""
    (tmp_path / "fitted").mkdir()
    cv2.imwrite(str(tmp_path / "fitted/0.png"), image(0, 96, 64))
    return tmp_path


def cut(model):
    """The first two thirds of a file."""
    whole = model.SerializeToString()
    return whole[: len(whole) * 2 // 3]


def without_prototypes(model):
    """A model for masks without what its masks are made of."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    del model.graph.output[1]
    return model.SerializeToString()


def without_last_column(model):
    """A model whose last number for each prediction is missing."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph, last = model.graph, model.graph.output[0]
    channels = last.type.tensor_type.shape.dim[1].dim_value
    node = next(node for node in graph.node if last.name in node.output)
    node.output[list(node.output).index(last.name)] = "whole"
    for name, values in (("starts", [0]), ("ends", [channels - 1]), ("axes", [1])):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    graph.node.append(onnx.helper.make_node("Slice", ["whole", "starts", "ends", "axes"], [last.name]))
    last.type.tensor_type.shape.dim[1].dim_value = channels - 1
    return model.SerializeToString()


EXPORTS = [
    ("yolov8n-pose", None, "single", "a model for 'pose' cannot have the head 'single'; it can have split"),
    ("yolov8n-seg", None, "single", "a model for 'segment' cannot have the head 'single'; it can have split"),
    ("yolov8n-obb", None, "single", "a model for 'obb' cannot have the head 'single'; it can have split"),
    ("yolov8n-pose", cut, "split", "bad.onnx is not a valid ONNX model"),
    ("yolov8n-seg", without_prototypes, "split", "32 numbers after the scores that are neither keypoints, nor"),
    ("yolov8n-pose", without_last_column, "split", "the output is not a Concat of boxes and scores but Slice"),
    (
        "yolov8n-cls",
        None,
        "split",
        "the output is not a Concat of boxes and scores but Softmax .*, as classifiers have",
    ),
]


@pytest.mark.parametrize(("name", "spoil", "head", "sentence"), EXPORTS)
def test_an_export_that_surgery_cannot_take_is_told(told, export, heads, name, spoil, head, sentence):
    path, model = export(name)
    bad = heads / "bad.onnx"
    bad.write_bytes(spoil(model) if spoil else path.read_bytes())
    words = ("--onnx", bad, "--head", head, "--images", heads / "fitted")
    error = told(graph_surgery, *words, "--output", heads / "out.onnx", "--proof", heads / "proof.json")
    assert_matches(sentence, error)
    assert not (heads / "out.onnx").exists() and not (heads / "proof.json").exists()


@pytest.mark.parametrize(
    ("name", "task", "is_for"), [("yolov8n-pose", "detect", "pose"), ("yolov8n-seg", "obb", "segment")]
)
def test_a_checkpoint_of_another_task_is_not_exported(told, export, tmp_path, name, task, is_for):
    weights = export(name)[0].parent / "random.pt"
    words = ("--weights", weights, "--sha256", sha256(weights), "--imgsz", 64, "--opset", 19, "--task", task)
    error = told(export_onnx, *words, "--output", tmp_path / "out.onnx")
    assert error.endswith(f"is a model for '{is_for}', but the task of this run is '{task}'; set task: {is_for}")
    assert not (tmp_path / "out.onnx").exists()


@pytest.fixture
def found(tmp_path, source):
    """A function: the options of evaluate.py for detections of so many keypoints, and labels of two keypoints."""

    def write(keypoints):
        (source / "labels/1.txt").write_text(f"{POSE}\n")
        for folder in ("images", "labels"):
            write_manifest(source / folder)
        instances = Instances(
            np.array([[10.0, 10, 50, 40]]),
            np.ones(1),
            np.zeros(1, int),
            {"keypoints": np.ones((1, keypoints, 3), np.float32)},
        )
        write_detections(tmp_path / "d.npz", DetectionSet(["1.png"], [(WIDTH, HEIGHT)], [instances], "pose"))
        words = ["--detections", tmp_path / "d.npz", "--dataset", source, "--names", "a", "b", "--resamples", 2]
        return [*words, "--seed", 0, "--metrics", tmp_path / "m.json"]

    return write


def test_keypoints_that_are_not_as_many_are_told_where_they_are_compared(told, found, tmp_path):
    assert "the labels have 2 keypoints, but the model has 17" in told(evaluate, *found(17))
    error = told(evaluate, *found(2), "--oks-sigmas", 0.1)
    assert "evaluation.oks_sigmas has 1 numbers, but the labels have 2 keypoints; give one number per keypoint" in error
    assert "--oks-sigmas (evaluation.oks_sigmas) is '0', neither" in told(evaluate, *found(2), "--oks-sigmas", 0)
    assert not (tmp_path / "m.json").exists()


def converters_labels(source, images, task, kpt_shape=None):
    """The labels of images as the converter reads them, for a model of two classes."""
    labels = Labels(source / "labels", source / "images", ["a", "b"], task, kpt_shape)
    (source / "copies").mkdir(exist_ok=True)
    return labels.of(labels.checked([image.path for image in images], source / "copies"), images)


@pytest.mark.parametrize("task", ["pose", "segment", "obb"])
def test_the_converters_labels_of_another_task_are_told(source, task):
    (source / "labels/1.txt").write_text(f"{SOUND[task]}\n{BOX}\n")
    images = [ImageComparison(source / f"images/{n}.png", (WIDTH, HEIGHT), None, None, ()) for n in range(2)]
    with pytest.raises(UserError, match=r"1\.txt, line 2 .* is a box.* the task detect") as error:
        converters_labels(source, images, task)
    assert "\n" not in str(error.value)
    (source / "labels/1.txt").write_text("")
    with pytest.raises(UserError, match="has no object for the 2 images; labels must be named like the images"):
        converters_labels(source, images, task)
    (source / "labels/1.txt").write_text(f"{SOUND[task]}\n")
    assert list(map(len, converters_labels(source, images, task))) == [0, 1]


def test_the_converter_counts_what_it_cuts_and_drops(source, capsys):
    images = [ImageComparison(source / "images/0.png", (WIDTH, HEIGHT), None, None, [])]
    (source / "labels/0.txt").write_text("0 .96 .5 .1 .1\n0 .5 .5 0 .1\n")
    [labels] = converters_labels(source, images, "detect")
    assert len(labels) == 1
    said = capsys.readouterr()
    said = said.out + said.err
    assert "1 objects extend beyond their image and are cut" in said and "1 boxes have no area in their image" in said


@pytest.mark.parametrize("task", sorted({*tasks.names()} - {"classify"}))
def test_the_converter_counts_a_label_that_is_there_twice_once(source, capsys, task):
    images = [ImageComparison(source / "images/0.png", (WIDTH, HEIGHT), None, None, [])]
    line = SOUND.get(task, BOX)
    (source / "labels/0.txt").write_text(f"{line}\n{line}\n")
    [labels] = converters_labels(source, images, task)
    assert len(labels) == 1
    said = capsys.readouterr()
    assert "1 duplicate labels are dropped: lines that repeat another one of their file" in said.out + said.err


@pytest.mark.parametrize(
    ("place", "content", "sentence"),
    [
        (
            "labels/classes.txt",
            "b\na\n",
            "'b' is class 1 and class 0; give labels with the model's class numbers; if classes",
        ),
        ("classes.txt", "a\n", None),
        ("data.yaml", "names: [a, b, c]\n", None),
        ("data.yaml", "names: [bolt, b, c]\n", "the list of the model's classes is 2 names (a, b), "),
        (
            "../data.yaml",
            "train: {}/images\nnames: [b, a]\n",
            "data.yaml is 2 names (b, a); 'b' is class 1 and class 0",
        ),
    ],
)
def test_the_converters_labels_of_another_models_classes_are_told(source, place, content, sentence):
    (source / "labels/0.txt").write_text(f"{BOX}\n")
    (source / "data.yaml").unlink()
    (source / place).write_text(content.format(source.name))
    images = [ImageComparison(source / "images/0.png", (WIDTH, HEIGHT), None, None, ())]
    if sentence is None:
        assert list(map(len, converters_labels(source, images, "detect"))) == [1]
        return
    with pytest.raises(UserError) as told:
        converters_labels(source, images, "detect")
    assert sentence in str(told.value) and "the labels would get wrong names" in str(told.value)


def test_the_converter_compares_the_count_of_classes_if_the_model_has_no_names(source, tmp_path):
    (source / "labels/0.txt").write_text(f"{BOX}\n")
    (source / "data.yaml").unlink()
    (source / "classes.txt").write_text("bolt\nnut\nwasher\n")
    labels = Labels(source / "labels", source / "images", ["0", "1"], "detect")
    with pytest.raises(UserError, match=r"the model has 2 classes, but .*classes\.txt has 3 names"):
        labels.checked([source / "images/0.png"], tmp_path)
    (source / "classes.txt").write_text("bolt\nnut\n")
    assert list(labels.checked([source / "images/0.png"], tmp_path)) == [source / "images/0.png"]


def test_the_converter_tells_labels_without_an_image(source, capsys):
    for name in ("0.txt", "lost.txt"):
        (source / "labels" / name).write_text(f"{BOX}\n")
    (source / "labels/classes.txt").write_text("a\nb\n")
    images = [ImageComparison(source / "images/0.png", (WIDTH, HEIGHT), None, None, ())]
    converters_labels(source, images, "detect")
    said = capsys.readouterr()
    assert "WARNING: 1 label files belong to no image: lost.txt\n" in said.out + said.err


def test_the_converter_reads_keypoints_of_two_values(source):
    (source / "labels/1.txt").write_text(f"{BOX} .4 .5 0 0\n")
    images = [ImageComparison(source / "images/1.png", (WIDTH, HEIGHT), None, None, ())]
    [labels] = converters_labels(source, images, "pose")
    assert labels.extras["keypoints"][0].tolist() == [[pytest.approx(36), 35, 2], [0, 0, 0]]
    with pytest.raises(UserError, match=r"labels/1\.txt, line 1 .* has 9 numbers; 11 are"):
        converters_labels(source, images, "pose", [2, 3])
