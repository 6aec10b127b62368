"""Other versions of the toolkit: found where `make toolkit` puts them, each in its own process, named in results."""

import csv
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import toolkit_study
from lib.accuracy.detection_set import read_detections
from lib.accuracy.evaluation import evaluate
from lib.accuracy.resampled_map import write_resampled
from lib.graph.onnx_session import open_session
from lib.npu import attention_scale, build_log, toolkit, toolkit_versions
from lib.npu.build import Build
from lib.npu.build_log import BuildLog, Operator
from lib.npu.toolkit_versions import DEFAULT, SCALE_BEHIND, VERSIONS, folder_of, in_use, missing_sentence, use
from lib.npu.twin.structure import Parameters
from lib.npu.verdict import verdict
from lib.step.errors import ToolkitError, UserError

OTHERS = [version for version in VERSIONS if version != DEFAULT]


def test_the_default_is_the_environments_and_costs_nothing():
    before = list(sys.path)
    use(DEFAULT)
    assert (in_use(), sys.path, missing_sentence(DEFAULT)) == (DEFAULT, before, None)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder of toolkits with a sham 2.2.0."""
    monkeypatch.setattr(toolkit_versions, "FOLDERS", tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = folder_of("2.2.0")
    (folder / "rknn").mkdir(parents=True)
    information = folder / "rknn_toolkit2-2.2.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: rknn-toolkit2\nVersion: 2.2.0\n")
    return tmp_path


def test_another_version_goes_before_the_environments(folders, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "rknn"]:
        monkeypatch.delitem(sys.modules, name)
    use("2.2.0")
    assert in_use() == "2.2.0"
    monkeypatch.setitem(sys.modules, "rknn.api", None)
    with pytest.raises(UserError, match=r"has already loaded rknn-toolkit2 2\.2\.0; start another process for 2\.3\.2"):
        use(DEFAULT)
    monkeypatch.delitem(sys.modules, "rknn.api")
    use(DEFAULT)
    assert in_use() == DEFAULT


def test_one_that_is_not_installed_is_a_sentence_with_the_command(folders):
    sentence = "rknn-toolkit2 2.5.0 is not installed; run: make toolkit VERSION=2.5.0"
    assert (missing_sentence("2.2.0"), missing_sentence("2.5.0")) == (None, sentence)
    with pytest.raises(UserError, match=sentence):
        use("2.5.0")


def test_a_log_of_an_unknown_version_stops():
    build_log.demand_known_log("2.5.0")
    with pytest.raises(
        ToolkitError, match=r"does not have the known form: it is of version 2\.9\.0, but only 2\.2\.0, "
    ):
        build_log.demand_known_log("2.9.0")


OPERATORS = tuple(
    Operator(name, name, "INT8", "NPU", "(1)", "(1)", 1, 2, 2, 3)
    for name in ("InputOperator", "Conv", "OutputOperator")
)


@pytest.mark.parametrize(("version", "basis"), [("2.2.0", "reported"), ("2.3.2", "reported"), ("2.5.0", "inferred")])
def test_reports_hold_for_the_versions_that_they_are_of(version, basis):
    build = Build.of(BuildLog(OPERATORS, 1.0, 1.0, ()), version, "rv1106", 1)
    runs = verdict(build, 66)
    assert (runs.result, runs.basis) == ("runs", basis)
    assert ("no model that toolkit 2.5.0 built was reported" in runs.reason) == (basis == "inferred")
    on_cpu = replace(OPERATORS[1], type="Transpose", target="CPU")
    refused = verdict(Build.of(BuildLog((OPERATORS[0], on_cpu, OPERATORS[2]), 1.0, 1.0, ()), version, "rv1106", 1), 66)
    assert (refused.result, refused.basis) == ("fails", basis)
    assert ("or toolkit 2.3.2 with its runtime" in refused.advice) == (version == "2.2.0")


def attention(order: str) -> onnx.ModelProto:
    """Queries and keys [1, 2, 4, 6], their product and its softmax; `order` is where the scale stands."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(16, 3, 1, 1)).astype(np.float32), "w")
    constants = [weight, numpy_helper.from_array(np.float32(0.5), "scale"),
                 numpy_helper.from_array(np.array([1, 2, 8, 6]), "shape"),
                 numpy_helper.from_array(np.array([4, 4]), "parts")]  # fmt: skip
    turn = {"perm": [0, 1, 3, 2]}
    query = {
        "before": [("Mul", ["q", "scale"], "a", {}), ("Transpose", ["a"], "b", turn)],
        "after the turn": [("Transpose", ["q"], "a", turn), ("Mul", ["scale", "a"], "b", {})],
        "none": [("Transpose", ["q"], "b", turn)],
    }[order]
    nodes = [("Conv", ["images", "w"], "c", {}), ("Reshape", ["c", "shape"], "r", {}), *query,
             ("MatMul", ["b", "k"], "m", {}), ("Softmax", ["m"], "s", {"axis": -1})]  # fmt: skip
    made = [helper.make_node(kind, given, [result], kind + result, **more) for kind, given, result, more in nodes]
    made.insert(2, helper.make_node("Split", ["r", "parts"], ["q", "k"], "split", axis=2))
    graph = helper.make_graph(
        made, "attention", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 2, 3])],
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 2, 6, 6])], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("order", ["before", "after the turn"])
def test_a_scale_goes_behind_its_product_and_nothing_else_changes(order, tmp_path):
    model = attention(order)
    changed = attention_scale.with_scale_behind(model)
    kinds = [node.op_type for node in changed.graph.node]
    assert kinds == ["Conv", "Reshape", "Split", "Transpose", "MatMul", "Mul", "Softmax"]
    given = np.random.default_rng(1).random((1, 3, 2, 3), np.float32)
    outputs = []
    for graph in (model, changed):
        onnx.save(graph, tmp_path / "m.onnx")
        outputs.append(open_session(tmp_path / "m.onnx").run(None, {"images": given})[0])
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-6


def test_a_model_with_corrected_biases_is_in_the_form_of_its_toolkit_too(monkeypatch, tmp_path):
    monkeypatch.setattr(toolkit, "in_use", lambda: SCALE_BEHIND)
    onnx.save(attention("before"), tmp_path / "given.onnx")
    bias = np.arange(16, dtype=np.float32)
    toolkit._put(tmp_path / "given.onnx", tmp_path / "put.onnx", Parameters(biases={"c": bias}))
    put = onnx.load(tmp_path / "put.onnx").graph
    kinds = [node.op_type for node in put.node]
    assert kinds == ["Conv", "Reshape", "Split", "Transpose", "MatMul", "Mul", "Softmax"]
    [kept] = [numpy_helper.to_array(each) for each in put.initializer if each.name == put.node[0].input[2]]
    np.testing.assert_array_equal(kept, bias)


def test_a_product_without_a_scale_is_left_alone():
    assert attention_scale.with_scale_behind(attention("none")) is None


def test_a_change_that_computes_something_else_is_refused():
    other = attention("before")
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.float32(5), "scale"))
    with pytest.raises(ToolkitError, match="computes something else"):
        attention_scale._demand_same(attention("before"), other)


@pytest.mark.toolkit
@pytest.mark.parametrize("version", OTHERS)
def test_each_installed_version_builds_and_says_which_it_is(version, split_onnx, quantize, tmp_path):
    if sentence := missing_sentence(version):
        pytest.skip(sentence)
    done = quantize(split_onnx, tmp_path, "--toolkit", version)
    assert done.returncode == 0, done.stderr
    build = Build.read(tmp_path / "build.json")
    assert build.toolkit == version and not build.cpu_operators
    assert verdict(build, 66).result == "runs"


SHAM = """
import pathlib, shutil, sys
def word(name):
    return sys.argv[sys.argv.index(name) + 1]
if word("--toolkit") == "2.5.0":
    sys.exit("error: rknn-toolkit2: the build of m.onnx failed: IndexError (log: somewhere)")
here = pathlib.Path(__file__).parent
shutil.copy(here / "build.json", word("--build"))
shutil.copy(here / "detections.npz", word("--detections"))
"""


def test_a_study_has_a_row_for_each_version_and_for_one_that_fails(tmp_path, heldout, quantized, monkeypatch, capsys):
    (tmp_path / "sham.py").write_text(SHAM)
    build = json.loads((quantized / "build.json").read_text())
    (tmp_path / "build.json").write_text(json.dumps(build | {"toolkit": "2.2.0"}))
    shutil.copy(quantized / "detections.npz", tmp_path)
    monkeypatch.setattr(toolkit_study, "QUANTIZE", tmp_path / "sham.py")
    monkeypatch.setattr(toolkit_study, "missing_sentence", lambda version: None)
    _, resampled = evaluate(read_detections(tmp_path / "detections.npz"), heldout, list("abcd"), 20, 0)
    write_resampled(tmp_path / "baseline.npz", resampled)
    arguments = ["--onnx", "m.onnx", "--calibration", "images.txt", "--platform", "rv1106", "--algorithm", "normal",
                 "--head", "split", "--dataset", str(heldout), "--names", *"abcd", "--cma-mb", "66",
                 "--baseline", str(tmp_path / "baseline.npz"), "--csv", str(tmp_path / "study.csv"),
                 "--markdown", str(tmp_path / "study.md")]  # fmt: skip
    toolkit_study.main(["--toolkits", "2.2.0", "2.5.0", *arguments])
    with open(tmp_path / "study.csv") as file:
        built, failed = csv.DictReader(file)
    assert (built["toolkit"], built["verdict"], built["cpu_ops"]) == ("2.2.0", "runs", "0")
    assert (failed["toolkit"], failed["verdict"], failed["rknn_mb"]) == ("2.5.0", "no build", "")
    assert failed["reason"] == "rknn-toolkit2: the build of m.onnx failed: IndexError"
    assert "| 2.5.0     |" in (tmp_path / "study.md").read_text()
    assert "2.5.0: rknn-toolkit2: the build of m.onnx failed: IndexError" in capsys.readouterr().out

    monkeypatch.setattr(toolkit_study, "missing_sentence", missing_sentence)
    monkeypatch.setattr(toolkit_versions, "FOLDERS", tmp_path)
    with pytest.raises(UserError, match=r"2\.2\.0 is not installed.*; .*2\.5\.0 is not installed"):
        toolkit_study.main(["--toolkits", "2.2.0", "2.5.0", *arguments])
