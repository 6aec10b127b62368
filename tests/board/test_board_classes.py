"""run_on_board.py for a classifier: top-1 on a simulated board equals the simulator's."""

import json
import shutil

import numpy as np
import onnx
import pytest
from colour_classifier import CLASSES, finished_run
from sham_board import COMPILER, DEBIAN, Answers, make_sdk, missing, sshd

import run_on_board
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.undecoded_set import UndecodedSet, as_classes
from lib.board.summary import class_agreement
from lib.data.calibration import calibration_in_form
from lib.data.images import read_image
from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.instances import Instances
from lib.graph.input_form import input_form_of
from lib.npu.int8 import Quantization, int8_model
from lib.results.sweep import Variant
from lib.results.table import read_table
from lib.step.errors import UserError, run_step


@pytest.fixture
def sham(once, tmp_path):
    """A finished run, and the options for the step with a simulated board that has the simulator's outputs."""
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)} (apt-get install {DEBIAN})")
    results = shutil.copytree(finished_run(once) / "results" / "c", tmp_path / "c")
    bundle, path = results / "bundle/colours/64/as_is/normal-4", results / "onnx/colours/64/as_is.onnx"
    answers, form = Answers(tmp_path / "answers", bundle / "model.rknn"), input_form_of(onnx.load(path))
    for name in ("board", "sshd"):
        (tmp_path / name).mkdir()
    size, images = ImageSize(64, 64), results / "dataset" / "images"
    asked = Quantization(path, "rv1106", "normal", form, None)
    with (
        calibration_in_form(results / "calibration/64/4/images.txt", images, size, form) as calibration,
        int8_model(asked, calibration) as built,
    ):
        simulator = built.session.simulate()
        for image in images.glob("*.png"):
            fitted, _ = letterbox(read_image(image), size, form)
            answers.add(fitted, simulator(fitted))
    with sshd(tmp_path / "sshd") as ssh_config:
        yield results, [
            "--run", results, "--names", *CLASSES, "--resamples", 1000, "--host=sham", f"--options=-F {ssh_config}",
            "--folder", tmp_path / "board", "--cc", f"{COMPILER} -static", "--sdk", make_sdk(tmp_path / "sdk"),
            f"--launcher=env RKNN_STUB={tmp_path / 'answers'} qemu-arm", "--repeat", 0,
        ]  # fmt: skip


@pytest.mark.toolkit
def test_top1_on_the_board_is_the_simulators(sham, monkeypatch, capsys):
    monkeypatch.setenv("ARCHIVE_LIBS", "")
    results, options = sham
    assert run_step(lambda: run_on_board.main(list(map(str, options)))) == 0, capsys.readouterr().err
    assert "top-1 0.8889 on the board, 0.8889 on the simulator" in capsys.readouterr().out
    place = results / "board/colours/64/as_is/normal-4"
    told = json.loads((place / "board.json").read_text())
    metrics = json.loads((results / "metrics/colours/64/as_is/normal-4.json").read_text())
    assert [told["metrics"][name] for name in ("top1", "top5", "retention")] == [metrics["top1"], 1, 1]
    assert told["agreement"] | {"worst": 0} == {
        "confidence": 0, "detections": 9, "share": 1, "iou": None, "score": None, "worst": 0,
    }  # fmt: skip
    assert told["diverging"] is None and told["verdict_was"] == "right"
    table = read_table(results, [Variant("colours", "64", "as_is", "normal", 4)])
    assert table.top1_board[0] == 0.8889 and table.map50_95_board.isna().all()


def test_board_and_simulator_agree_on_images_with_the_same_best_class():
    ours = UndecodedSet(["a", "b", "c", "d"], "why", best=np.array([[0, 1], [1, 0], [2, 0], [0, 2]]))
    theirs = ours._replace(best=np.array([[0, 2], [0, 1], [2, 1], [0, 2]]))
    agreement = class_agreement(ours, theirs)
    assert (agreement.share, agreement.detections) == (0.75, 4)
    assert [(each.image, each.missed) for each in agreement.worst] == [("b", 1)]
    with pytest.raises(UserError, match="had different images"):
        class_agreement(ours, theirs._replace(images=["a", "b", "c", "e"]))


def test_images_with_different_numbers_of_classes_are_refused():
    some = [Instances(np.zeros((n, 4)), np.ones(n), np.arange(n)) for n in (2, 2, 1)]
    detections = DetectionSet(["a", "b", "c"], [(9, 9)] * 3, some, "classify")
    with pytest.raises(UserError, match="the images have different numbers of classes: 1, 2"):
        as_classes(detections, "why")
    assert as_classes(DetectionSet(["a", "b"], [(9, 9)] * 2, some[:2], "classify"), "why").best.tolist() == [[0, 1]] * 2
