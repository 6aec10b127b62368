"""The script that CI runs: jobs side by side are all waited for, and one that fails fails the run."""

import shutil
import subprocess

import pytest
from conftest import ROOT

# In place of the real jobs: the last one of the longer lane takes longest.
JOBS = """
[ "$1" != light ] || sleep 2
[ "$1" != {failing} ] || exit 3
echo "$1 did its work"
"""
BESIDE = ("python3.12", "light", "bare_debian", "closed_stdout")


@pytest.mark.parametrize(("failing", "code"), [("none", 0), ("light", 1), ("bare_debian", 1)])
def test_jobs_side_by_side_are_waited_for_and_a_failed_one_fails_the_run(tmp_path, python_env, failing, code):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / ".ci" / "jobs.sh").write_text(JOBS.replace("{failing}", failing))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run([".ci/run", *BESIDE], cwd=tmp_path, env=python_env, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    for job in BESIDE:
        assert (f"{job} did its work" in done.stdout) == (job != failing)
    assert (f"failed: {failing}" in done.stdout) == bool(code)
