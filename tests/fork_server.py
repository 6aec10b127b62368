"""Runs commands in processes forked from one that has imported their libraries: as a user's, without the wait for it.

A step spends most of a short run on importing NumPy, OpenCV, onnxruntime and Matplotlib; a dry run, on Snakemake.
`python fork_server.py MODULE …` imports the modules, takes requests from its standard input, a socket, and forks a
process for each of them.
"""

import atexit
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
# `set_up` is not a step, and replaces the environment that it runs in.
STEPS = sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "set_up")


class ForkServer:
    """The process that forks, as a test sees it; `modules` are what it imports first."""

    def __init__(self, environment: dict, modules: list[str]):
        self.socket, theirs = socket.socketpair()
        self.process = subprocess.Popen([sys.executable, __file__, *modules], stdin=theirs, env=environment)
        theirs.close()

    def run(self, command: list, folder=None, merged: bool = False) -> subprocess.CompletedProcess:
        """`python COMMAND` in `folder`, or in this process's working folder; `merged`: both streams in stdout."""
        command = list(map(str, command))
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            request = json.dumps({"command": command, "folder": str(folder or Path.cwd())}).encode() + b"\n"
            streams = [output.fileno(), (output if merged else errors).fileno()]
            socket.send_fds(self.socket, [request], streams)
            code = int(self.socket.recv(16))
            printed = (file.seek(0) or file.read().decode() for file in (output, errors))
            return subprocess.CompletedProcess([sys.executable, *command], code, *printed)

    def close(self) -> None:
        """End the process."""
        self.socket.close()
        self.process.wait()


def serve(requests: socket.socket) -> None:
    """Run one command after another until the other end is closed."""
    while request := receive(requests):
        text, streams = request
        child = os.fork()
        if child == 0:
            requests.close()
            run(**json.loads(text), streams=streams)
        for stream in streams:
            os.close(stream)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        requests.sendall(str(code).encode())


def receive(requests: socket.socket) -> tuple[bytes, list[int]] | None:
    """The next request, a line, and the descriptors that came with its beginning; None at the end."""
    text, streams, _, _ = socket.recv_fds(requests, 1 << 16, 2)
    while text and not text.endswith(b"\n"):
        text += requests.recv(1 << 16)
    return (text, streams) if text else None


def run(command: list[str], folder: str, streams: list[int]) -> None:
    """In the forked process: be that command, and end with its exit code."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for place, stream in enumerate(streams, start=1):
        os.dup2(stream, place)
        os.close(stream)
    os.chdir(folder)
    sys.argv, sys.path[0] = command, str(Path(command[0]).parent)
    code = 0
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))


if __name__ == "__main__":
    sys.path[0] = str(SCRIPTS)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    serve(socket.socket(fileno=os.dup(0)))
