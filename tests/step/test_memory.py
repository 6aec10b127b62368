"""A step that gets no memory says so in one sentence; any other error is no lack of memory."""

import ast
import resource
import subprocess
import sys

import pytest
from conftest import ROOT

STEP = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from lib.step.errors import run_step
if sys.argv[2] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
def main():
    exec(sys.argv[3])
sys.exit(run_step(main))
"""


@pytest.mark.parametrize(
    ("limit", "work", "said"),
    [
        ("limited", "bytearray(4 << 30)", "error: memory ran out (MemoryError: ); ulimit -v allows 3072 MB of memory"),
        ("none", "raise MemoryError('of 9 TB')", "error: memory ran out (MemoryError: of 9 TB)"),
        ("limited", "raise RuntimeError('Could not allocate bytes object!')", "error: memory ran out (RuntimeError: "),
    ],
)
def test_no_memory_is_one_sentence(limit, work, said):
    done = subprocess.run([sys.executable, "-c", STEP, ROOT / "scripts", limit, work], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(said) and done.stderr.count("\n") == 1


@pytest.mark.parametrize("limit", ["limited", "none"])
def test_another_error_is_none_of_that(limit):
    work = "raise RuntimeError('something else')"
    done = subprocess.run([sys.executable, "-c", STEP, ROOT / "scripts", limit, work], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize(("limit", "option"), [(resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d")])
def test_too_little_memory_to_begin_is_one_sentence_of_every_step(limit, option):
    """Before NumPy and the like are imported: they end in a traceback, or hang."""
    own = resource.getrlimit(limit)[1]
    steps = sorted({*(ROOT / "scripts").glob("*.py")} - {ROOT / "scripts" / "set_up.py"})
    started = [
        subprocess.Popen(
            [sys.executable, step, "--help"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(limit, (100 << 20, own)),
        )
        for step in steps
    ]
    try:
        words = [process.communicate(timeout=60)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    ends = {step.name: (process.returncode, said) for step, process, said in zip(steps, started, words)}
    assert set(ends.values()) == {(2, words[0])}, ends
    assert words[0].startswith(f"error: ulimit {option} allows 100 MB of memory, and no step begins with less than")
    assert words[0].count("\n") == 1


LIGHT = {*sys.stdlib_module_names, "lib", "tqdm", "yaml"}


@pytest.mark.parametrize("step", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_a_step_looks_at_its_memory_before_it_imports_what_needs_much(step):
    """What NumPy does without memory depends on the machine: it may fail, or wait for ever."""
    nodes = [node for node in ast.parse(step.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes]
    packages = [name.split(".")[0] for name in names]
    heavy = [package for package in packages if package not in LIGHT]
    assert not heavy or "lib" in packages[: packages.index(heavy[0])]
