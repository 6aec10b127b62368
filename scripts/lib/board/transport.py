"""Commands and files for the board, through the clients of OpenSSH or adb, with the user's settings.

Over ssh, files also go through the remote shell (`cat`), because a board's ssh server seldom supports scp. The code
does not rely on exit codes and line ends of `adb shell`, because they depend on the version of adbd.
"""

import os
import re
import selectors
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from lib.step.errors import UserError

TRANSPORTS = ("ssh", "adb")
# Limit for the standard output and the standard error of a command, in bytes: far more than the results of a batch.
# Beyond it, the command probably prints without end.
MOST = 256 << 20
# OpenSSH's exit code for its own failures. A remote command could return it too, but those of this project do not.
SSH_FAILED = 255
GOES_ON = "run this again, it resumes"
# These mark the start and the end of a command's output, because some boards print a greeting at login.
_BEGINS, _ENDED = b"rv1106-begins\n", b"rv1106-ended="
_SHOWN = 60  # characters of an invalid answer in a message


class CommandResult(NamedTuple):
    """How a command on the board ended."""

    code: int
    output: bytes
    words: str  # standard error


class Unreachable(UserError):
    """The board does not answer, or no longer answers."""


class Ssh:
    """A board with an ssh server. `host` is as for `ssh`; `options` are further arguments for it, such as -p 2222."""

    def __init__(self, host: str, options: list[str], timeout: int):
        self.host, self.timeout = host, timeout
        # No user can answer questions, so an unknown host key or a password prompt is an error.
        self.command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={min(timeout, 15)}", *options, host]
        _demand_client("ssh", "openssh-client")

    def run(self, command: str, stdin: Path | None = None) -> CommandResult:
        """Run a shell command on the board; the local file `stdin` is its standard input.

        Raises Unreachable when the board does not answer within the time limit, refuses the login or has no shell.
        """
        done = _call([*self.command, _framed(command)], self.timeout, self.host, stdin)
        if done.code == SSH_FAILED:
            raise Unreachable(self._why(done.words))
        ended = _unframed(done)
        if ended is None:
            raise Unreachable(self._without_shell(done))
        return ended

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the board. Raises UserError when it does not fit, Unreachable as `run` does."""
        done = self.run(f"cat > {shlex.quote(remote)}", local)
        _demand_pushed(done, local, remote)

    def pull(self, remote: str) -> bytes:
        """Read a file on the board. Raises UserError when it cannot be read, Unreachable as `run` does."""
        done = self.run(f"cat {shlex.quote(remote)}")
        if done.code:
            raise UserError(f"{remote} cannot be read on the board: {last_line(done.words)}")
        return done.output

    def _without_shell(self, done: CommandResult) -> str:
        answer = done.output.decode(errors="replace").strip() or done.words.strip()
        shown = "".join(letter if letter.isprintable() else " " for letter in answer[:_SHOWN])
        said = f"'{shown}'" if answer else "nothing"
        return (
            f"{self.host} accepts the login, but runs no command: it answers {said}; give the login a shell there "
            f"(ssh {self.host} uname -a tries it)"
        )

    def _why(self, words: str) -> str:
        last = last_line(words)
        if "Host key verification failed" in words or "No ED25519 host key is known" in words:
            return (
                f"{self.host} shows an ssh host key that this machine does not know, or another one than before; check "
                f"it and accept it once by hand: ssh {self.host}"
            )
        if "Permission denied" in words:
            return f"{self.host} needs a password ({last}); install your key there: ssh-copy-id {self.host}"
        if re.search(r"refused|No route|timed out during|[Cc]onnection timed out|not resolve|unreachable", words):
            return (
                f"the board cannot be reached at {self.host}: {last}; check its cable, its address and its ssh server"
            )
        return f"the connection to {self.host} broke: {last or 'ssh says nothing'}; {GOES_ON}"


class Adb:
    """A board with adbd. `host` is its serial number, or empty; `options` are further arguments for `adb`."""

    def __init__(self, host: str, options: list[str], timeout: int):
        self.host, self.timeout = host or "the board on USB", timeout
        self.command = ["adb", *(["-s", host] if host else []), *options]
        _demand_client("adb", "adb")

    def run(self, command: str) -> CommandResult:
        """As `Ssh.run`, without standard input. Old adbd put standard error into the output."""
        done = _call([*self.command, "shell", _framed(command)], self.timeout, self.host)
        done = done._replace(output=done.output.replace(b"\r\n", b"\n"))
        ended = _unframed(done)
        if not ended:
            raise Unreachable(self._why(done.words or done.output.decode(errors="replace")))
        return ended._replace(words=done.words or ended.output.decode(errors="replace"))

    def push(self, local: Path, remote: str) -> None:
        """As `Ssh.push`."""
        done = _call([*self.command, "push", str(local), remote], self.timeout, self.host)
        words = done.words + done.output.decode(errors="replace")
        if done.code and self._is_gone(words):
            raise Unreachable(self._why(words))
        _demand_pushed(CommandResult(done.code, b"", words), local, remote)

    def pull(self, remote: str) -> bytes:
        """As `Ssh.pull`."""
        command = f"printf %s {shlex.quote(_BEGINS.decode())}; cat {shlex.quote(remote)}"
        done = _call([*self.command, "exec-out", command], self.timeout, self.host)
        if done.code:
            words = done.words or done.output.decode(errors="replace")
            raise (
                Unreachable(self._why(words))
                if self._is_gone(words)
                else UserError(f"{remote} cannot be read on the board: {last_line(words)}")
            )
        return done.output.partition(_BEGINS)[2]

    @staticmethod
    def _is_gone(words: str) -> bool:
        return bool(re.search(r"no devices|not found|offline|unauthorized|closed|cannot connect", words))

    def _why(self, words: str) -> str:
        last = last_line(words)
        if "unauthorized" in words:
            return f"adb is not authorized on {self.host} ({last}); accept this machine's key on the board"
        if re.search(r"no devices|device '.*' not found|device not found|offline|cannot connect", words):
            return f"adb finds no board: {last}; check its cable and the output of `adb devices`"
        return f"the connection to {self.host} broke: {last or 'adb says nothing'}; {GOES_ON}"


def transport(kind: str, host: str, options: list[str], timeout: int) -> Ssh | Adb:
    """The transport `kind`, ssh or adb; `timeout` is in seconds, for each command and each file."""
    if kind == "ssh" and not host:
        raise UserError("board.host is empty: name the board as for ssh, such as root@172.32.0.93")
    return {"ssh": Ssh, "adb": Adb}[kind](host, options, timeout)


def _framed(command: str) -> str:
    """Wrap a shell command: print marks around its output, and its exit code, which old adbd do not return."""
    begins, ended = _BEGINS.decode().strip(), _ENDED.decode()
    return f"echo {begins}; ({command}); ended=$?; echo; echo {ended}$ended"


def _unframed(done: CommandResult) -> CommandResult | None:
    """The result of a `_framed` command, without the output before and after it; None if it did not end."""
    output = done.output.partition(_BEGINS)[2]
    output, mark, code = output.rpartition(b"\n" + _ENDED)
    digits = re.match(rb"\d+", code)
    return CommandResult(int(digits[0]), output, done.words) if mark and digits else None


def last_line(words: str) -> str:
    """The last line that is not empty."""
    return next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")


def _call(command: list[str], timeout: int, host: str, stdin: Path | None = None) -> CommandResult:
    with (
        open(stdin or "/dev/null", "rb") as source,
        subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        try:
            output, words = _read(process, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Unreachable(
                f"{host} did not answer within {timeout} s; raise board.timeout, or restart the board; {GOES_ON}"
            ) from None
        except OverflowError:
            process.kill()
            raise Unreachable(
                f"{host} sent more than {MOST >> 20} MiB in answer to one command and was cut off; check what it "
                "prints at login"
            ) from None
        except BaseException:
            process.kill()
            raise
    return CommandResult(process.returncode, output, words.decode(errors="replace"))


def _read(process: subprocess.Popen, timeout: float) -> tuple[bytes, bytes]:
    """Read standard output and standard error of a process until it ends.

    Raises subprocess.TimeoutExpired after `timeout` seconds, OverflowError for more than MOST bytes in one of them.
    """
    end = time.monotonic() + timeout
    received = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for stream in received:
            waiting.register(stream, selectors.EVENT_READ)
        while waiting.get_map():
            if (left := end - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(process.args, timeout)
            for key, _ in waiting.select(left):
                block = os.read(key.fd, 1 << 16)
                if not block:
                    waiting.unregister(key.fileobj)
                received[key.fileobj] += block
                if len(received[key.fileobj]) > MOST:
                    raise OverflowError
    process.wait(max(0, end - time.monotonic()))
    return bytes(received[process.stdout]), bytes(received[process.stderr])


def _demand_client(name: str, package: str) -> None:
    if not shutil.which(name):
        raise UserError(f"there is no program '{name}' on this machine; install it (apt-get install {package})")


def _demand_pushed(done: CommandResult, local: Path, remote: str) -> None:
    if done.code:
        raise UserError(
            f"{local.name} cannot be copied to {remote} on the board: {last_line(done.words)}; free some space there, "
            "or name another folder in board.folder"
        )
