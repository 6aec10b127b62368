"""Snakemake does what its users expect, end to end on a cut of the bundled example."""

import base64
import html
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from chromium import BROKEN_IMAGES
from conftest import ROOT, SNAKEMAKE_7, copy_project

COLUMNS = [
    "model", "imgsz", "head", "algorithm", "max_images", "map50_95_fp32", "map50_fp32", "map50_95_adapted",
    "map50_95_int8", "map50_int8", "retention", "rknn_mb", "npu_mcycles", "internal_kb", "weight_kb",
    "cpu_ops", "verdict", "retention_low", "retention_high", "ms_low", "ms_high",
    "threshold", "precision", "recall", "f1",
]  # fmt: skip


def run_snakemake(project: Path, environment: dict, *arguments) -> subprocess.CompletedProcess:
    """Run `snakemake` in the folder `project`; the finished process has both streams in stdout."""
    command = ["snakemake", *map(str, arguments)]
    return subprocess.run(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def snakemake(project, python_env, dry_run):
    """Run `snakemake` in a fresh copy of the project."""

    def run(*arguments, check=True):
        if arguments[0] == "-n":
            done = dry_run(project, *arguments[1:])
        else:
            done = run_snakemake(project, python_env, *arguments)
        assert not check or done.returncode == 0, done.stdout
        return done

    return run


def jobs(output: str) -> dict[str, int]:
    """The job counts that a run or dry run prints, without the target rule."""
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, re.M | re.S)
    counts = dict(line.split() for line in table[1].splitlines()) if table else {}
    return {name: int(count) for name, count in counts.items() if name != "all"}


def test_dry_run_of_the_default_config_plans_the_whole_sweep(snakemake):
    planned = jobs(snakemake("-n").stdout)
    assert planned["quantize"] == planned["judge"] == planned["evaluate_int8"] == 16
    assert planned["detect_exported"] == planned["evaluate_exported"] == 4
    assert planned["detect_adapted"] == planned["evaluate_adapted"] == 8
    assert planned["export_onnx"] == planned["simplify_onnx"] == 4
    assert planned["graph_surgery"] == planned["measure_ranges"] == 8
    assert planned["analyse_layers"] == 2


def test_studies_run_by_name_only(snakemake):
    planned = jobs(snakemake("-n", "calibration_study").stdout)
    assert planned["quantize_for_study"] == planned["evaluate_for_study"] == planned["sample_for_study"] == 15
    assert planned["measure_ranges"] == 1
    assert "quantize" not in planned and "judge" not in planned
    assert jobs(snakemake("-n", "frontier").stdout) == {"frontier": 1}


def test_calibration_study_of_a_task_without_single_takes_the_head_it_has(snakemake):
    """The default head is `single`, which holds boxes alone."""
    study = "calibration_study={model: parts4-obb, imgsz: 96, max_images: [8], seed: [0]}"
    keys = ["--config", "task=obb", "sweep={model: [parts4-obb]}", study]
    output = snakemake("-n", "calibration_study", "--configfile", "config/demo_tasks.yaml", *keys).stdout
    assert jobs(output)["quantize_for_study"] == 1
    assert "Quantize parts4-obb 96 split on 8 images, seed 0" in output


def test_layers_beside_the_sweep_are_told_and_not_run(snakemake):
    output = snakemake("-n", "--config", "sweep={max_images: [8]}").stdout
    assert "layers: not in the sweep, so not analysed: max_images 64" in output
    assert "analyse_layers" not in jobs(output)
    assert "not in the sweep" not in snakemake("-n", "--config", "layers={model: []}", "sweep={imgsz: [256]}").stdout


def test_sweep_from_the_command_line(snakemake):
    output = snakemake("-n", "--config", "sweep={imgsz: [320], algorithm: [mmse], max_images: [8, 32]}").stdout
    assert jobs(output)["quantize"] == 4
    assert jobs(output)["export_onnx"] == 1
    assert "measure_ranges" not in jobs(output)  # of which `normal` alone is built


def test_config_mistakes_are_sentences(snakemake):
    done = snakemake("-n", "--config", "sweep={imgsz: [300], head: [single]}", check=False)
    assert done.returncode != 0
    told = done.stdout.split("the config is not usable:\n")[1]
    assert told.startswith("  sweep.imgsz: image size '300' must be multiples of 32")
    # Nothing of Python's behind it; Snakemake 7 names the line that ends the run.
    assert SNAKEMAKE_7 or ("Traceback" not in done.stdout and ".smk" not in done.stdout)


def test_a_key_given_twice_is_told(snakemake, project):
    (project / "mine.yaml").write_text("run: mine\nsweep:\n  imgsz: [320]\n  head: [split]\n  imgsz: [640]\n")
    done = snakemake("-n", "--configfile", "mine.yaml", check=False)
    assert done.returncode != 0
    assert "mine.yaml, line 5: sweep.imgsz is there twice, first on line 3; keep one" in done.stdout


CUT_OPTIONS = ("-j2", "--configfile", "cut.yaml")


@pytest.fixture
def cut(cut_run, elsewhere, tmp_path, python_env, dry_run):
    """A copy of the cut's run, to go on in: `snakemake` there, as it was called."""
    work = tmp_path / "work"
    shutil.copytree(cut_run.parent.parent, work, symlinks=True)

    def run(*arguments, check=True):
        command = ["-s", elsewhere / "Snakefile", *CUT_OPTIONS, *arguments]
        planned = arguments[-1:] == ("-n",)
        done = dry_run(work, *command[:-1]) if planned else run_snakemake(work, python_env, *command)
        assert not check or done.returncode == 0, done.stdout
        return done

    run.results = work / "results" / "cut"
    return run


def forget_variant(results: Path) -> None:
    """Remove what was made of the cut's variant."""
    for kind in ("rknn", "detections", "metrics"):
        shutil.rmtree(results / kind / "parts4" / "96" / "split")
    # While its table is there, nobody asks for what is missing.
    (results / "table.csv").unlink()


@pytest.mark.toolkit
def test_chain_end_to_end(cut):
    results = cut.results
    table = pd.read_csv(results / "table.csv", dtype={"imgsz": str})
    assert list(table.columns) == COLUMNS
    row = table.iloc[0]
    assert (len(table), row.imgsz, row["head"], row.max_images) == (1, "96", "split", 4)
    # A working detector: FP32 finds things at 96 pixels, surgery changes nothing, INT8 keeps most.
    assert row.map50_95_fp32 > 0.1
    assert row.map50_95_fp32 == pytest.approx(row.map50_95_adapted, abs=0.001)
    assert row.retention > 0.85 and row.retention_low <= row.retention <= row.retention_high
    assert row.rknn_mb > 3 and row.npu_mcycles > 0.2 and row.weight_kb > 2900
    assert (row.verdict, row.cpu_ops) == ("runs", 0)
    for name in ("table.md", "plots/map_over_imgsz.png", "plots/map_over_max_images.png"):
        assert (results / name).stat().st_size > 500
    assert not list(results.rglob("*.part"))
    build_log = (results / "rknn/parts4/96/split/normal-4/build.log").read_text()
    assert "rknn-toolkit2 version" in build_log and "\nbuilt results/" in build_log
    assert build_log.splitlines()[-1].startswith("detected results/")

    first = (results / "table.csv").read_bytes()
    assert "Nothing to be done" in cut().stdout

    after = {"collect": 1, "show_detections": 1, "make_report": 1}
    more = cut("--config", "sweep={max_images: [4, 6]}", "-n").stdout
    assert jobs(more) == {"sample_calibration": 1, "quantize": 1, "judge": 1, "evaluate_int8": 1} | after
    # The head `single` becomes the source of the ranges of `split`, which are the same; so its variant stays.
    # (Snakemake 7 builds it again.)
    both = jobs(cut("--config", "sweep={head: [single, split]}", "-n").stdout)
    assert both.pop("measure_ranges") == 2 and both.pop("graph_surgery") == 1
    detected = {"detect_adapted": 1, "evaluate_adapted": 1}
    assert both == detected | dict.fromkeys(("quantize", "judge", "evaluate_int8"), 2 if SNAKEMAKE_7 else 1) | after
    other_board = cut("--config", "verdict={cma_mb: 24, clock_mhz: 700}", "-n").stdout
    assert jobs(other_board) == {"judge": 1} | after
    other_draw = cut("--config", "evaluation={resamples: 50}", "-n").stdout
    assert jobs(other_draw) == {"evaluate_exported": 1, "evaluate_adapted": 1, "evaluate_int8": 1} | after

    # The same files again give the same table.
    forget_variant(results)
    assert jobs(cut("-p").stdout)["quantize"] == 1
    assert (results / "table.csv").read_bytes() == first

    # A board with too little memory: told without a build, and the end of the run where the config says so.
    tight = cut("-p", "--config", "verdict={cma_mb: 1, stop: true}", check=False)
    assert tight.returncode != 0
    assert (
        "the board's CMA gives 1 MB" in tight.stdout and "the run ends here because verdict.stop is set" in tight.stdout
    )
    assert set(jobs(tight.stdout)) == {"judge", "collect", "show_detections", "make_report"}


# When the slow step has begun to build, and when it has built and runs the simulator.
MOMENTS = {
    "building": ("rknn/parts4/96/split/normal-4/build.log", "rknn-toolkit2 version"),
    "simulating": ("rknn/parts4/96/split/normal-4/build.log", "use simulator"),
}


@pytest.mark.toolkit
def test_a_run_that_is_killed_again_and_again_finishes(cut, cut_run, elsewhere, python_env):
    """Killed at each moment of the slow step; the table is that of a run without a break."""
    results = cut.results
    forget_variant(results)
    command = ["snakemake", "-s", elsewhere / "Snakefile", *CUT_OPTIONS]
    for name, sign in MOMENTS.values():
        process = subprocess.Popen(command, cwd=results.parent.parent, env=python_env, start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        deadline = time.monotonic() + 300
        while not ((results / name).exists() and sign in (results / name).read_text()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (results / "table.csv").exists()
        assert not (results / "detections/parts4/96/split/normal-4.npz").exists()

    again = cut("-p").stdout
    assert "export_onnx" not in jobs(again) and jobs(again)["quantize"] == 1
    assert (results / "table.csv").read_bytes() == (cut_run / "table.csv").read_bytes()
    assert not list(results.rglob("*.part"))


def git(folder: Path, *arguments) -> None:
    """Run git in `folder`, as somebody."""
    somebody = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *somebody, *arguments], cwd=folder, check=True)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A git repository with a cut of the bundled example, to clone: 24 drawn images at 96 pixels."""
    project = copy_project(tmp_path_factory.mktemp("cut") / "origin")
    path = project / "config" / "demo.yaml"
    config = yaml.safe_load(path.read_text())
    config["draw"]["images"] = 24
    config["split"]["calibration"] = 8
    config["sweep"].update(imgsz=[96], max_images=[4])
    config["layers"].update(imgsz=[96], max_images=[4], head=["split"])
    path.write_text(yaml.safe_dump(config))
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "cut")
    return project


@pytest.fixture(scope="module")
def by_snakemake(origin, python_env):
    """A fresh clone with Snakemake's results."""
    git(origin.parent, "clone", "-q", origin, "snakemake")
    project = origin.parent / "snakemake"
    done = run_snakemake(project, python_env, "-j2", "--configfile", "config/demo.yaml")
    assert done.returncode == 0, done.stdout
    return project


@pytest.mark.toolkit
def test_a_head_less_runs_nothing_of_the_other_again(by_snakemake, dry_run):
    """Though its ranges come from the table of `single`, which is then not in the sweep."""
    done = dry_run(by_snakemake, "--configfile", "config/demo.yaml", "--config", "sweep={head: [split]}")
    assert jobs(done.stdout) == {"collect": 1, "show_detections": 1, "make_report": 1}


@pytest.mark.toolkit
def test_report_of_a_real_run_works_in_a_browser(by_snakemake, browser):
    browser.open(by_snakemake / "results" / "demo" / "report.html", width=390)
    assert browser.faults() == [] and browser.addresses() == []
    assert browser.run("document.images.length") >= 5
    assert browser.run(BROKEN_IMAGES) == 0
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == 2


@pytest.mark.toolkit
@pytest.mark.skipif(SNAKEMAKE_7, reason="Snakemake 7 downloads parts of its report")
def test_snakemakes_own_report_has_a_category_and_a_caption_for_each_result(by_snakemake, python_env, tmp_path):
    report = tmp_path / "report.html"
    done = run_snakemake(by_snakemake, python_env, "--configfile", "config/demo.yaml", "--report", report)
    assert done.returncode == 0, done.stdout
    text = report.read_text()
    categories, results = (
        json.JSONDecoder().raw_decode(text, re.search(f'id="{name}">\\s*var {name} = ', text).end())[0]
        for name in ("categories", "results")
    )
    assert set(categories) == {
        "Report", "Comparison", "Accuracy lost", "Confidence threshold", "Detections", "Layers",
    }  # fmt: skip
    assert len(results) == 9
    for name, result in results.items():
        assert "<p>" in result["caption"], name
    assert "Nothing here ran on a board." in text


def without_rknn_files(page: str) -> str:
    """A report without the sizes and checksums of what a build's time goes into."""
    return re.sub(r"(model\.rknn</th>).*", r"\1", page)


@pytest.mark.toolkit
def test_dvc_and_snakemake_give_the_same_table_and_report(origin, by_snakemake, python_env):
    """In fresh clones; on the bundled example, so that it needs nothing from outside."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc): DVC's stage `bundle` runs too")
    git(origin.parent, "clone", "-q", origin, "dvc")
    project = origin.parent / "dvc"
    # An experiment is a commit, and this machine's git may know nobody.
    git(project, "config", "user.name", "test")
    git(project, "config", "user.email", "test@example.org")
    theirs, ours = (folder / "results" / "demo" for folder in (by_snakemake, project))

    def dvc(*arguments):
        done = subprocess.run(["dvc", *arguments], cwd=project, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def changed():
        return {re.split("[:@]", line)[0] for line in dvc("status").splitlines() if line and not line[0].isspace()}

    dvc("repro")
    assert len((ours / "table.csv").read_bytes().splitlines()) == 3
    assert (ours / "plots" / "detections.png").stat().st_size > 10_000
    for name in ("table.csv", "errors.json", "layers/parts4/96/split/normal-4.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    report = (ours / "report.html").read_text()
    assert without_rknn_files(report) == without_rknn_files((theirs / "report.html").read_text())
    assert "up to date" in dvc("repro")
    summary = json.loads((ours / "summary.json").read_text())
    assert summary["best"] == "parts4/96/single/normal-4" and summary["variants"] == 2
    assert json.loads(dvc("metrics", "show", "--json"))[""]["data"] == {"results/demo/summary.json": {"data": summary}}
    shown = Path(dvc("plots", "show").strip().removeprefix("file://")).read_text()
    assert "INT8 mAP50-95 over .rknn size" in shown and "detections.png" in shown
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "results")

    # Who clones it gets the results without computing anything.
    store = origin.parent / "store"
    dvc("remote", "add", "--default", "--quiet", "store", str(store))
    dvc("push")
    git(project, "commit", "-q", "-a", "-m", "remote")
    git(origin.parent, "clone", "-q", project, "colleague")
    colleague = origin.parent / "colleague"
    for command in ("pull", "repro"):
        done = subprocess.run(["dvc", command], cwd=colleague, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "up to date" in done.stdout and "Running stage" not in done.stdout
    assert (colleague / "results/demo/table.csv").read_bytes() == (ours / "table.csv").read_bytes()
    assert (colleague / "results/demo/rknn/parts4/96/split/normal-4/model.rknn").stat().st_size > 10_000

    # The config that the report carries is the whole of it: given to DVC as the report says, nothing else has changed.
    before = (project / "dvc.yaml").read_text()
    saved = base64.b64decode(re.search(r'href="data:text/yaml;base64,([^"]*)"', report)[1])
    (project / "demo.yaml").write_bytes(saved)
    command = html.unescape(re.search(r"sed -i .*", report)[0])
    subprocess.run(command, shell=True, cwd=project, check=True)
    assert (project / "dvc.yaml").read_text() != before
    assert changed() == {"make_report"}

    (project / "dvc.yaml").write_text(before)
    config = yaml.safe_load(saved)
    config["sweep"]["max_images"] = [4, 6]
    (project / "config" / "demo.yaml").write_text(yaml.safe_dump(config))
    assert changed() == {
        "sample_calibration", "quantize", "judge", "evaluate_int8", "show_detections", "collect",
        "make_report", "bundle",
    }  # fmt: skip

    git(project, "checkout", "-q", "config/demo.yaml")
    # An edit reruns the step that it is part of, and what follows only where results change.
    step = project / "scripts" / "judge.py"
    step.write_text(step.read_text() + "# edited\n")
    assert set(re.findall("Running stage '(.*?)[@']", dvc("repro"))) == {"sources", "judge"}

    # An experiment with fewer variants takes what is there; only what looks at all of them runs anew.
    output = dvc("exp", "run", "-n", "one-head", "-S", "config/demo.yaml:sweep.head=[split]")
    assert set(re.findall("Running stage '(.*?)'", output)) == {
        "analyse_layers", "collect", "show_detections", "make_report", "bundle",
    }  # fmt: skip
    assert len((ours / "table.csv").read_text().splitlines()) == 2
    assert "one-head" in dvc("exp", "show", "--csv")
    assert "sweep.head" in dvc("params", "diff", "HEAD")

    # What docs/dvc.md promises, word by word, at the sizes of the cut, from one head on: first a size that `layers`
    # does not name.
    git(project, "commit", "-q", "-a", "-m", "one head")
    block = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "dvc.md").read_text(), re.S)[1]
    lines = [
        line for line in block.splitlines() if line.startswith(("dvc exp run", "dvc exp show", "dvc metrics diff"))
    ]
    assert len(lines) == 4
    for line in lines:
        git(project, "checkout", "-q", "config/demo.yaml")
        # The second one also without any analysis of layers, which has a list of its own.
        typed = line.replace("[256,320]", "[64]").replace("[8,16,32]'", "[2,4]' -S config/demo.yaml:layers.model=[]")
        done = subprocess.run(typed, shell=True, cwd=project, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, typed + done.stdout + done.stderr
        if line.startswith("dvc exp show"):
            assert "small" in done.stdout and "more" in done.stdout and "sweep.imgsz" in done.stdout
            # One column for each figure and each value that an experiment changed; it was some 2,900 wide.
            assert max(map(len, done.stdout.splitlines())) < 320
    assert "results/demo/summary.json" in dvc("metrics", "diff", "small", "more")


def test_two_runs_in_one_folder_are_told_and_a_killed_one_leaves_no_lock(project, snakemake, python_env):
    run = ["-j1", "--configfile", "config/demo.yaml", "--config", "draw={images: 400}", "--until", "draw_scenes"]
    first = subprocess.Popen(["snakemake", *run], cwd=project, env=python_env, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not list((project / "results" / "demo").glob(".drawn.*.part")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        second = snakemake(*run, check=False)
        assert second.returncode != 0
        assert f"another run works in results/demo: process {first.pid} on" in second.stdout
        assert SNAKEMAKE_7 or ("Traceback" not in second.stdout and ".smk" not in second.stdout)
        # Another run of another name is no matter.
        snakemake(*run[:3], "--config", "run=other", "draw={images: 2}", "--until", "draw_scenes")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    snakemake(*run[:3], "--config", "draw={images: 2}", "--until", "draw_scenes")


def test_dvc_takes_a_set_as_roboflow_makes_it_and_a_folder_without_git_is_told(project, dataset, python_env):
    """Its data.yaml in the config, its folder at the top of dvc.yaml."""
    for part in ("train", "valid"):
        for kind in ("images", "labels"):
            (project / "robo" / part / kind).mkdir(parents=True)
            for path in sorted((dataset / kind / "train").iterdir()):
                if (int(path.stem) < 6) == (part == "train"):
                    shutil.copy(path, project / "robo" / part / kind / path.name)
    (project / "robo" / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [a, b, c, d]\n")
    config = yaml.safe_load((project / "config" / "demo.yaml").read_text())
    config |= {"run": "robo", "dataset": {"yaml": "robo/data.yaml"}, "draw": {"images": 0, "seed": 0}}
    config["split"]["calibration"] = 4
    (project / "robo.yaml").write_text(yaml.safe_dump(config))
    stages = (project / "dvc.yaml").read_text()
    stages = stages.replace("&config config/demo.yaml", "&config robo.yaml")
    (project / "dvc.yaml").write_text(stages.replace("data_here: config/parts.names", "data_here: robo"))

    def repro():
        command = ["dvc", "repro", "split_dataset"]
        return subprocess.run(command, cwd=project, env=python_env, capture_output=True, text=True)

    told = repro()
    assert told.returncode != 0 and "is not a git repository" in told.stderr
    git(project, "init", "-q")
    assert repro().returncode == 0
    parts = (project / "results" / "robo" / "dataset" / "parts.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[1] for line in parts) == ["train"] * 4 + ["val"] * 4
    (project / "robo" / "valid" / "labels" / "07.txt").write_text("")
    assert "Running stage 'fetch_dataset'" in repro().stdout
