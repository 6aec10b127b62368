"""One command and no line of config: from a checkpoint and a data set to table, report and bundle."""

import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT, SNAKEMAKE_7


@pytest.mark.toolkit
def test_one_command_makes_everything_and_ends_with_what_to_take(cut_run, tmp_path, python_env):
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc): the bundle is proven")
    command = [sys.executable, ROOT / "scripts" / "start.py", ROOT / "example" / "parts4.pt", cut_run / "dataset",
               "--board", "luckfox-pico-pro", "--imgsz", "96", "--max-images", "4", "--cores", "2"]  # fmt: skip

    def start():
        done = subprocess.run(command, cwd=tmp_path, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    said, beside = start()
    assert len(said) + len(beside) <= 40 or SNAKEMAKE_7
    said = said[said.index("  layers: {model: [parts4], imgsz: [96], max_images: [4], head: [split]}  "
                           "# where INT8 loses accuracy") + 1 :]  # fmt: skip
    assert [line.split()[0] for line in said] == ["best", "report", "threshold", "bundle", "next"]
    results = tmp_path / "results" / "mine"
    assert (results / "report.html").is_file() and "luckfox-pico-pro" in (results / "report.html").read_text()
    assert (results / "bundle/parts4/96/split/normal-4/model.rknn").is_file()
    assert said[-1].startswith(f"next       snakemake -s {ROOT / 'Snakefile'} -j4 board --configfile mine.yaml")
    # Nothing to do, and the same answer.
    again, _ = start()
    assert again[-5:] == said


def test_a_signal_to_the_command_reaches_its_run(tmp_path):
    program = tmp_path / "snakemake"
    program.write_text("#!/bin/sh\ntrap 'echo ended in order; exit 3' TERM\ntouch begun\nwhile :; do sleep 0.1; done\n")
    program.chmod(0o755)
    run = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import start; from pathlib import Path\n"
    run += f"sys.executable = {str(tmp_path / 'python')!r}; sys.exit(start.run(Path('x'), '', '1', []))"
    with subprocess.Popen([sys.executable, "-c", run], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as command:
        for _ in range(300):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.1)
        command.terminate()
        assert command.communicate(timeout=60)[0] == "ended in order\n"
    assert command.returncode == 3
