"""A machine that is set up in another way: locale, umask, path, streams, Python's settings, a read-only checkout."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import CUT, ROOT, SNAKEMAKE_7, copy_project

pytestmark = pytest.mark.toolkit

# No letter but ASCII's, and Python's way around that switched off; no folder of a script on its path.
FOREIGN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONSAFEPATH": "1"}
# Standard output closed; only the owner may read what is made.
CLOSED = ["sh", "-c", 'umask 077; exec "$@" >&-', "sh"]


def files_in(folder) -> dict:
    """Each file below a folder, but Python's own cache, and when it was changed."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


MODULE = """
configfile: "cut.yaml"
module rv1106:
    snakefile: "../workflow of others/Snakefile"
    config: config
    prefix: "int8"
use rule * from rv1106 as rv1106_*
rule best:
    default_target: True
    input: "int8/results/cut/table.csv"
    output: "best.csv"
    shell: "cp {input} {output}"
"""


@pytest.mark.skipif(SNAKEMAKE_7, reason="a prefix needs Snakemake 8 (docs/elsewhere.md)")
def test_as_a_module_with_a_prefix_and_an_overlay_it_gives_the_same_table(tmp_path, cut_run, python_env):
    # In this locale Snakemake's lock takes no other letters in the path of a module, whose files it names as a whole.
    workflow, work = copy_project(tmp_path / "workflow of others"), tmp_path / "Größe in mm"
    work.mkdir()
    (work / "cut.yaml").write_text(yaml.safe_dump(CUT))
    (work / "Snakefile").write_text(MODULE)
    before = files_in(workflow)
    for folder in [workflow, *(path for path in workflow.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    environment = python_env | FOREIGN
    try:
        done = subprocess.run([*CLOSED, "snakemake", "-j2"], cwd=work, env=environment, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        again = subprocess.run(["snakemake", "-n"], cwd=work, env=environment, capture_output=True)
    finally:
        for folder in [workflow, *(path for path in workflow.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
    assert b"Nothing to be done" in again.stdout
    assert (work / "best.csv").read_bytes() == (cut_run / "table.csv").read_bytes()
    assert {path.name for path in work.iterdir()} == {".snakemake", "Snakefile", "best.csv", "cut.yaml", "int8"}
    # Root is not kept from writing, so that is looked at.
    assert files_in(workflow) == before
    results = [path for path in (work / "int8" / "results").rglob("*") if path.is_file()]
    assert [str(path) for path in results if path.stat().st_mode & 0o077] == []


def test_the_one_shot_command_converts(split_onnx, listed, python_env, tmp_path):
    output = tmp_path / "Größe in mm" / "model.rknn"
    output.parent.mkdir()
    pool = next(listed.parent.glob("letterboxed pool*"))
    command = [sys.executable, ROOT / "scripts" / "onnx_to_rknn.py", split_onnx, "--dataset", pool, "-o", output]
    done = subprocess.run([*CLOSED, *map(str, command)], env=python_env | FOREIGN, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert output.read_bytes()[:4] == b"RKNN" and [path.name for path in output.parent.iterdir()] == ["model.rknn"]
    # Its lines go to standard error, where the terminal is when a log takes the rest.
    assert re.search(rf"made +{output}: [\d.]+ MB for rv1106", done.stderr.decode())
