"""Snakemake's rules and DVC's stages of one name are the same: command, inputs and outputs, on the bundled example."""

import argparse
import importlib
import re
import shlex
import subprocess
from pathlib import Path, PurePath
from typing import NamedTuple
from unittest import mock

import pytest
import yaml
from conftest import ROOT, copy_project
from test_workflow import run_snakemake

from lib.step.arguments import StepParser
from lib.step.workflow import laid_over, options

CONFIG = "config/demo.yaml"
SOURCES = "results/demo/sources"
# What runs when it is asked for, which `dvc repro` cannot leave out; and what only DVC needs.
RULES_ALONE = {
    "all", "board", "calibration_study", "evaluate_draws", "evaluate_for_study", "frontier", "quantize_for_study",
    "sample_for_study", "toolkit_study",
}  # fmt: skip
STAGES_ALONE = {"sources"}
# What one driver alone depends on. A stage cannot depend on a list in the config, which may hold URLs, nor on another
# stage of its matrix (of which the heads `split` and `single` would be one). A rule gets the config in its command.
INPUTS_OF_RULES_ALONE = {"download_weights": {"example/parts4.pt"}}
INPUTS_OF_STAGES_ALONE = {"make_report": {CONFIG}}
# A stage hands over the whole block `dataset`, its name included, and what a data set that comes in parts needs; a rule
# hands that over where there are parts.
OPTIONS_OF_STAGES_ALONE = {"fetch_dataset": {"name"}}


class Job(NamedTuple):
    """One job of a rule, or one stage of a matrix."""

    command: str
    inputs: frozenset[str]
    outputs: frozenset[str]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project whose rules have no message, so that a dry run lists inputs and outputs.

    Its config gives no two options of a step the same value, so that one in the place of the other is seen.
    """
    project = copy_project(tmp_path_factory.mktemp("drivers"))
    config = yaml.safe_load((project / CONFIG).read_text())
    config["models"]["parts4"]["weights"].append("https://example.org/parts4.pt")
    config["dataset"].update(archive=["drawn", "https://example.org/parts.zip"], sha256="0" * 64)
    config["evaluation"] = {"images": "all", "part": "test", "class_order": "other", "resamples": 7, "seed": 5,
                            "oks_sigmas": "coco", "operating": "precision=0.9",
                            "simulator": "toolkit"}  # fmt: skip
    config["export"] = {"opset": 17, "end2end": True}
    config["verdict"].update(stop=True, cma_mb=33, camera_mb=5, clock_mhz=500)
    config.update(platform="rv1103", bundle="all")
    (project / CONFIG).write_text(yaml.safe_dump(config))
    lines = ["include: 'Snakefile'", "for described in workflow.rules:", "    described.message = None"]
    (project / "listed.smk").write_text("\n".join(lines))
    return project


@pytest.fixture(scope="module")
def jobs(project, python_env) -> dict[str, list[Job]]:
    """Every job that Snakemake would run for the bundled example and its bundle, by rule."""
    # So many cores give two processes to each of the eight variants, as dvc.yaml does.
    arguments = ["all", "bundle", "-n", "--printshellcmds", "--forceall", "--cores", "16", "--configfile", CONFIG]
    done = run_snakemake(project, python_env, "-s", "listed.smk", *arguments)
    assert done.returncode == 0, done.stdout
    planned = {}
    for name, text in re.findall(r"^(?:local)?rule (\w+):\n(.*?)(?=^\[|\Z)", done.stdout, re.M | re.S):
        files = dict(re.findall(r"^    (input|output): (.*)$", text, re.M))
        inputs, outputs = (
            frozenset(files[kind].split(", ")) if kind in files else frozenset() for kind in ("input", "output")
        )
        if name != "all":
            command = re.search(r"^(?:Shell command: )?(python .*)", text, re.M)[1]
            planned.setdefault(name, []).append(Job(command, inputs, outputs))
    return planned


@pytest.fixture(scope="module")
def stages(project) -> dict[str, list[Job]]:
    """Every stage of dvc.yaml as DVC resolves it, by the name before its `@`."""
    from dvc.repo import Repo

    resolved = {}
    for stage in Repo(str(project), config={"core": {"no_scm": True}}).index.stages:
        inputs, outputs = (frozenset(item.def_path for item in items) for items in (stage.deps, stage.outs))
        resolved.setdefault(stage.name.split("@")[0], []).append(Job(stage.cmd, inputs, outputs))
    return resolved


ALL_STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].keys() - STAGES_ALONE
# One stage makes what Snakemake makes in a job per variant: DVC cannot tell which of `layers` are in the sweep.
GATHERED = "analyse_layers"
STAGES = sorted(ALL_STAGES - {GATHERED})


def test_every_rule_has_its_stage(jobs, stages):
    text = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")])
    rules = set(re.findall(r"^(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE))
    assert stages.keys() - STAGES_ALONE == rules - RULES_ALONE == jobs.keys() == ALL_STAGES


@pytest.mark.parametrize("name", STAGES)
def test_outputs_are_the_same(jobs, stages, name):
    assert by_outputs(jobs[name]).keys() == by_outputs(stages[name]).keys()
    assert len(jobs[name]) == len(stages[name]) == len(by_outputs(jobs[name]))


def test_the_stage_of_all_analyses_makes_what_the_jobs_of_its_rule_make(jobs, stages, project, monkeypatch):
    [stage], rules_jobs = stages[GATHERED], jobs[GATHERED]
    assert len(rules_jobs) == 2 and stage.outputs == {"results/demo/layers"}
    assert all(is_in(path, "results/demo/layers") for job in rules_jobs for path in job.outputs)
    inputs = {path for job in rules_jobs for path in job.inputs if not path.startswith("scripts/")}
    assert all(any(is_in(path, folder) for folder in stage.inputs) for path in inputs)
    monkeypatch.chdir(project)
    theirs, ours = understood(rules_jobs[0].command), understood(stage.command)
    for option in ("platform", "dataset", "names"):
        assert theirs[option] == ours[option]
    layers = yaml.safe_load((project / CONFIG).read_text())["layers"]
    assert {key: ours[key] for key in layers} == layers


def by_outputs(jobs: list[Job]) -> dict[frozenset[str], Job]:
    return {job.outputs: job for job in jobs}


@pytest.mark.parametrize("name", STAGES)
def test_commands_mean_the_same(jobs, stages, name, project, monkeypatch):
    monkeypatch.chdir(project)
    for outputs, job in by_outputs(jobs[name]).items():
        rule, stage = (understood(each.command) for each in (job, by_outputs(stages[name])[outputs]))
        different = {option for option in rule.keys() | stage.keys() if rule.get(option) != stage.get(option)}
        assert different == OPTIONS_OF_STAGES_ALONE.get(name, {"other"} if ranges_of_single(name, outputs) else set())


def ranges_of_single(name: str, outputs: frozenset[str]) -> set[str]:
    """The table that measure_ranges makes for the head `single`, which its rule uses for the head `split`."""
    [output, *_] = outputs
    is_of_split = name == "measure_ranges" and PurePath(output).stem == "split"
    return {str(PurePath(output).with_stem("single"))} if is_of_split else set()


def understood(command: str) -> dict:
    """What the step makes of its command line: its name, its options under their new names, defaults included."""
    program, path, *words = shlex.split(command)
    assert program == "python"
    step = PurePath(path)
    assert str(step.parent) == "scripts"

    class Understood(Exception):
        pass

    def parse(parser, argv):
        raise Understood(argparse.ArgumentParser.parse_args(parser, argv))

    with mock.patch.object(StepParser, "parse_args", parse), pytest.raises(Understood) as ended:
        importlib.import_module(step.stem).main(words)
    values = vars(ended.value.args[0])
    if step.stem == "make_report":  # the config as JSON, or a file of it
        text = values["config"]
        config = yaml.safe_load(text if text.startswith("{") else Path(text).read_text())
        values["config"] = laid_over(yaml.safe_load(Path("config/config.yaml").read_text()), config)
    return {"step": step.stem, **values}


def test_an_exported_model_and_its_input_are_handed_over_alike(project, monkeypatch):
    """By the rule's own function and by DVC's own reading of a stage's text, for a block that holds all a model can."""
    from dvc.parsing.interpolate import to_str

    monkeypatch.chdir(project)
    mean = {"mean": [1, 2.5, 3], "std": [0.5], "letterbox": "top_left", "fill": 0}
    model = {"onnx": ["https://example.org/a.onnx", "b.onnx"], "sha256": ["0" * 64, "1" * 64],
             "input": {"channels": "bgr", "scale": 1, **mean}}  # fmt: skip
    end = ["--output", "theirs"]
    rule, stage = (
        understood(shlex.join(["python", "scripts/download_weights.py", *words, *end]))
        for words in (options(model), shlex.split(to_str(model)))
    )
    assert rule == stage and rule["onnx"] == model["onnx"] and rule["input.mean"] == [1, 2.5, 3]


@pytest.mark.parametrize("name", STAGES)
def test_inputs_are_the_same(jobs, stages, name):
    for outputs, job in by_outputs(jobs[name]).items():
        stage = by_outputs(stages[name])[outputs]
        rules_inputs = {path for path in job.inputs if not path.startswith("scripts/")}
        stages_inputs = {path for path in stage.inputs if not path.startswith(("scripts/", SOURCES))}
        # A stage that gathers all variants depends on their folder: its text cannot follow the sweep.
        missing = {path for path in rules_inputs if not any(is_in(path, dep) for dep in stages_inputs)}
        unused = {dep for dep in stages_inputs if not any(is_in(path, dep) for path in rules_inputs)}
        assert missing == INPUTS_OF_RULES_ALONE.get(name, ranges_of_single(name, outputs))
        assert unused == INPUTS_OF_STAGES_ALONE.get(name, set())


def is_in(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return PurePath(path).is_relative_to(folder)


@pytest.fixture(scope="module")
def listed(project, stages, python_env) -> dict[str, set[str]]:
    """The files of each step, as the stage `sources` lists them, by the list's path."""
    command = stages["sources"][0].command
    subprocess.run(shlex.split(command), cwd=project, env=python_env, check=True, capture_output=True)
    lists = sorted((project / SOURCES).iterdir())
    return {f"{SOURCES}/{path.name}": {line.split("  ")[1] for line in path.read_text().splitlines()} for path in lists}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_files_of_its_step_as_the_rule_does(jobs, stages, name, listed):
    sources = {path for path in jobs[name][0].inputs if path.startswith("scripts/")}
    for stage in stages[name]:
        script, list_path = sorted(
            (path for path in stage.inputs if path.startswith(("scripts/", SOURCES))), reverse=True
        )
        assert stage.command.startswith(f"python {script} ")
        assert listed[list_path] == sources and script in sources


def test_a_list_changes_with_the_files_of_its_step_alone(project, listed, python_env):
    def lists():
        command = ["python", "scripts/list_sources.py", "--output", "lists"]
        subprocess.run(command, cwd=project, env=python_env, check=True, capture_output=True)
        return {f"{SOURCES}/{path.name}": path.read_bytes() for path in (project / "lists").iterdir()}

    before = lists()
    for edited in ("scripts/lib/results/plots.py", "scripts/judge.py", "scripts/lib/bundle/decode.h"):
        text = (project / edited).read_text()
        (project / edited).write_text(text + "\n")
        changed = {name for name, content in lists().items() if content != before[name]}
        assert changed == {name for name, files in listed.items() if edited in files} != set()
        (project / edited).write_text(text)
    assert lists() == before
    subprocess.run(["sha256sum", "--check", "--quiet", "lists/judge.txt"], cwd=project, check=True)
