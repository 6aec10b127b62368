"""The workflow runs from any folder by -s and by --directory; results are in the working folder."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import CUT, ROOT
from test_workflow import run_snakemake


@pytest.fixture
def work(tmp_path):
    """A working folder with nothing but an overlay."""
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump(CUT))
    return tmp_path


@pytest.mark.toolkit
def test_a_snakefile_elsewhere_gives_its_results_to_the_working_folder(elsewhere, cut_run, python_env):
    work = cut_run.parent.parent
    table = (cut_run / "table.csv").read_text()
    assert table.startswith("model,imgsz,head") and len(table.splitlines()) == 2
    # The workflow's own folder stays as it is, and no result names it.
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    here = {str(path.relative_to(elsewhere)) for path in elsewhere.rglob("*") if path.is_file()}
    assert {name for name in here if not name.endswith(".pyc")} <= set(listed.stdout.splitlines())
    report = (cut_run / "report.html").read_text()
    assert str(elsewhere) not in report and "config/parts.names" in report
    run = ["-j2", "-s", elsewhere / "Snakefile", "--configfile", "cut.yaml"]
    assert "Nothing to be done" in run_snakemake(work, python_env, *run).stdout


def test_directory_is_where_results_go_and_what_relative_paths_mean_first(elsewhere, work, python_env):
    (work / "config").mkdir()
    (work / "config" / "parts.names").write_text("a\nb\nc\nd\n")
    run = ["-j2", "--directory", work, "--configfile", work / "cut.yaml", "--until", "split_dataset"]
    done = run_snakemake(elsewhere, python_env, *run, "--printshellcmds")
    assert done.returncode == 0, done.stdout
    assert (work / "results" / "cut" / "dataset" / "split.csv").is_file()
    assert not (elsewhere / "results").exists()
    # The working folder's own file of names was taken, not the workflow's.
    assert re.search(r"--names config/parts\.names", done.stdout)


def test_a_config_of_the_working_folder_lies_over_the_workflows_own(elsewhere, work, dry_run):
    (work / "config").mkdir()
    (work / "config" / "config.yaml").write_text(yaml.safe_dump(CUT))
    output = dry_run(work, "-s", elsewhere / "Snakefile").stdout
    assert "results/cut/table.csv" in output and re.search(r"^quantize +1$", output, re.M)


def test_the_bundled_example_under_another_name(project, python_env):
    run = ["--configfile", "config/demo.yaml", "--config", "run=other", "draw={images: 40}", "--until", "split_dataset"]
    done = run_snakemake(project, python_env, "-j2", *run)
    assert done.returncode == 0, done.stdout
    assert len(list((project / "results/other/dataset/images").glob("*.jpg"))) == 40
    assert [path.name for path in (project / "results").iterdir()] == ["other"]


def test_drawn_images_that_nobody_draws_are_told_before_anything_runs(project, dry_run):
    done = dry_run(project, "--configfile", "config/demo.yaml", "--config", "draw={images: 0}")
    assert done.returncode == 1
    assert "dataset.archive names 'drawn', the images that the run draws itself, but draw.images is 0" in done.stdout


def test_a_package_of_the_users_that_is_called_lib_is_told(elsewhere, work, python_env):
    (work / "lib").mkdir()
    (work / "lib" / "__init__.py").touch()
    (work / "Snakefile").write_text(
        f'import sys\nsys.path.insert(0, ".")\nimport lib\nmodule rv1106:\n    snakefile: "{elsewhere}/Snakefile"\n'
        "use rule * from rv1106\n"
    )
    done = run_snakemake(work, python_env, "-n")
    assert done.returncode == 1
    assert "another package is called 'lib'" in done.stdout and "rename it" in done.stdout


def test_no_rule_names_a_file_of_the_workflow_by_a_path_from_the_working_folder():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        found = re.search(r"python scripts/|^ +\"scripts/", path.read_text(), re.M)
        assert not found, f"{path}: use step(), of_workflow()"


def test_a_script_finds_lib_from_any_folder(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "draw_scenes.py", "--count", "2", "--seed", "0", "--output", "new"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "new" / "images").iterdir())) == 2
