"""The bundled models for keypoints, masks and oriented boxes go from weights to table, with no file from elsewhere."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from lib.accuracy.detection_set import read_detections
from lib.graph.checkpoint_names import checkpoint_facts
from lib.step.files import sha256

TASKS = ("pose", "segment", "obb")
CONFIG = yaml.safe_load((ROOT / "config" / "demo_tasks.yaml").read_text())
SIZE = "256x192"
LEAST = {"pose": 0.6, "segment": 0.35, "obb": 0.45}  # mAP50-95 in FP32 at SIZE
EXTRAS = {"pose": "keypoints", "segment": "mask", "obb": "rotated"}  # of an instance, by what its task adds


@pytest.mark.parametrize("task", TASKS)
def test_the_bundled_weights_are_those_that_config_and_record_name(task):
    [path] = CONFIG["models"][f"parts4-{task}"]["weights"]
    record = json.loads((ROOT / "example" / f"training-{task}.json").read_text())
    assert CONFIG["models"][f"parts4-{task}"]["sha256"] == record["weights"]["sha256"] == sha256(ROOT / path)
    assert record["start"]["sha256"] == sha256(ROOT / "example" / record["start"]["file"])
    assert checkpoint_facts(ROOT / path).task == task


@pytest.fixture(scope="module", params=TASKS)
def run(request, tmp_path_factory, python_env):
    """A run of a cut of the example: (task, its results)."""
    task, work = request.param, tmp_path_factory.mktemp(request.param)
    keys = {
        "task": task,
        "run": "cut",
        "draw": {"images": 40, "seed": 3},
        "split": {"calibration": 8},
        "sweep": {"model": [f"parts4-{task}"], "imgsz": [SIZE], "max_images": [8]},
    }
    command = ["snakemake", "-j2", "-s", ROOT / "Snakefile", "--directory", work]
    command += ["--configfile", ROOT / "config" / "demo_tasks.yaml"]
    command += ["--config", *(f"{key}={json.dumps(value)}" for key, value in keys.items())]
    done = subprocess.run(list(map(str, command)), cwd=work, env=python_env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return task, work / "results" / "cut"


def test_int8_keeps_the_map_of_the_task(run):
    task, results = run
    [row] = pd.read_csv(results / "table.csv").to_dict("records")
    assert row["task"] == task
    assert row["map50_95_fp32"] > LEAST[task]
    assert row["map50_95_adapted"] == pytest.approx(row["map50_95_fp32"], abs=2e-3), "surgery changed what it computes"
    assert row["retention"] > 0.93
    assert row["cpu_ops"] == 0 and row["verdict"] == "runs"


def test_detections_and_report_have_what_the_task_adds(run):
    task, results = run
    for path in results.glob("detections/**/*.npz"):
        detections = read_detections(path)
        assert detections.task == task
        found = [instances.extras[EXTRAS[task]] for instances in detections.instances if len(instances)]
        assert sum(map(len, found)) == detections.count() > 0
        assert all(np.isfinite(rows).all() for rows in found if rows.dtype.kind == "f")
    assert (results / "report.html").stat().st_size > 100_000
