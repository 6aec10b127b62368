"""Build the environment in .venv: a virtual environment with exactly the locked packages.

Needs Python 3.10 to 3.12 on Linux x86-64 and a package index, nothing else; runs on any Python to say so. The installer
(uv, pinned) is put into .venv first. The index is the one that pip or uv is configured to use on this machine.
With --docs it builds .venv-docs, which holds only what makes the documentation.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ((3, 10), (3, 11), (3, 12))
ROOT = Path(__file__).resolve().parent.parent


def main():
    """Check the machine, then install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="build the environment of the documentation instead")
    docs = parser.parse_args().docs
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return fail(
            f"this is {platform.system()} on {platform.machine()}, but rknn-toolkit2 exists for Linux on x86-64 alone; "
            "use such a machine, a virtual machine or a container"
        )
    if sys.version_info[:2] not in SUPPORTED:
        return with_another_python()
    venv = ROOT / (".venv-docs" if docs else ".venv")
    lock = ROOT / "requirements" / ("docs.txt" if docs else f"py{sys.version_info[0]}{sys.version_info[1]}.txt")
    size = "" if docs else " (5.9 GB, most of it CUDA libraries that torch needs)"
    try:
        install(venv, lock, size)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(venv, ignore_errors=True)
        return fail(f"'{' '.join(map(str, error.cmd[:4]))} …' failed; its output is above. Mend that and run it again")
    print(f"environment ready in {venv.name}")
    return 0


def with_another_python():
    """Hand over to the newest supported Python on the PATH."""
    for major, minor in reversed(SUPPORTED):
        other = shutil.which(f"python{major}.{minor}")
        if other and subprocess.run([other, "--version"], capture_output=True).returncode == 0:
            return subprocess.run([other, __file__, *sys.argv[1:]]).returncode
    found = platform.python_version()
    return fail(
        f"Python {found} is too old or too new; install Python 3.10, 3.11 or 3.12, or name it: make setup PYTHON=…"
    )


def install(venv, lock, size):
    """Make the environment anew when its Python differs, then install exactly what `lock` lists; `size` is printed."""
    python = venv / "bin" / "python"
    if not runs_this_version(python):
        shutil.rmtree(venv, ignore_errors=True)
        run(sys.executable, "-m", "venv", venv)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
        "-r", ROOT / "requirements" / "uv.txt")  # fmt: skip
    print(f"installing the packages of {lock.relative_to(ROOT)}{size}")
    run(
        venv / "bin" / "uv",
        "pip",
        "sync",
        "--quiet",
        "--python",
        python,
        "--require-hashes",
        # Every step is a process of its own. Where Python may not write bytecode, each would compile its imports anew.
        "--compile-bytecode",
        lock,
        env=index_of_pip(python),
    )


def runs_this_version(python):
    """Whether `python` works and is of the version that runs this."""
    if not python.exists():
        return False
    version = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", version], capture_output=True, text=True)
    return answer.stdout.split() == [str(sys.version_info[0]), str(sys.version_info[1])]


def index_of_pip(python):
    """The environment for uv: where pip is told of an index and uv is not, uv gets pip's."""
    environment = dict(os.environ)
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(environment):
        command = [python, "-m", "pip", "config", "get", "global.index-url"]
        configured = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        index = environment.get("PIP_INDEX_URL") or configured
        if index:
            environment["UV_DEFAULT_INDEX"] = index
    return environment


def run(*command, env=None):
    """Run a command; raises CalledProcessError when it fails."""
    subprocess.run(list(map(str, command)), check=True, env=env)


def fail(message):
    """Print one sentence; returns the exit code."""
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
