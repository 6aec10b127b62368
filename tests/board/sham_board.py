"""A simulated board: a real sshd on loopback, ARM programs under qemu-arm, and the stub runtime.

The stub runtime knows what the simulator answered.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
from conftest import ROOT

from lib.bundle.layout import as_map, to_native
from lib.npu.rknn_file import RknnTensor, quantize, read_rknn

COMPILER = "arm-linux-gnueabihf-gcc"
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
DEBIAN = "openssh-server openssh-client qemu-user gcc-arm-linux-gnueabihf libc6-dev-armhf-cross make"


def missing() -> list[str]:
    """The programs that the simulated board needs and this machine lacks."""
    found = {name: shutil.which(name) for name in ("ssh", "ssh-keygen", "qemu-arm", COMPILER, "make")} | {"sshd": SSHD}
    return [name for name, path in found.items() if not path]


def make_sdk(folder: Path) -> Path:
    """A replacement for Rockchip's librknn_api, with the stub runtime as archive and as library."""
    library = folder / "armhf-uclibc"
    library.mkdir(parents=True)
    (folder / "include").mkdir()
    source = ROOT / "tests" / "bundle" / "c"
    shutil.copy(source / "rknn_api.h", folder / "include")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", f"-I{folder / 'include'}"]
    subprocess.run([COMPILER, *flags, "-c", source / "rknnmrt.c", "-o", library / "rknnmrt.o"], check=True)
    subprocess.run(["arm-linux-gnueabihf-ar", "rcs", library / "librknnmrt.a", library / "rknnmrt.o"], check=True)
    subprocess.run([COMPILER, "-shared", library / "rknnmrt.o", "-o", library / "librknnmrt.so"], check=True)
    return folder


def fnv(data: bytes) -> str:
    """The FNV-1a hash of bytes, 64 bits, in hex: the stub's names for models and inputs."""
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 & (1 << 64) - 1
    return f"{value:016x}"


class Answers:
    """The stub runtime's data about one model, in the folder `root`/MODEL."""

    def __init__(self, root: Path, model: Path):
        described = read_rknn(model)
        self.folder = root / fnv(model.read_bytes()[-4096:])
        self.outputs = tuple(map(as_map, described.outputs))
        self.folder.mkdir(parents=True)
        _, _, height, width = described.input.shape
        self.lines = {
            "version": "2.3.2 (a stub)",
            "driver": "0.9.2",
            "sleep_us": "1000",
            # Rows further apart than they are long, as the real one asks for some widths.
            "input": f"{height} {width} {width + 16}",
        }
        self.tell()

    def tell(self, scale: float = 1.0, **lines: str) -> None:
        """Write the stub's data about the model, with lines added or changed, and its scales times a factor."""
        text = "".join(f"{name} {value}\n" for name, value in (self.lines | lines).items())
        for each in self.outputs:
            _, c1, height, width, c2 = each.native_shape
            text += f"output {c1} {height} {width} {c2} {each.zero_point} {each.scale * scale:.9g} {width}\n"
        (self.folder / "tensors").write_text(text)

    def add(self, image: np.ndarray, outputs: list[np.ndarray]) -> None:
        """The simulator's float `outputs` for an input, uint8 RGB [H, W, 3]."""
        (self.folder / fnv(image.tobytes())).write_bytes(raw(self.outputs, outputs))


def raw(tensors: tuple[RknnTensor, ...], outputs: list[np.ndarray]) -> bytes:
    """Outputs in the NPU's layout, one after the other."""
    stored = (quantize(output.reshape(each.shape), each) for output, each in zip(outputs, tensors))
    native = (to_native(values, each.native_shape) for values, each in zip(stored, tensors))
    return b"".join(each.tobytes() for each in native)


# Boards by another name: what they do with a command.
ODD = {
    "greeting": r"echo Welcome to Luckfox Pico; sh -c \"$SSH_ORIGINAL_COMMAND\"; code=$?; echo logout; exit $code",
    "silent": "true",
    "nologin": "echo This account is currently not available.; exit 1",
    "garbage": r"head -c 3000000 /dev/urandom",
}


@contextlib.contextmanager
def sshd(folder: Path):
    """An ssh server on loopback with keys of its own; gives the file that tells ssh how to get there as `sham`.

    The names of ODD lead there too, to a login that does something else.
    """
    for name in ("host", "user", *ODD):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    keys = [(folder / "user.pub").read_text()]
    keys += [f'command="{command}" {(folder / f"{name}.pub").read_text()}' for name, command in ODD.items()]
    (folder / "authorized").write_text("".join(keys))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"StrictModes no\nPasswordAuthentication no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
    )
    public = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public}")
    (folder / "ssh_config").write_text(
        f"Host *\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {folder / 'known'}\n StrictHostKeyChecking yes\n LogLevel ERROR\n"
        f"Host sham\n IdentityFile {folder / 'user'}\n"
        + "".join(f"Host {name}\n IdentityFile {folder / name}\n" for name in ODD)
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with open(folder / "sshd.log", "wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            raise RuntimeError((folder / "sshd.log").read_text())
        yield folder / "ssh_config"
    finally:
        server.terminate()
        server.wait()
