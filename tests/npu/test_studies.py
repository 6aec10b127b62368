"""Where accuracy is lost: the per-layer analysis, and what calibration does."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import image

from lib.accuracy.metrics import ComparedMetrics, Metrics
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.graph.onnx_file import load
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.output_spec import output_spec_of
from lib.npu.int8 import Quantization, int8_model
from lib.npu.layer_errors import COLUMNS, read_layer_errors, worst
from lib.results.columns import TOOLKIT_STUDY_COLUMNS, of_classifier
from lib.results.sweep import studied
from lib.step.errors import ToolkitError

TEXT = """# simulator_error: …

layer_name                     simulator_error
                           entire              single
                        cos      euc        cos      euc
----------------------------------------------------------------
[Input] images         1.00000 | 0.0       1.00000 | 0.0
[Conv] /a/Conv_output  0.99996 | 28.903    0.99900 | 1e-05
[Conv] /b/Conv_output
[exSwish] /b/Mul       0.88984 | 0.0106    0.89894 | 0.0092
[Sigmoid] /c/Sigmoid    q_zero | q_zero    0.95000 | 0.0008
"""


@pytest.mark.toolkit
def test_layer_errors_are_those_between_onnxruntime_and_the_simulator(
    step, split_onnx, pool, listed, heldout, tmp_path
):
    done = step("analyse_layers", "--onnx", split_onnx, "--calibration", listed, "--platform", "rv1106",
                "--algorithm", "normal", "--dataset", heldout, "--names", *"abcd", "--csv", tmp_path / "layers.csv",
                "--plot", tmp_path / "layers.png", "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "layers.csv")
    assert list(table.columns) == COLUMNS
    assert len(table) > 150
    assert table.layer[0] == "images" and table.entire_cos[0] == 1
    assert f"on b.png: worst is {worst(table, 1).layer.item()}, cosine" in done.stderr
    assert (tmp_path / "layers.png").stat().st_size > 10_000

    fp32 = open_session(split_onnx)
    fitted = letterbox(image(ord("b")), ImageSize(96, 64))[0]
    asked = Quantization(split_onnx, "rv1106", "normal", InputForm(), output_spec_of(load(split_onnx)))
    with int8_model(asked, sorted(pool.iterdir())) as built:
        found = built.session.simulate()(fitted)
    measured = table.set_index("layer")
    for output, exact, rounded in zip(fp32.get_outputs(), infer(fp32, to_tensor(fitted)), found):
        cosine = np.dot(exact.ravel(), rounded.ravel()) / np.linalg.norm(exact) / np.linalg.norm(rounded)
        assert measured.entire_cos[output.name] == pytest.approx(cosine, abs=2e-5)
        distance = np.linalg.norm(exact - rounded)
        assert measured.entire_euc[output.name] == pytest.approx(distance, rel=1e-3, abs=1e-4)


def test_layers_are_read_and_a_fused_one_has_no_numbers():
    table = read_layer_errors(TEXT)
    assert table.layer.tolist() == ["images", "/a/Conv_output", "/b/Conv_output", "/b/Mul", "/c/Sigmoid"]
    assert table.type.tolist() == ["Input", "Conv", "Conv", "exSwish", "Sigmoid"]
    assert table.single_euc[1] == 1e-5
    assert table.iloc[2, 2:].isna().all()
    # INT8 gives nothing but zeros: nothing of the layer is left, and the toolkit gives no distance.
    assert table.entire_cos[4] == 0 and np.isnan(table.entire_euc[4]) and table.single_cos[4] == 0.95
    assert worst(table, 2).layer.tolist() == ["/b/Mul", "/c/Sigmoid"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text.replace("entire  ", "single  "),
        lambda text: text[: text.index("[Input]")],
        lambda text: text.replace("0.88984 |", "0.88984"),
        lambda text: text.replace("[exSwish]", "exSwish"),
        lambda text: text.replace("0.88984", "much"),
        lambda text: re.sub(r"\S+ \|.*", "", text),
    ],
)
def test_layers_of_another_form_are_refused(damage):
    with pytest.raises(ToolkitError, match="per-layer analysis"):
        read_layer_errors(damage(TEXT))


def test_calibration_study_gives_the_spread(step, tmp_path):
    Metrics(1, 0.5, 0.6, None, None, {}).write(tmp_path / "metrics/m/96/exported.json")
    values = {(1, 0): 0.1, (1, 7): 0.3, (8, 0): 0.4, (8, 7): 0.45}
    for (count, seed), value in values.items():
        metrics = ComparedMetrics(1, value, 0.6, None, None, {}, value / 0.5, None, None)
        metrics.write(tmp_path / f"study/metrics/m/96/split/normal-{count}-{seed}.json")
    done = step("calibration_study", "--run", tmp_path, "--model", "m", "--imgsz", 96, "--head", "split",
                "--algorithm", "normal", "--max-images", 8, 1, "--seed", 7, 0, "--csv", tmp_path / "s.csv",
                "--markdown", tmp_path / "s.md", "--plot", tmp_path / "s.png")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.csv").read_text() == "max_images,seed,map50_95_int8\n1,0,0.1\n1,7,0.3\n8,0,0.4\n8,7,0.45\n"
    rows = [re.findall(r"[\d.]+", line) for line in (tmp_path / "s.md").read_text().splitlines()[2:]]
    # max_images, mean, min, max, spread, retention of the mean
    assert rows == [
        ["1", "0.2000", "0.1000", "0.3000", "0.2000", "0.4000"],
        ["8", "0.4250", "0.4000", "0.4500", "0.0500", "0.8500"],
    ]
    assert (tmp_path / "s.png").stat().st_size > 5_000


def test_calibration_study_of_a_classifier_has_top1(step, tmp_path):
    words = ["--run", tmp_path, "--model", "m", "--imgsz", 64, "--head", "as_is", "--algorithm", "normal",
             "--max-images", 4, "--seed", 3, "--csv", tmp_path / "s.csv", "--markdown", tmp_path / "s.md",
             "--plot", tmp_path / "s.png"]  # fmt: skip
    exported = Metrics(8, None, None, None, None, {}, undecoded="no family", top1=0.8)
    exported.write(tmp_path / "metrics/m/64/exported.json")
    int8 = ComparedMetrics(8, None, None, None, None, {}, 0.75, None, None, undecoded="no family", top1=0.6)
    int8.write(tmp_path / "study/metrics/m/64/as_is/normal-4-3.json")
    done = step("calibration_study", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.csv").read_text() == "max_images,seed,top1_int8\n4,3,0.6\n"
    assert "| 0.6000 | 0.6000 | 0.6000 |   0.0000 |      0.7500 |" in (tmp_path / "s.md").read_text()

    replace(exported, top1=None).write(tmp_path / "metrics/m/64/exported.json")
    done = step("calibration_study", *words)
    assert done.returncode == 2 and "m has neither a mAP nor a top-1 on this data set" in done.stderr


def test_a_study_takes_a_head_that_the_task_has():
    one, several = {"head": "single"}, {"head": ["single", "split"]}
    assert [studied(one, task)["head"] for task in ("detect", "pose", "classify")] == ["single", "split", "as_is"]
    assert [studied(several, task)["head"] for task in ("detect", "obb")] == [["single", "split"], ["split"]]
    assert [column.name for column in of_classifier(TOOLKIT_STUDY_COLUMNS)][:3] == ["toolkit", "top1_int8", "retention"]
