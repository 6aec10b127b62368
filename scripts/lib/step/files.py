"""Files that appear whole or not at all, and their checksums."""

import codecs
import errno
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from lib.step.errors import FULL, UserError

CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_LFS = b"version https://git-lfs.github.com/spec/"
LFS_POINTER = "a Git LFS pointer, not the file; run `git lfs pull` in its repository, or download the file itself"


@contextmanager
def whole(path):
    """Yield a temporary path beside `path`, to be written as a file or made as a folder; rename it when all went well.

    After an exception nothing is left. What a killed process left (its id is in the name) is deleted by the next
    writer of the same path. The old file or folder stays until the new one is complete. Raises UserError
    when the disk is full, or does not let anybody write there.
    """
    path = Path(path)
    try:
        with _whole(path) as part:
            yield part
    except OSError as error:
        # Something else than the file itself may be closed, such as an input without read permission.
        place = Path(str(error.filename or path))
        is_closed = error.errno in CLOSED and path.parent in (place, place.parent)
        if error.errno not in FULL and not is_closed:
            raise
        remedy = "name another folder" if is_closed else "free some space and run it again"
        raise UserError(f"{path} is not written: {os.strerror(error.errno)}; {remedy}") from None


@contextmanager
def _whole(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        if not _is_running(leftover.name.split(".")[-2]):
            remove(leftover)
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        yield part
        if part.is_dir() and path.exists():
            remove(path)
        os.replace(part, path)
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Delete a file or a folder with all it holds; a path that is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        pass
    return True


def sha256(path) -> str:
    """SHA-256 of a file's bytes, in lower-case hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def demand_sha256(path: Path, expected: str) -> None:
    """Raise UserError unless the SHA-256 of a file that is about to be loaded is `expected`."""
    if (actual := sha256(path)) != expected.lower():
        raise UserError(f"{path} is not loaded: its sha256 is {actual}, but {expected} is expected")


def is_lfs_text(content: bytes) -> bool:
    """Whether these are the few lines that Git LFS keeps in a repository in place of a large file."""
    return content.startswith(_LFS)


def is_lfs_pointer(path) -> bool:
    """Whether a file holds such lines."""
    with open(path, "rb") as file:
        return is_lfs_text(file.read(len(_LFS)))


def refuse_lfs_pointer(path) -> None:
    """Raise UserError for a file that holds such lines; folders and missing files pass."""
    if Path(path).is_file() and is_lfs_pointer(path):
        raise UserError(f"{path} is {LFS_POINTER}")


def write_text(path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path, value) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path, *keys: str):
    """The value in a JSON file. Raises UserError when it is missing, damaged, or lacks one of `keys`."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the step that makes it first") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it and run again") from None
    if missing := [key for key in keys if not isinstance(value, dict) or key not in value]:
        raise UserError(f"{path} lacks the key {missing[0]}; delete it and run again")
    return value


def read_text(path) -> str:
    """The text of a user's file: UTF-8, or UTF-16 with its byte-order mark. Raises UserError for anything else."""
    content = Path(path).read_bytes()
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    try:
        text = content[len(mark) :].decode(_MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"{path} is not text in UTF-8; save it as UTF-8")
    return text


def require(path, what: str) -> Path:
    """`path` as a Path. Raises UserError, which calls it `what`, when it does not exist."""
    if not Path(path).exists():
        raise UserError(f"{what} {path} does not exist")
    return Path(path)
