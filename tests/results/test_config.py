"""A wrong config is told in sentences that name the key, what is wrong and what to do."""

import copy

import pytest
import yaml
from conftest import ROOT

from lib.accuracy.operating import Wish
from lib.detector.head import ALL_HEADS, HEADS
from lib.npu.algorithms import ALGORITHMS
from lib.results.config_problems import problems
from lib.step.config import with_numbers

SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def test_default_config_is_fine():
    assert problems(DEFAULT, SCHEMA) == []


def test_the_schema_allows_the_heads_and_algorithms_that_there_are():
    for key, heads in (("sweep", ALL_HEADS), ("layers", ALL_HEADS), ("frontier", HEADS), ("calibration_study", HEADS)):
        for name, known in (("head", heads), ("algorithm", ALGORITHMS)):
            form = SCHEMA["properties"][key]["properties"].get(name, {"enum": list(known)})
            assert form.get("items", form)["enum"] == list(known), (key, name)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("sweep.imgs", [320], "sweep.imgs is not a known key (did you mean imgsz?)"),
        ("colour", 1, "colour is not a known key (known: "),
        ("platform", "rk3588", "platform is 'rk3588', not one of rv1103, rv1103b, rv1106, rv1106b"),
        ("sweep.head", ["splitt"], "sweep.head[0] is 'splitt', not one of single, split, as_is (did you mean split?)"),
        ("sweep.imgsz", [320, 300], "image size '300' must be multiples of 32 up to 4096; the nearest is 288"),
        ("sweep.imgsz", ["416*256"], "image size '416*256' is not understood"),
        ("sweep.imgsz", ["320x320"], "sweep.imgsz: write 320 for the square '320x320'"),
        ("sweep.imgsz", [320, "320"], "sweep.imgsz names a value twice: 320, 320"),
        ("sweep.imgsz", 320, "sweep.imgsz is 320; a list is expected"),
        ("sweep.imgsz", [], "sweep.imgsz is empty; at least one entry is needed"),
        ("sweep.max_images", [16, 65], "asks for 65 calibration images, but the pool (split.calibration) has 64"),
        ("sweep.max_images", ["many"], "sweep.max_images[0] is 'many'; a whole number is expected"),
        ("sweep.max_images", [0], "sweep.max_images[0] is 0; at least 1 is needed"),
        ("sweep.model", ["yolov8m"], "sweep.model names 'yolov8m' (did you mean yolov8n?); describe it under models"),
        ("models.yolov8n.sha256", None, "models.yolov8n: "),
        ("models.yolov8n.sha256", "12", "models.yolov8n.sha256 is '12', not the 64 hex digits"),
        ("models.yolov8n", {}, "models.yolov8n: give either weights"),
        ("models.yolov8n.names", "config/coco.names", "models.yolov8n.names belongs to a Darknet model, one with cfg"),
        ("models", {"n" * 101: {}}, f"models: {'n' * 20}… has 101 characters; at most 100 are possible"),
        ("run", "n" * 101, "run has 101 characters; at most 100 are possible"),
        ("models.yolov8n.cfg", "a.cfg", "models.yolov8n.cfg is 'a.cfg'; a list is expected"),
        ("models.yolov8n.onnx", ["a.onnx"], "models.yolov8n: give either weights"),
        ("models.yolov8n", {"onnx": []}, "models.yolov8n.onnx is empty; at least one entry is needed"),
        ("models.yolov8n", {"onnx": ["a"], "cfg": ["b"]}, "models.yolov8n.cfg belongs to Darknet's weights"),
        (
            "models.yolov8n",
            {"onnx": ["a", "b"], "sha256": "0" * 64},
            "models.yolov8n.sha256 has 1 checksums for 2 files",
        ),
        (
            "models.yolov8n.input",
            {"channels": "gbr"},
            "models.yolov8n.input.channels is 'gbr', not one of rgb, bgr, grey",
        ),
        ("models.yolov8n.input", {"mean": [1, 2]}, "models.yolov8n.input: mean of an input has 2 values; rgb needs 3"),
        ("models.yolov8n.input", {"std": ["x"]}, "models.yolov8n.input.std[0] is 'x'; a number is expected"),
        ("models.yolov8n.input", {"fil": 0}, "models.yolov8n.input.fil is not a known key (did you mean fill?)"),
        ("run", "../up", "run: '../up' cannot be part of a file name"),
        ("run", "mine\n", "run: 'mine\\n' cannot be part of a file name"),
        ("export.opset", 10, "export.opset is 10; at least 11 is needed"),
        ("split", "x", "split is 'x'; a block of keys is expected"),
        ("verdict.stop", "yes", "verdict.stop is 'yes'; true or false is expected"),
        (
            "verdict.clock_mhz",
            "rv9999",
            "verdict.clock_mhz is 'rv9999', neither a number of MHz nor one of rv1103, rv1106",
        ),
        ("verdict.clock_mhz", 0, "verdict.clock_mhz is 0; at least 1 is needed"),
        ("task", "poses", "task is 'poses', not one of detect, pose, segment, obb, classify (did you mean pose?)"),
        ("dataset.kpt_shape", [17, 3], "dataset.kpt_shape is for the task pose, but task is detect; leave the key out"),
        ("dataset.kpt_shape", [17, 4], "dataset.kpt_shape is [17, 4], not the number of keypoints per object and"),
        ("dataset.kpt_shape", [17, 3, 2], "dataset.kpt_shape is [17, 3, 2], not the number of keypoints"),
        ("dataset.kpt_shape", 17, "dataset.kpt_shape is 17; a list is expected"),
        ("evaluation.oks_sigmas", [0.1, 0.2], "evaluation.oks_sigmas is for the task pose, but task is detect"),
        ("evaluation.oks_sigmas", [0.1, 0], "evaluation.oks_sigmas is '0.1 0', neither coco nor a positive number"),
        ("evaluation.oks_sigmas", "coc", "evaluation.oks_sigmas is 'coc', neither coco nor a positive number"),
        ("evaluation.oks_sigmas", [], "evaluation.oks_sigmas is empty; at least one entry is needed"),
        ("board.transport", "usb", "board.transport is 'usb', not one of ssh, adb"),
        ("board.hots", "x", "board.hots is not a known key (did you mean host?)"),
        ("verdict.cma_mb", 0, "verdict.cma_mb is 0; at least 1 is needed"),
        ("layers.heads", ["split"], "layers.heads is not a known key (did you mean head?)"),
        ("evaluation.operating", "f1=9", "evaluation.operating is 'f1=9', which does not have the expected form: "),
        (
            "evaluation.operating",
            "precision=1.5",
            "evaluation.operating is 'precision=1.5', which does not have the expected form: ",
        ),
        (
            "evaluation.operating",
            "precision=.0",
            "evaluation.operating is 'precision=.0', which does not have the expected form: ",
        ),
        (
            "frontier.shape",
            ["0:1"],
            "frontier.shape[0] is '0:1', which does not have the expected form: WIDTH:HEIGHT, as 16:9",
        ),
        ("frontier.classes", [80, 80], "frontier.classes names a value twice: 80, 80"),
        ("calibration_study.seed", [0, 1, 0], "calibration_study.seed names a value twice: 0, 1, 0"),
        ("calibration_study.seed", [10**9], "calibration_study.seed[0] is 1000000000; at most 999999999 is possible"),
        ("split.seed", 10**20, "split.seed is 100000000000000000000; at most 999999999 is possible"),
        ("sweep.max_images", [10**6], "sweep.max_images[0] is 1000000; at most 999999 is possible"),
        ("toolkit_study.toolkit", ["2.3.2", "2.3.2"], "toolkit_study.toolkit names a value twice: 2.3.2, 2.3.2"),
        ("frontier.shape", [969], "frontier.shape[0] is 969; a text is expected"),
        ("calibration_study.model", "mine", "calibration_study.model names 'mine' (known: yolov8n); describe it"),
        ("calibration_study.imgsz", 300, "calibration_study.imgsz: image size '300' must be multiples of 32"),
    ],
)
def test_problem_is_one_sentence_that_names_the_key(path, value, expected):
    config = copy.deepcopy(DEFAULT)
    *parents, last = path.split(".")
    block = config
    for parent in parents:
        block = block[parent]
    block[last] = value
    found = problems(config, SCHEMA)
    assert len(found) == 1
    assert expected in found[0]
    assert "\n" not in found[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"task": "segment"}, []),
        ({"task": "obb", "sweep.head": ["single", "split"]}, ["sweep.head: single is only for boxes, but task is obb"]),
        ({"dataset.kpt_shape": [4, 2], "evaluation.oks_sigmas": "0.1 .2 0.3 0.4"}, []),
        ({"dataset.kpt_shape": [4, 2], "evaluation.oks_sigmas": [0.1]}, ["evaluation.oks_sigmas has 1 numbers for 4"]),
        ({"task": "obb", "dataset.kpt_shape": [4, 2]}, ["dataset.kpt_shape is for the task pose, but task is obb"]),
        ({"evaluation.simulator": "twin"}, []),
        (
            {
                "evaluation.simulator": "twin",
                "calibration_study.algorithm": "search",
                "calibration_study.max_images": [8],
            },
            [],
        ),
        (
            {"evaluation.simulator": "twin", "toolkit": "2.2.0"},
            ["evaluation.simulator: twin computes as toolkit 2.3.2 does, but toolkit is 2.2.0"],
        ),
        (
            {"evaluation.simulator": "twin", "sweep.algorithm": ["normal", "mmse"]},
            ["evaluation.simulator: twin needs the algorithm normal, corrected or gptq, but sweep.algorithm is mmse"],
        ),
        (
            {"evaluation.simulator": "npu", "calibration_study.algorithm": "mmse"},
            [
                "evaluation.simulator: npu needs the algorithm normal, corrected, gptq or search, but "
                "calibration_study.algorithm is mmse"
            ],
        ),
        ({"dataset": {"voc": "VOC"}}, ["dataset.voc has only boxes, rotated or not, but task is pose"]),
        ({"dataset": {"dota": "D"}, "task": "segment"}, ["dataset.dota has only boxes, rotated or not, but task is"]),
        ({"dataset": {"voc": "VOC"}, "task": "obb"}, []),
        ({"models.yolov8n": {"cfg": ["a.cfg"], "weights": ["a.weights"]}}, ["models.yolov8n.cfg is for a model"]),
        ({"models.yolov8n": {"onnx": ["a.onnx"], "anchors": "yolov5"}}, ["models.yolov8n.anchors is for a model with"]),
    ],
)  # fmt: skip
def test_what_a_task_cannot_have_is_one_sentence(changes, expected):
    config = copy.deepcopy(DEFAULT)
    config["task"], config["sweep"]["head"] = "pose", ["split"]
    for path, value in changes.items():
        block, _, key = path.rpartition(".")
        (config[block] if block else config)[key] = value
    lines = problems(config, SCHEMA)
    assert len(lines) == len(expected) and all(map(str.startswith, lines, expected)), lines


@pytest.mark.parametrize(
    "operating", ["f1=best", "precision=1", "precision=0.95", "precision=1.0", "false_per_image=0"]
)
def test_a_way_to_choose_a_threshold_is_that_of_the_step(operating):
    config = DEFAULT | {"evaluation": DEFAULT["evaluation"] | {"operating": operating}}
    assert problems(config, SCHEMA) == [] and Wish.parse(operating)


def test_search_needs_a_toolkit_that_takes_ranges_and_enough_images():
    searches = {"algorithm": ["normal", "search"]}
    assert problems(DEFAULT | {"sweep": DEFAULT["sweep"] | searches}, SCHEMA) == []
    few = DEFAULT | {"sweep": DEFAULT["sweep"] | searches | {"max_images": [2, 16]}}
    assert problems(few, SCHEMA) == ["sweep.max_images: search needs 4 calibration images or more, not 2"]
    study = DEFAULT | {"calibration_study": DEFAULT["calibration_study"] | {"algorithm": "search", "max_images": [8]}}
    assert problems(study, SCHEMA) == []
    assert problems(study | {"toolkit": "2.5.0"}, SCHEMA) == [
        "calibration_study.algorithm: toolkit 2.5.0 takes no ranges, so there is no search with it"
    ]
    corrected = DEFAULT | {"sweep": DEFAULT["sweep"] | {"algorithm": ["corrected"], "max_images": [2]}}
    assert problems(corrected, SCHEMA) == []
    assert problems(corrected | {"toolkit": "2.5.0"}, SCHEMA) == [
        "sweep.algorithm: toolkit 2.5.0 takes no ranges, so there is no corrected with it"
    ]


def test_darknet_model_may_lack_a_checksum():
    config = copy.deepcopy(DEFAULT)
    config["models"]["tiny"] = {"cfg": ["a.cfg"], "weights": ["a.weights"], "names": ["a", "b"]}
    config["sweep"]["model"] = ["yolov8n", "tiny"]
    assert problems(config, SCHEMA) == []


def test_as_is_alone_takes_any_size_and_images_without_labels():
    config = copy.deepcopy(DEFAULT)
    config["sweep"] |= {"head": ["as_is"], "imgsz": ["94x24", 112]}
    config["dataset"] = {"name": "frames", "images": "frames", "names": ["none"]}
    assert problems(config, SCHEMA) == []
    config["sweep"]["head"] = ["as_is", "split"]
    assert [problem.partition(":")[0].partition(" ")[0] for problem in problems(config, SCHEMA)] == [
        "sweep.imgsz", "sweep.imgsz", "dataset", "dataset.images"
    ]  # fmt: skip


def test_an_exported_model_needs_no_checksum_and_its_input_may_be_said_in_text():
    config = copy.deepcopy(DEFAULT)
    given = {"channels": "bgr", "scale": "1", "mean": ["0.5"], "fill": "0"}
    config["models"]["yolov8n"] = {"onnx": ["https://example.org/a.onnx", "b.onnx"], "input": given}
    config = with_numbers(config, SCHEMA)
    assert problems(config, SCHEMA) == []
    expected = {"channels": "bgr", "scale": 1, "mean": [0.5], "fill": 0}
    assert config["models"]["yolov8n"]["input"] == expected


def test_every_problem_is_told_at_once():
    config = copy.deepcopy(DEFAULT)
    config["sweep"]["imgsz"] = [300, 333]
    config["sweep"]["max_images"] = [65]
    assert len(problems(config, SCHEMA)) == 3


def test_numbers_from_the_command_line_are_numbers_and_texts_stay():
    config = copy.deepcopy(DEFAULT)
    config["run"] = "2024"
    config["split"] = {"calibration": "32", "seed": "1"}
    config["sweep"]["max_images"] = ["8", "32"]
    config["verdict"] = {"stop": "true", "cma_mb": "24", "camera_mb": "0", "clock_mhz": "420", "measured": "m.csv"}
    config = with_numbers(config, SCHEMA)
    assert (config["run"], config["split"], config["sweep"]["max_images"]) == (
        "2024", {"calibration": 32, "seed": 1}, [8, 32],
    )  # fmt: skip
    assert config["verdict"] == {"stop": True, "cma_mb": 24, "camera_mb": 0, "clock_mhz": 420, "measured": "m.csv"}
    assert problems(config, SCHEMA) == []


def test_whole_floats_are_whole_numbers_wherever_one_is_wanted_and_others_are_refused():
    config = copy.deepcopy(DEFAULT)
    config["split"] = {"calibration": 32.0, "seed": 0.0}
    config["sweep"] |= {"max_images": [8.0, 16], "imgsz": [320.0, "416x256"]}
    config["verdict"] |= {"clock_mhz": 420.0, "cma_mb": 6.6e1}
    config["calibration_study"]["max_images"] = [1.0]
    read = with_numbers(config, SCHEMA)
    assert problems(read, SCHEMA) == []
    # As text: 8.0 == 8, and 8.0 is another name of a file.
    assert str(read["split"]) == "{'calibration': 32, 'seed': 0}"
    assert (str(read["sweep"]["max_images"]), str(read["sweep"]["imgsz"])) == ("[8, 16]", "[320, '416x256']")
    assert (str(read["verdict"]["clock_mhz"]), str(read["verdict"]["cma_mb"])) == ("420", "66")
    assert str(read["calibration_study"]["max_images"]) == "[1]"
    for value in (8.5, float("inf"), float("nan"), True, "8.0"):
        config["sweep"]["max_images"] = [value]
        assert problems(with_numbers(config, SCHEMA), SCHEMA) == [
            f"sweep.max_images[0] is {value!r}; a whole number is expected"
        ]
