"""Temporary files go with the process that made them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import ROOT

from lib.step.scratch import scratch_folder

SLEEPER = """
import signal, sys, tempfile, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and hands down
sys.path.insert(0, sys.argv[1])
from lib.step.scratch import scratch_folder
with scratch_folder(), tempfile.TemporaryDirectory() as inside:
    print(inside, flush=True)
    time.sleep(100)
"""


def test_it_is_gone_at_the_end_and_temporary_files_go_elsewhere_again():
    before = tempfile.gettempdir()
    with scratch_folder() as folder, tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent == folder
    assert not folder.exists() and tempfile.gettempdir() == before


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_nothing(tmp_path, ended_by):
    command = [sys.executable, "-c", SLEEPER, ROOT / "scripts"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert Path(process.stdout.readline().strip()).is_relative_to(tmp_path)
        os.killpg(process.pid, ended_by)
        assert process.wait(20) == -ended_by
    deadline = time.monotonic() + 20
    while list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
