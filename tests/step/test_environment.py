"""Tests see a user's environment: nothing that their runner has set and that the code reacts to reaches them."""

import os
import re
import subprocess
import sys

from conftest import ROOT
from user_environment import BEGINNINGS, KEPT, NAMES, is_foreign

from lib.npu import toolkit

# Variables of an installation's own: where packages come from, and whom to trust there. set_up.py alone reads them.
OF_THE_INSTALLATION = {
    "LD_LIBRARY_PATH",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "SSL_CERT_FILE",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
}


def test_nothing_of_the_runner_reaches_a_test(python_env):
    assert list(filter(is_foreign, python_env)) == []


def test_what_a_runner_sets_is_taken_away():
    hostile = dict.fromkeys((*NAMES, *(f"{each}ANYTHING" for each in BEGINNINGS), *KEPT), "1")
    hostile |= {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "3", "RKNN_LOG_LEVEL": "0"}
    check = "import conftest, os; print(*sorted(set(conftest.USERS) | set(os.environ)), sep='\\n')"
    environment = os.environ | hostile | {"PYTHONPATH": str(ROOT / "tests")}
    # Read at OpenBLAS's start, so with a value that it knows.
    environment |= {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"}
    done = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True)
    left = done.stdout.split()
    assert set(left) & (set(hostile) | {"PYTHONPATH"}) == set(KEPT) and "PATH" in left


def test_every_variable_that_the_code_asks_for_is_known():
    files = [path for folder in ("scripts", "rules") for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in {".py", ".smk", ".c", ".h"}]
    asked = re.compile(r"""(?:environ|environment|getenv)(?:\.get|\.pop)?[(\[]\s*["'](\w+)["']""")
    names = {name for text in texts for name in asked.findall(text)} | {*toolkit.SWITCHES, *toolkit.SWITCHES_BEGIN}
    names |= set(re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"CC", "LIGHT"} <= names
    assert {name for name in names if not is_foreign(name)} <= OF_THE_INSTALLATION


def test_texts_are_opened_in_an_encoding_of_their_own():
    """The locale's would read and write another file on another machine."""
    command = [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514", "scripts", "benchmarks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    pairs = [(path, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "rules").iterdir())]
    assert [path.name for path, text in pairs if re.search(r"(read_text|write_text)\((?!.*encoding)", text)] == []


def test_what_snakemake_reads_by_the_locale_is_ascii():
    files = [ROOT / "Snakefile", ROOT / "dvc.yaml", *(ROOT / "rules").iterdir(), *(ROOT / "profiles").rglob("*.yaml"),
             *(ROOT / "config").glob("*.yaml"), *(ROOT / "report").iterdir()]  # fmt: skip
    assert [str(path) for path in files if not path.read_bytes().isascii()] == []


def test_every_step_finds_its_library_by_itself(python_env):
    """Python puts a script's folder on its path, but not under PYTHONSAFEPATH."""
    steps = [path for path in (ROOT / "scripts").glob("*.py") if "from lib" in path.read_text(encoding="utf-8")]
    assert len(steps) > 20
    for path in steps:
        before = path.read_text(encoding="utf-8").partition("\nfrom lib")[0]
        assert 'sys.path.insert(0, __file__.rpartition("/")[0])' in before, path.name
    command = [sys.executable, ROOT / "scripts" / "judge.py", "--help"]
    done = subprocess.run(command, env=python_env | {"PYTHONSAFEPATH": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
