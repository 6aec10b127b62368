"""The build log is read whole or refused, and the verdict is the field's on the cases that the field knows."""

import contextlib
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from conftest import ROOT

from lib.data.calibration_list import calibration_list
from lib.data.images import write_image
from lib.data.imgsz import ImageSize
from lib.detector.head import AS_IS
from lib.graph.surgery.proof import noise_image
from lib.npu.build import Build
from lib.npu.build_log import CPU, INPUT, NPU, OUTPUT, BuildLog, Operator, read_build_log
from lib.npu.timing import estimator
from lib.npu.verdict import FAILS, RUNS, UNSURE, Judgement, verdict
from lib.step.errors import ToolkitError
from lib.step.files import read_json

MEASURED = ["--measured", ROOT / "config" / "measured.csv"]
LIMITS = ["--cma-mb", 66, "--clock-mhz", 420, *MEASURED]


def judge_step(step, folder, *options):
    return step("judge", "--build", folder / "build.json", "--verdict", folder / "verdict.json", *options)


@pytest.fixture(scope="session")
def log_text(quantized):
    """The real log of that build."""
    return (quantized / "build.log").read_text()


@pytest.fixture(scope="session")
def log(log_text):
    """The same, read."""
    return read_build_log(log_text)


@pytest.mark.toolkit
def test_build_json_holds_what_a_hand_count_of_the_log_gives(quantized, log_text):
    # Counted with awk and bc on such a log: 102 operators, 101 of them on the NPU; 63 have cycles.
    build = read_json(quantized / "build.json")
    operators = build["operators"]
    assert (len(operators), sum(each["target"] == "NPU" for each in operators)) == (102, 101)
    assert sum(each["cycles_total"] > 0 for each in operators) == 63
    # Each sum again, from the raw lines: those between the first two rules below the column names.
    table = log_text.split("FullName", 1)[1].split("\n")[2:104]
    cells = [line.split("] ", 1)[1].split() for line in table]
    assert [each["name"] for each in operators] == [row[8] for row in cells]
    for position, key in enumerate(("cycles_ddr", "cycles_npu", "cycles_total")):
        assert sum(each[key] for each in operators) == sum(int(row[6].split("/")[position]) for row in cells)
    assert sum(each["kb"] for each in operators) == sum(int(row[7]) for row in cells)
    assert build["npu_mcycles"] == sum(int(row[6].split("/")[2]) for row in cells) / 1e6
    assert f"Total Internal Memory Size: {build['internal_kb']:.6g}KB" in log_text
    assert f"Total Weight Memory Size: {build['weight_kb']:.6g}KB" in log_text
    complaints = re.findall(r"^([EW] RKNN): \[.*?\] (.*)$", log_text, re.M)
    assert build["messages"] == [f"{kind}: {text.strip()}" for kind, text in complaints]
    assert build["operators"][1] | {"cycles_ddr": 0, "cycles_npu": 0, "cycles_total": 0, "kb": 0} == {
        "name": "Conv:/model.0/conv/Conv", "type": "ConvExSwish", "dtype": "INT8", "target": "NPU",
        "input_shape": "(1,3,64,96),(16,3,3,3),(16)", "output_shape": "(1,16,32,48)",
        "cycles_ddr": 0, "cycles_npu": 0, "cycles_total": 0, "kb": 0,
    }  # fmt: skip
    assert build["toolkit"] == "2.3.2" and build["platform"] == "rv1106"
    assert build["rknn_bytes"] == (quantized / "model.rknn").stat().st_size
    assert "verdict" not in build and "costs" not in build


DAMAGES = {
    "nothing at all": lambda text: "",
    "broken off in the table": lambda text: text[: text.index("Conv:/model.9/")],
    "broken off before the totals": lambda text: text[: text.index("Total Internal")],
    "table has another title": lambda text: text.replace("Network Layer Information Table", "Layers"),
    "table is there twice": lambda text: text.replace("Const Tensor", "Feature Tensor"),
    "a column more": lambda text: text.replace("RW(KB)  ", "SparseRatio RW(KB)"),
    "a row is missing": lambda text: re.sub(r".* Add:/model.2/.*\n", "", text),
    "last row is missing": lambda text: re.sub(r".* OutputOperator:scores_32.*\n", "", text),
    "another target": lambda text: text.replace(" NPU ", " GPU "),
    "no cycles": lambda text: re.sub(r"(\d+/){2}\d+ ", "? ", text, count=1),
    "cycles that do not add up": lambda text: re.sub(r"/(\d+)/\d+ ", r"/\1/123456789 ", text, count=1),
    "no addresses": lambda text: re.sub(r"\| 0x\w+ 0x\w+ 0x\w+", "|", text, count=1),
    "no weight total": lambda text: text.replace("Total Weight", "Weight"),
    "internal total is another": lambda text: re.sub(r"(Internal Memory Size: )", r"\g<1>1", text),
    "weight total is another": lambda text: re.sub(r"(Weight Memory Size: )", r"\g<1>1", text),
}


@pytest.mark.toolkit
@pytest.mark.parametrize("damage", DAMAGES)
def test_log_of_another_form_is_refused(log_text, damage):
    damaged = DAMAGES[damage](log_text)
    assert damaged != log_text
    with pytest.raises(ToolkitError, match="does not have the known form") as error:
        read_build_log(damaged)
    assert "\n" not in str(error.value)


@pytest.mark.toolkit
def test_an_operator_may_have_no_name(log_text, log):
    """As the normalization has that the toolkit adds to an input which several convolutions read."""
    nameless = log_text.replace(log.operators[1].name, "")
    assert nameless != log_text
    assert [each.name for each in read_build_log(nameless).operators[1:3]] == ["", log.operators[2].name]


@pytest.mark.toolkit
def test_lines_of_others_between_the_compilers_change_nothing(log_text, log):
    lines = log_text.split("\n")
    others = [
        "I rknn building done.",
        "----------------------------------------",
        "Feature Tensor Information Table",
        "",
    ]
    between = "\n".join(f"{line}\n{others[number % len(others)]}" for number, line in enumerate(lines))
    assert read_build_log(between) == log
    # A progress bar that was left without the end of its line.
    assert read_build_log(log_text.replace("\nD RKNN", "\nI Quantizating :  42%|████\rD RKNN")) == log


@pytest.mark.toolkit
def test_step_refuses_a_log_that_it_cannot_read_and_writes_nothing(split_onnx, listed, heldout, tmp_path, monkeypatch):
    import quantize
    from lib.step import console

    monkeypatch.setattr(console, "captured", lambda: contextlib.nullcontext(lambda: "nothing of the kind"))
    monkeypatch.setattr(console, "log_to", lambda path: None)
    arguments = ["--onnx", split_onnx, "--calibration", listed, "--platform", "rv1106", "--algorithm", "normal",
                 "--dataset", heldout, "--names", *"abcd", "--output", tmp_path / "m.rknn",
                 "--build", tmp_path / "b.json", "--detections", tmp_path / "d.npz", "--log", "x"]  # fmt: skip
    with pytest.raises(ToolkitError, match="0 tables 'Feature Tensor Information Table"):
        quantize.main(list(map(str, arguments)))
    assert not list(tmp_path.iterdir())


@pytest.mark.toolkit
def test_verdict_and_costs_are_judged_from_the_build_alone(step, quantized, tmp_path):
    shutil.copy(quantized / "build.json", tmp_path)
    done = judge_step(step, tmp_path, *LIMITS)
    assert done.returncode == 0, done.stderr
    found = read_json(tmp_path / "verdict.json")
    assert found["verdict"]["result"] == RUNS
    cycles = read_json(quantized / "build.json")["npu_mcycles"]
    costs = found["costs"]
    assert cycles * 1e3 / 420 < costs["ms_low"] < costs["ms_high"] and costs["clock_mhz"] == 420
    assert judge_step(step, tmp_path, "--cma-mb", 66, "--clock-mhz", "rv1106g3", *MEASURED).returncode == 0
    faster = read_json(tmp_path / "verdict.json")["costs"]
    assert faster["clock_mhz"] == 700
    # Only what the clock drives is faster: the convolutions.
    spread = costs["ms_high"] / costs["ms_low"]
    assert faster["ms_high"] / faster["ms_low"] == pytest.approx(spread, rel=0.02)
    saved = cycles * 1e3 * (1 / 420 - 1 / 700)
    assert costs["ms_low"] - faster["ms_low"] == pytest.approx(saved * costs["ms_low"] / middle(costs), abs=0.03)


def middle(costs: dict) -> float:
    """The estimate between the limits."""
    return costs["ms_low"] / estimator(MEASURED[1]).low


@pytest.mark.toolkit
def test_refused_model_is_an_error_only_if_the_run_is_to_stop(step, quantized, tmp_path):
    shutil.copy(quantized / "build.json", tmp_path)
    tight = ["--cma-mb", 1, "--clock-mhz", 420, *MEASURED]
    done = judge_step(step, tmp_path, *tight, "--stop")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert re.search(
        r"verdict fails \(inferred\): weights and tensors take \d\.\d MB, the board's CMA gives 1 MB; ", done.stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]
    done = judge_step(step, tmp_path, *tight)
    assert done.returncode == 0
    assert read_json(tmp_path / "verdict.json")["verdict"]["result"] == FAILS


def test_build_json_that_lacks_something_is_one_sentence(step, tmp_path):
    (tmp_path / "build.json").write_text('{"platform": "rv1106", "operators": [], "internal_kb": 1.0}')
    done = judge_step(step, tmp_path, *LIMITS)
    assert done.returncode == 2
    assert (
        "build.json lacks toolkit, rknn_bytes, npu_mcycles, weight_kb, messages;" in done.stderr
        and len(done.stderr.strip().splitlines()) == 1
    )
    assert not (tmp_path / "verdict.json").exists()


@pytest.mark.toolkit
def test_rules(log):
    def judge(changed, platform="rv1106", cma_mb=66, camera_mb=12):
        judged = verdict(Build.of(changed, "2.3.2", platform, 1), cma_mb, camera_mb=camera_mb)
        return judged.result, judged.basis, judged.reason

    def with_operator(number, **changes):
        operators = list(log.operators)
        operators[number] = replace(operators[number], **changes)
        return replace(log, operators=tuple(operators))

    def with_error(text):
        return replace(log, messages=(*log.messages, f"E RKNN: {text}"))

    harmless = "BulbSqueeze: illegal shape for input_shape, input_shape[-1] should align to 16"
    limit = "REGTASK: The bit width of field value exceeds the limit, target: t3, limit: 0x1fff, value: 0x20cf"
    assert judge(log)[:2] == (RUNS, "reported") and "YOLOv8, which has the same operators, ran" in judge(log)[2]
    assert judge(log, "rv1106b")[:2] == (RUNS, "inferred")
    as_is = verdict(Build.of(log, "2.3.2", "rv1106", 1), 66, AS_IS)
    assert (as_is.result, as_is.basis) == (RUNS, "inferred") and "YOLOv8" not in as_is.reason
    cut = verdict(Build.of(with_operator(7, target="CPU", type="Transpose"), "2.3.2", "rv1106", 1), 66, AS_IS)
    assert (cut.result, cut.basis) == (FAILS, "reported") and "cut the graph off before them" in cut.advice
    attention = with_operator(7, type="exSDPAttention")
    assert judge(attention)[:2] == (RUNS, "reported") and "YOLO11" in judge(attention)[2]
    # Whatever its operators are: as large was never reported on that platform.
    for large in (replace(log, weight_kb=45_000.0), with_operator(7, cycles_total=25_000_000)):
        assert judge(large)[:2] == (RUNS, "inferred") and "the largest is YOLOv5s at 640" in judge(large)[2]
    between = with_operator(7, cycles_total=15_000_000)
    assert judge(between)[1] == "reported"
    assert judge(between, "rv1103")[1] == "inferred" and "YOLOv8n at 640" in judge(between, "rv1103")[2]
    for unseen in (with_operator(7, type="Softmax"), with_operator(7, dtype="INT16")):
        assert judge(unseen)[:2] == (RUNS, "inferred")
    assert judge(with_operator(7, target="CPU", type="Transpose"))[:2] == (FAILS, "reported")
    assert judge(with_operator(7, target="CPU", type="Transpose"), "rv1106b")[:2] == (FAILS, "inferred")
    assert judge(with_operator(7, target="CPU", type="Gather"))[:2] == (FAILS, "inferred")
    assert judge(with_operator(-1, target="CPU"))[0] == RUNS
    assert judge(with_operator(7, dtype="FLOAT16"))[:2] == (UNSURE, "inferred")
    assert judge(with_operator(0, dtype="INT16"))[:2] == (UNSURE, "reported")
    assert judge(log, cma_mb=1)[:2] == (FAILS, "inferred")
    # It fits in the CMA, and also beside the camera's buffers or not.
    assert judge(log, cma_mb=18)[0] == RUNS == judge(log, cma_mb=12, camera_mb=0)[0]
    result, basis, reason = judge(log, cma_mb=12)
    assert (result, basis) == (UNSURE, "inferred") and "the camera's buffers 12 MB of the 12 MB" in reason
    assert judge(with_error(harmless))[0] == RUNS
    result, _, reason = judge(with_error("the sky is falling"))
    assert result == UNSURE and "the sky is falling" in reason
    result, _, reason = judge(with_error(limit))
    assert result == UNSURE and "a register of the NPU holds at most 8191, and 8399 is needed" in reason


@pytest.fixture(scope="session")
def frontier(step, tmp_path_factory):
    """Run the step on few sizes, which are built afresh; returns its rows by head."""
    folder = tmp_path_factory.mktemp("frontier")

    def run(*kind):
        done = step("frontier", "--model", "yolov8n.yaml", *kind, "--seed", 0, "--opset", 19, "--platform", "rv1106",
                    *LIMITS, "--csv", folder / "f.csv", "--markdown", folder / "f.md",
                    "--log", folder / "f.log")  # fmt: skip
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(folder / "f.csv", dtype={"largest": str, "next": str})
        assert len((folder / "f.md").read_text().splitlines()) == len(table) + 2
        return table.set_index("head").to_dict("index")

    return run


@pytest.mark.toolkit
def test_80_classes_run_at_640_with_both_heads(frontier):
    rows = frontier("--classes", 80, "--shape", "1:1", "--head", "single", "split", "--largest", 640, "--step", 640)
    single, split = rows["single"], rows["split"]
    for row in (single, split):
        assert (row["largest"], row["reason"]) == ("640", "nothing wider than 640 was tried")
    # As measured on the trained network: none of this depends on the weights.
    assert (single["npu_mcycles"], split["npu_mcycles"]) == (11.27, 11.16)
    assert single["internal_kb"] < 3600 and split["internal_kb"] == 2800.0


@pytest.mark.toolkit
def test_the_head_as_exported_fails_at_640(step, export, quantize, tmp_path):
    """8400 predictions on one axis: Transpose and Reshape go to the CPU, yet the build returns 0."""
    write_image(tmp_path / "0.png", noise_image(ImageSize(640, 640), 0))
    first = tmp_path / "first.txt"
    first.write_text(calibration_list(["0.png"]))
    assert quantize(export(width=640, height=640)[0], tmp_path, "--calibration", first).returncode == 0
    done = judge_step(step, tmp_path, *LIMITS)
    assert done.returncode == 0, done.stderr
    found = Judgement.read(tmp_path / "verdict.json").verdict
    assert (found.result, found.basis) == (FAILS, "reported")
    assert "Transpose" in found.reason
    assert "a register of the NPU holds at most 8191, and 8399 is needed" in found.reason


@pytest.mark.toolkit
def test_4_classes_with_one_output_run_at_416x256(frontier):
    rows = frontier("--classes", 4, "--shape", "13:8", "--head", "single", "--largest", 416, "--step", 416)
    assert rows["single"]["largest"] == "416x256"


def test_only_operators_between_the_ends_count_as_cpu_operators():
    operators = tuple(
        Operator(f"{type_}:{number}", type_, "INT8", target, "", "", 0, 0, 0, 0)
        for number, (type_, target) in enumerate(((INPUT, CPU), ("Add", CPU), ("Add", NPU), (OUTPUT, CPU)))
    )
    build = Build.of(BuildLog(operators, 0, 0, ()), "2.3.2", "rv1106", 1)
    assert build.cpu_operators == operators[1:2] and build.inner_operators == operators[1:3]
