"""Build the environment in .venv: a virtual environment with exactly the locked packages.

Needs only Linux on x86-64 and a package index; for aarch64 there is a lock, but it was never tried. Any Python from 3.6
on can run this: if it is not 3.10 to 3.12, one of these on the PATH takes over; otherwise uv downloads Python 3.12. The
installer (uv, pinned) is installed into .venv first. Index and certificates are those that pip or uv is configured to
use. With --light it leaves out Ultralytics and torch: exported models can be converted, checkpoints cannot. With --docs
it builds .venv-docs, with only the packages for the documentation. With --toolkit it adds another version of
rknn-toolkit2 beside .venv, in .toolkits, for the key `toolkit` of the config.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUPPORTED = ((3, 10), (3, 11), (3, 12))
ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

# Size of the environment on disk, in GB. On x86-64 most of it is CUDA libraries, without which torch cannot be
# imported. For aarch64 it is estimated from the wheels.
SIZES = {"x86_64": 6.3, "aarch64": 2.0}
LIGHT_SIZE = 1.3
TOOLKIT_SIZE = 0.2

# What venv, pip and uv print when they fail, and what it means; the first match is reported.
CAUSES = (
    (
        r"ensurepip is not\s+available|No module named '?(venv|ensurepip)",
        "this Python has no venv module; on Debian and Ubuntu run: sudo apt-get install python3-venv",
    ),
    (
        r"No space left on device|os error 28\b|Disk quota exceeded",
        "the disk is full; free some space, or move the project and uv's cache (UV_CACHE_DIR) to a larger disk",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer|self[- ]signed certificate",
        "the TLS certificate of the package index is not trusted, as behind a company's proxy; name the file with "
        "the system's or the company's certificate authority: "
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt make setup",
    ),
    (
        r"command '[^']*(gcc|cc|clang)' failed|Python\.h: No such file|No such file or directory: '[^']*(gcc|cc)'",
        "a package without a wheel for this Python needs a C compiler; on Debian and Ubuntu run: "
        "sudo apt-get install gcc python3-dev; or use another Python: make setup PYTHON=python3.12",
    ),
    (
        r"error sending request|dns error|Connection refused|Max retries exceeded|timed out|No matching distribution",
        "the package index does not answer, or lacks what the lock names; 'pip config list' shows which it is, "
        "PIP_INDEX_URL names another",
    ),
)


class SetUpError(Exception):
    """The environment cannot be built; the message is one sentence for the user."""


def main():
    """Check the machine, then install; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--docs", action="store_true", help="build the environment of the documentation instead")
    kind.add_argument("--light", action="store_true", help="without Ultralytics and torch")
    kind.add_argument("--toolkit", metavar="VERSION", help="add this version of rknn-toolkit2 beside .venv")
    args = parser.parse_args()
    venv = ROOT / (".venv-docs" if args.docs else ".venv")
    try:
        if args.toolkit is not None:
            print(f"rknn-toolkit2 {args.toolkit} ready in {add_toolkit(venv, args.toolkit).relative_to(ROOT)}")
            return 0
        check_platform()
        if sys.version_info[:2] not in SUPPORTED:
            return with_another_python()
        if args.docs:
            install(venv, REQUIREMENTS / "docs.txt")
        elif args.light:
            install(venv, lock(), LIGHT_SIZE, not_light())
        else:
            install(venv, lock(), SIZES[platform.machine()])
    except SetUpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"environment ready in {venv.name}")
    return 0


def check_platform():
    """Raise SetUpError on a system for which there is no toolkit."""
    if sys.platform != "linux" or platform.machine() not in SIZES:
        raise SetUpError(
            f"this is {platform.system()} on {platform.machine()}, but rknn-toolkit2 exists only for Linux on x86-64 "
            "and aarch64; use such a machine, a virtual machine, WSL2, or a container (see the file Containerfile)"
        )


def lock():
    """The lock file for this Python on this processor."""
    suffix = "-aarch64" if platform.machine() == "aarch64" else ""
    return REQUIREMENTS / f"py{sys.version_info[0]}{sys.version_info[1]}{suffix}.txt"


def not_light():
    """A pattern for the packages that a light environment lacks."""
    lines = (REQUIREMENTS / "not-light.txt").read_text(encoding="utf-8").splitlines()
    names = [re.escape(line).replace(r"\*", r"[^=\s]*") for line in lines if line and not line.startswith("#")]
    return re.compile("(?:{})==".format("|".join(names)))


def without(left_out, lock):
    """The text of a lock without the packages that begin with `left_out`; a package's further lines are indented."""
    packages = re.split(r"^(?=\S)", lock.read_text(encoding="utf-8"), flags=re.M)
    return "".join(package for package in packages if not left_out.match(package))


def with_another_python():
    """Run this with the newest supported Python on the PATH, else with one that uv downloads; return its exit code."""
    this = f"this is Python {platform.python_version()}, and the toolkit exists only for Python 3.10, 3.11 and 3.12"
    for major, minor in reversed(SUPPORTED):
        other = shutil.which(f"python{major}.{minor}")
        if other and subprocess.call([other, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return subprocess.call([other, __file__] + sys.argv[1:])
    if sys.version_info < (3, 8):  # noqa: UP036 - uv does not exist for it
        raise SetUpError(f"{this}; install one of them, or name it: make setup PYTHON=/path/to/python3.12")
    newest = "{}.{}".format(*SUPPORTED[-1])
    print(f"{this}; none of them is on the PATH, so uv downloads a Python {newest} into the home folder", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        uv = install_uv(Path(folder))
        try:
            run(uv, "python", "install", "--quiet", "--no-bin", newest)
        except SetUpError as error:
            raise SetUpError(
                f"uv could not download Python {newest}; install Python 3.10, 3.11 or 3.12 by other means and name it "
                "(make setup PYTHON=/path/to/python3.12), or name a mirror of the downloads in UV_PYTHON_INSTALL_MIRROR"
            ) from error
        python = run(uv, "python", "find", "--managed-python", newest).strip()
    return subprocess.call([python, __file__] + sys.argv[1:])


def install(venv, lock, size=None, left_out=None):
    """Make the environment again if its Python differs, then install exactly what `lock` lists, without `left_out`.

    `size` is its size on disk in GB, or None if that is negligible. An environment that cannot be finished is removed.
    """
    try:
        # The mark that Make checks: a light environment must not be taken for a full one.
        for ready in venv.glob(".ready-*"):
            ready.unlink()
        if not runs_this_version(venv / "bin" / "python"):
            shutil.rmtree(str(venv), ignore_errors=True)
        uv = install_uv(venv)
        environment = settings_of_pip(venv / "bin" / "python")
        if size:
            check_room(size, venv, Path(run(uv, "cache", "dir").strip()))
        takes = f" ({size} GB)" if size else ""
        print(f"installing the packages of {lock.relative_to(ROOT)}{takes}", flush=True)
        options = ["--quiet", "--require-hashes", "--python", venv / "bin" / "python"]
        # Every step is a process of its own. If Python may not write bytecode, each would compile its imports again; if
        # it may, each module is compiled when it is first imported, which happens to a fifth of what is installed.
        if sys.dont_write_bytecode:
            options.append("--compile-bytecode")
        if left_out is None:
            run(uv, "pip", "sync", *options, lock, env=environment)
            return
        with tempfile.TemporaryDirectory() as folder:
            shorter = Path(folder, lock.name)
            shorter.write_text(without(left_out, lock), encoding="utf-8")
            run(uv, "pip", "sync", *options, shorter, env=environment)
    except SetUpError:
        shutil.rmtree(str(venv), ignore_errors=True)
        raise


def add_toolkit(venv, version):
    """Install a version of the toolkit in a folder of its own, without its packages: the environment's are used.

    Returns the folder, which is made whole or not at all. lib.npu.toolkit_versions looks for it.
    """
    python, uv = venv / "bin" / "python", venv / "bin" / "uv"
    if not uv.exists():
        raise SetUpError("there is no environment yet, in which the toolkit would run; run: make setup")
    locks = {path.name[: -len(".txt")]: path for path in sorted(REQUIREMENTS.glob("toolkits/*.txt"))}
    if version not in locks:
        known = ", ".join(locks)
        raise SetUpError(
            f"'{version}' is not a version that can be added; choose one: make toolkit VERSION=2.2.0 (known: {known})"
        )
    short = run(python, "-c", "import sys; print('py%d%d' % sys.version_info[:2])").strip()
    folder = ROOT / ".toolkits" / f"{version}-{short}"
    environment = settings_of_pip(python)
    check_room(TOOLKIT_SIZE, folder, Path(run(uv, "cache", "dir").strip()))
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(folder.parent)) as scratch:
        part = Path(scratch, folder.name)
        print(f"installing rknn-toolkit2 {version} ({TOOLKIT_SIZE} GB)", flush=True)
        options = ["--quiet", "--no-deps", "--require-hashes", "--compile-bytecode", "--python", python]
        run(uv, "pip", "install", *options, "--target", part, "-r", locks[version], env=environment)
        shutil.rmtree(str(folder), ignore_errors=True)
        part.rename(folder)
    return folder


def runs_this_version(python):
    """Whether `python` works and has the version that runs this."""
    if not python.exists():
        return False
    version = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([str(python), "-c", version], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return answer.stdout.split() == [b"%d" % part for part in sys.version_info[:2]]


def install_uv(venv):
    """Put the pinned uv into `venv`, which is made if it is not there; returns the program's path."""
    python = venv / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", venv)
    environment = dict(os.environ)
    # Versions of pip differ in what they trust; OpenSSL's and uv's variable is used for all.
    if "SSL_CERT_FILE" in environment and not {"PIP_CERT", "REQUESTS_CA_BUNDLE"} & set(environment):
        environment["PIP_CERT"] = environment["SSL_CERT_FILE"]
    # Without --quiet, because with it pip does not report an unknown certificate.
    options = ["--disable-pip-version-check", "--require-hashes"]
    run(python, "-m", "pip", "install", *options, "-r", REQUIREMENTS / "uv.txt", env=environment)
    return venv / "bin" / "uv"


def settings_of_pip(python):
    """The environment for uv: if pip has an index or certificates configured and uv has none, uv gets pip's."""
    environment = dict(os.environ)

    def configured(variable, key):
        command = [str(python), "-m", "pip", "config", "get", key]
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        return environment.get(variable) or answer.decode().strip()

    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(environment):
        index = configured("PIP_INDEX_URL", "global.index-url")
        if index:
            environment["UV_DEFAULT_INDEX"] = index
    if not {"SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS"} & set(environment):
        certificates = configured("PIP_CERT", "global.cert")
        if certificates:
            environment["SSL_CERT_FILE"] = certificates
    return environment


def check_room(size, venv, cache):
    """Raise SetUpError if `size` GB certainly do not fit on the disk of `venv`.

    Existing files are counted: an older environment and, on the same disk, uv's cache, whose files are linked.
    """
    room = shutil.disk_usage(str(ROOT)).free
    for folder in (venv, cache):
        if room < size * 1e9 and folder.exists() and folder.stat().st_dev == ROOT.stat().st_dev:
            room += sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    if room < size * 1e9:
        raise SetUpError(
            f"the environment takes {size} GB, but the disk of {ROOT} has {room / 1e9:.1f} GB for it; free some space, "
            "or clone the project to a larger disk"
        )


def run(*command, env=None):
    """Run a command and return what it printed; if it fails, its output is shown and SetUpError says what it means."""
    process = subprocess.Popen(
        [str(part) for part in command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode == 0:
        return output
    print(output.rstrip(), file=sys.stderr)
    for pattern, cause in CAUSES:
        if re.search(pattern, output):
            raise SetUpError(cause)
    line = " ".join(str(part) for part in command[:4])
    raise SetUpError(f"'{line} …' failed; its output is above. Correct that and run it again")


if __name__ == "__main__":
    sys.exit(main())
