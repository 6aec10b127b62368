"""The set-up on machines that lack something: a Python, a module, an index, a certificate, room.

Each test sets up a small project of its own, from set_up.py and wheels made here: a `uv` that starts the real one, and
an empty package in place of what the lock names. All but the last go without a network.
"""

import base64
import datetime
import functools
import hashlib
import http.server
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import set_up
from lib.npu.toolkit_versions import DEFAULT, VERSIONS, folder_of

ROOT = Path(__file__).resolve().parents[2]
THIS = "{}.{}".format(*sys.version_info)


def with_room(free: float) -> str:
    """Python before set_up.py: the disk has that many bytes. An empty package needs no room of this machine."""
    return f"from types import SimpleNamespace; shutil.disk_usage = lambda path: SimpleNamespace(free={free})"


def wheel(index: Path, name: str, scripts: dict[str, str]) -> str:
    """Put a package without modules into the index, a folder; returns its line in a lock, with its hash."""
    path = index / name / f"{name}-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "index.html").write_text(f'<!DOCTYPE html><a href="{path.name}">{path.name}</a>')
    files = {f"{name}-1.0.data/scripts/{script}": text for script, text in scripts.items()}
    files[f"{name}-1.0.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{name}-1.0.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for file, text in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in [*files.items(), (f"{name}-1.0.dist-info/RECORD", record)]:
            entry = zipfile.ZipInfo(file)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def machine(tmp_path):
    """A project to set up, its package index, and the environment of a user's machine without a Python on the PATH."""
    project, index, programs, home = (tmp_path / name for name in ("project", "simple", "bin", "home"))
    for folder in (project / "scripts", project / "requirements", index, programs, home):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "set_up.py", project / "scripts")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (project / "requirements" / "uv.txt").write_text(wheel(index, "uv", {"uv": f'#!/bin/sh\nexec {uv} "$@"\n'}))
    locked = wheel(index, "nothing", {})
    for version in ("310", "311", "312"):
        for suffix in ("", "-aarch64"):
            (project / "requirements" / f"py{version}{suffix}.txt").write_text(locked)
    for name in ("sh", "dirname", "ls", "rm", "env"):
        (programs / name).symlink_to(shutil.which(name))
    environment = {
        "PATH": str(programs),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.as_uri(),
        "PIP_RETRIES": "0",
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CONFIG": "1",
    }
    return SimpleNamespace(project=project, index=index, programs=programs, home=home, environment=environment)


@pytest.fixture(scope="module")
def bare_venv(tmp_path_factory):
    """An environment with nothing but pip: 6 s of a core, which tests of what comes behind it need not take each."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([Path(sys.executable).resolve(), "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def give_venv(machine, bare_venv):
    """A function: the machine's project has such an environment from before."""
    return lambda: shutil.copytree(bare_venv, machine.project / ".venv", symlinks=True)


def set_up_on(machine, *options, python=sys.executable, disguise="", **changes):
    """Run set_up.py; `disguise` is Python that runs before it, a change of None removes a variable."""
    script = machine.project / "scripts" / "set_up.py"
    program = f"import runpy, sys, platform, os, shutil\n{with_room(1e12)}\n{disguise}\n"
    program += f"sys.argv = {[str(script), *options]!r}\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    environment = {name: value for name, value in (machine.environment | changes).items() if value is not None}
    # Not of this environment, so that what it makes is as on a bare machine.
    python = Path(python).resolve() if python == sys.executable else python
    return subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True, timeout=300)


def said(done) -> str:
    """The one sentence of a set-up that failed without a traceback and left no environment."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("error: ") and "cause:" not in line]
    return sentences[-1]


def as_python(*version):
    name = ".".join(map(str, version)) + ".0"
    return f"sys.version_info = {(*version, 0, 'final', 0)}; platform.python_version = lambda: {name!r}"


def test_it_installs_what_the_lock_names_and_mends_what_is_there(machine):
    for _ in range(2):
        done = set_up_on(machine)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "environment ready in .venv"
    assert list((machine.project / ".venv").glob("lib/*/site-packages/nothing-1.0.dist-info"))


def test_another_toolkit_goes_beside_the_environment(machine, give_venv):
    """The sentences of what fails come before anything is there."""
    assert "there is no environment yet" in said(set_up_on(machine, "--toolkit", "2.2.0"))
    (machine.project / "requirements" / "toolkits").mkdir()
    locked = (machine.project / "requirements" / "py310.txt").read_text()
    (machine.project / "requirements" / "toolkits" / "2.2.0.txt").write_text(locked)
    give_venv()
    assert set_up_on(machine).returncode == 0
    assert "'9.9' is not a version that can be added" in said(set_up_on(machine, "--toolkit", "9.9"))
    done = set_up_on(machine, "--toolkit", "2.2.0")
    folder = f".toolkits/2.2.0-py{sys.version_info[0]}{sys.version_info[1]}"
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == f"rknn-toolkit2 2.2.0 ready in {folder}"
    assert folder_of("2.2.0") == ROOT / folder
    assert list((machine.project / folder).glob("nothing-1.0.dist-info"))
    assert list((machine.project / ".toolkits").iterdir()) == [machine.project / folder]


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != DEFAULT])
def test_each_other_toolkit_has_a_lock_with_hashes_and_no_address(version):
    text = (ROOT / "requirements" / "toolkits" / f"{version}.txt").read_text()
    assert text.startswith(f"rknn-toolkit2=={version} ") and "--hash=sha256:" in text and "://" not in text
    assert version in (ROOT / "Makefile").read_text()


def test_a_light_environment_lacks_torch_and_ultralytics(machine, give_venv):
    give_venv()
    torch = wheel(machine.index, "torch", {})
    shutil.copy(ROOT / "requirements" / "not-light.txt", machine.project / "requirements")
    for lock in (machine.project / "requirements").glob("py3*.txt"):
        lock.write_text(lock.read_text() + torch)
    for options, names in ((["--light"], {"nothing"}), ([], {"nothing", "torch"}), (["--light"], {"nothing"})):
        done = set_up_on(machine, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        installed = (machine.project / ".venv").glob("lib/*/site-packages/*-1.0.dist-info")
        assert {path.name.split("-")[0] for path in installed} - {"uv"} == names
        # Make takes an environment of the other kind for none.
        assert not list((machine.project / ".venv").glob(".ready-*"))
        (machine.project / ".venv" / ".ready-light-0").touch()


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("py3*.txt")), ids=lambda path: path.stem)
def test_what_a_light_environment_lacks_is_in_the_lock_and_nothing_else_falls_away(lock):
    def names(text):
        return {line.split("==")[0] for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))}

    left_out = names(lock.read_text()) - names(set_up.without(set_up.not_light(), lock))
    listed = set((ROOT / "requirements" / "not-light.txt").read_text().splitlines()[1:])
    assert {"torch", "torchvision", "ultralytics"} <= left_out
    assert {name for name in left_out if not name.startswith("nvidia-")} <= listed
    assert {"rknn-toolkit2", "onnxruntime", "onnxslim", "snakemake"} <= names(set_up.without(set_up.not_light(), lock))


@pytest.mark.parametrize("version", [(3, 9), (3, 13)])
def test_a_supported_python_on_the_path_takes_over(machine, version):
    (machine.programs / f"python{THIS}").symlink_to(Path(sys.executable).resolve())
    done = set_up_on(machine, disguise=as_python(*version))
    assert done.returncode == 0, done.stderr
    assert (machine.project / ".venv" / "bin" / f"python{THIS}").exists()


def test_a_shim_that_runs_nothing_is_passed_over(machine):
    shim = machine.programs / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    done = set_up_on(machine, disguise=as_python(3, 13), UV_PYTHON_DOWNLOADS="never")
    assert "none of them is on the PATH" in done.stdout
    assert "uv could not download Python 3.12" in said(done)


@pytest.fixture(scope="module")
def archive_of_python(tmp_path_factory):
    """This machine's Python laid out as a managed one, all below python/, without what set_up.py does not need."""
    base = Path(sys.base_prefix)
    library = base / "lib" / f"python{THIS}"
    if base == Path("/usr") or not (library / "ensurepip" / "_bundled").is_dir():
        pytest.skip("this Python's installation cannot be moved: it is part of the system")
    path = tmp_path_factory.mktemp("mirror") / "20260101" / "cpython.tar.gz"
    path.parent.mkdir()

    def wanted(member):
        parts = Path(member.name).parts
        left_out = {"site-packages", "test", "tests", "idlelib", "tkinter", "__pycache__", "turtledemo"}
        return None if left_out & set(parts) or member.name.endswith(".a") else member

    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(library, f"python/lib/python{THIS}", filter=wanted)
        for shared in (base / "lib").glob("libpython*.so*"):
            archive.add(shared, f"python/lib/{shared.name}")
        archive.add((base / "bin" / f"python{THIS}").resolve(), f"python/bin/python{THIS}")
        for link in ("python", "python3"):
            entry = tarfile.TarInfo(f"python/bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, f"python{THIS}"
            archive.addfile(entry)
    return path


def test_uv_brings_a_python_where_there_is_none(machine, archive_of_python):
    downloads = machine.home / "downloads.json"
    major, minor, patch = sys.version_info[:3]
    entry = {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": "https://github.com/astral-sh/python-build-standalone/releases/download/20260101/cpython.tar.gz",
        "sha256": hashlib.sha256(archive_of_python.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20260101",
    }
    downloads.write_text(json.dumps({f"cpython-{major}.{minor}.{patch}-linux-{platform.machine()}-gnu": entry}))
    script = machine.project / "scripts" / "set_up.py"
    # The mirror has this Python, which need not be 3.12.
    script.write_text(script.read_text().replace("*SUPPORTED[-1]", f"{major}, {minor}"))
    done = set_up_on(
        machine,
        disguise=as_python(3, 13),
        UV_PYTHON_DOWNLOADS_JSON_URL=str(downloads),
        UV_PYTHON_INSTALL_MIRROR=archive_of_python.parents[1].as_uri(),
        UV_NO_CONFIG=None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(
        "this is Python 3.13.0, and the toolkit exists only for Python 3.10, 3.11 and 3.12; none of them"
    )
    assert last == "environment ready in .venv"
    python = (machine.project / ".venv" / "bin" / "python").resolve()
    assert python.is_relative_to(machine.home / ".local" / "share" / "uv" / "python")
    assert not (machine.home / ".local" / "bin").exists()


def test_a_mirror_of_pythons_that_is_not_reached(machine):
    done = set_up_on(machine, disguise=as_python(3, 13), UV_PYTHON_INSTALL_MIRROR="http://127.0.0.1:9/none")
    assert "uv could not download Python 3.12; install Python 3.10, 3.11 or 3.12 by other means" in said(done)


def test_a_python_that_uv_does_not_exist_for(machine):
    done = set_up_on(machine, disguise=as_python(3, 6))
    assert said(done).startswith(
        "error: this is Python 3.6.0, and the toolkit exists only for Python 3.10, 3.11 and 3.12; in"
    )


def test_other_systems(machine):
    assert "this is Darwin on arm64" in said(
        set_up_on(machine, disguise="sys.platform = 'darwin'; platform.system = lambda: 'Darwin'; "
                                    "platform.machine = lambda: 'arm64'")
    )  # fmt: skip
    assert "only for Linux on x86-64" in said(set_up_on(machine, disguise="platform.machine = lambda: 'riscv64'"))


def test_a_python_without_venv(machine):
    # What Debian's python3 prints without python3-venv.
    python = machine.home / "python3"
    python.write_text(
        "#!/bin/sh\necho 'The virtual environment was not created successfully because ensurepip is not'\n"
        "echo 'available.  On Debian/Ubuntu systems, you need to install the python3-venv'\nexit 1\n"
    )
    python.chmod(0o755)
    done = set_up_on(machine, disguise=f"sys.executable = {str(python)!r}")
    assert "sudo apt-get install python3-venv" in said(done)


def test_an_index_that_is_not_reached(machine, give_venv):
    # The first time by pip; the second time pip reaches one, uv does not.
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        give_venv()
        done = set_up_on(machine, **{variable: "http://127.0.0.1:9/simple"})
        assert "the package index does not answer" in said(done)
        assert not (machine.project / ".venv").exists()


@pytest.fixture
def company_index(machine):
    """An index behind TLS with an authority that only `authority` knows; serves the machine's packages."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name, key, issuer, issuer_key, extensions):
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=9)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    company, host = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("company", "localhost"))
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = machine.home / "authority.pem"
    authority.write_bytes(
        certificate(company, authority_key, company, authority_key, [(x509.BasicConstraints(True, None), True)])
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both = machine.home / "server.pem"
    both.write_bytes(private + certificate(host, key, company, authority_key, [(names, False)]))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=machine.index.parent)
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(url=f"https://localhost:{server.server_port}/simple", authority=authority)
    server.shutdown()
    server.server_close()


def test_a_certificate_that_is_not_known(machine, give_venv, company_index):
    give_venv()
    sentence = said(set_up_on(machine, PIP_INDEX_URL=company_index.url))
    assert "the TLS certificate of the package index is not trusted" in sentence and "SSL_CERT_FILE=" in sentence
    # That variable is for pip and uv, and so is pip's own.
    for variable in ("SSL_CERT_FILE", "PIP_CERT"):
        give_venv()
        done = set_up_on(machine, PIP_INDEX_URL=company_index.url, **{variable: str(company_index.authority)})
        assert done.returncode == 0, done.stderr
        shutil.rmtree(machine.project / ".venv")


def test_a_disk_without_room(machine, give_venv):
    give_venv()
    # By the size of what the environment takes, which no disk has; then by what pip and uv say.
    assert "the environment takes 6.3 GB, but the disk of" in said(set_up_on(machine, disguise=with_room(2e9))) or (
        platform.machine() != "x86_64"
    )
    assert not (machine.project / ".venv").exists()
    give_venv()
    full = "printf 'OSError: [Errno 28] No space left on device' >&2; exit 1"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    stub = f'#!/bin/sh\n[ "$1" = cache ] && exec {uv} "$@"\n{full}\n'
    (machine.project / "requirements" / "uv.txt").write_text(wheel(machine.index, "uv", {"uv": stub}))
    assert "the disk is full" in said(set_up_on(machine))


def test_an_older_environment_and_the_cache_count_as_room(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "wheel").write_bytes(b"x" * 3_000_000)
    set_up.check_room(0.0029, tmp_path / ".venv", cache)
    with pytest.raises(set_up.SetUpError, match=r"takes 0.01 GB, but the disk of .* has 0.0 GB for it"):
        set_up.check_room(0.01, tmp_path / ".venv", cache)


@pytest.mark.parametrize("python_may_not", [False, True])
def test_bytecode_is_compiled_where_python_may_not_leave_it(tmp_path, monkeypatch, python_may_not):
    commands = []
    monkeypatch.setattr(set_up, "run", lambda *command, env=None: commands.append(command))
    monkeypatch.setattr(set_up, "install_uv", lambda venv: "uv")
    monkeypatch.setattr(set_up, "settings_of_pip", lambda python: {})
    monkeypatch.setattr(sys, "dont_write_bytecode", python_may_not)
    set_up.install(tmp_path, set_up.lock())
    assert ("--compile-bytecode" in commands[-1]) == python_may_not


@pytest.mark.parametrize("output, cause", [
    ("error: [Errno 2] No such file or directory: 'gcc'", "needs a C compiler"),
    ("fatal error: Python.h: No such file or directory", "needs a C compiler"),
    ("Failed to build connection-pool==0.0.3", "its output is above"),
])  # fmt: skip
def test_what_else_a_package_may_fail_with(output, cause, capfd):
    with pytest.raises(set_up.SetUpError, match=cause):
        set_up.run(sys.executable, "-c", f"print({output!r}); raise SystemExit(1)")
    assert output in capfd.readouterr().err


def test_the_lock_of_aarch64_is_that_of_x86_64_without_cuda():
    for version in ("310", "311", "312"):
        x86, arm = (locked(ROOT / "requirements" / f"py{version}{suffix}.txt") for suffix in ("", "-aarch64"))
        assert arm.items() <= x86.items()
        assert all(name.startswith("nvidia-") or name == "triton" for name in x86.keys() - arm.keys())
        assert {"rknn-toolkit2", "torch", "onnx", "snakemake"} <= arm.keys()


def locked(path: Path) -> dict[str, str]:
    """The versions that a lock names; each has a hash, and nothing has an address."""
    text = path.read_text()
    assert "://" not in text
    requirements = text.replace("\\\n", " ").splitlines()
    assert all(" --hash=sha256:" in line for line in requirements)
    return dict(line.split()[0].split("==") for line in requirements)


def test_the_lock_of_aarch64_resolves(tmp_path):
    """Every package of the lock has a file for aarch64; asks the index, and skips where it is not reached."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    lock = ROOT / "requirements" / "py312-aarch64.txt"
    command = [uv, "pip", "install", "--dry-run", "--target", tmp_path / "none", "--python-platform",
               "aarch64-manylinux_2_28", "--python-version", "3.12", "--require-hashes", "--no-deps",
               # These are pure Python, without a wheel.
               "--only-binary", ":all:", "--no-binary", "antlr4-python3-runtime", "--no-binary", "connection-pool",
               "-r", lock]  # fmt: skip
    environment = set_up.settings_of_pip(sys.executable) | {"UV_HTTP_RETRIES": "0"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode and any(word in done.stderr for word in ("error sending request", "dns error", "timed out")):
        pytest.skip("the package index is not reached")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n + ") == len(locked(lock))
