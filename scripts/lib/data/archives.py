"""Zip and tar files (also .tar.gz, .tar.bz2, .tar.xz) of data sets: their members, and how they are unpacked."""

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from lib.data.foreign import SUFFIXES
from lib.data.image_paths import IMAGES, UNREAD
from lib.step.errors import UserError
from lib.step.files import refuse_lfs_pointer

# JPEG and PNG are already compressed and labels shrink about tenfold: no data set of images unpacks to so many times
# the size of its archive.
MOST_UNPACKED = 50
# Labels, and what describes a data set.
TEXTS = (".txt", ".yaml", ".yml", ".json", ".xml", ".data", ".names", ".labels")
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
# Archives that are not read, by their first bytes.
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x1f\x8b": "compressed by gzip and no whole tar",
    b"BZh": "compressed by bzip2 and no whole tar",
    b"\xfd7zXZ\x00": "compressed by xz and no whole tar",
}


class Member(NamedTuple):
    """A member of an archive: its path with `/` between folders, its size in bytes once unpacked, what it is.

    is_other: whether it is neither a file nor a folder, but a link or a device. info: the library's own description.
    """

    path: PurePosixPath
    size: int
    is_folder: bool
    is_other: bool
    info: zipfile.ZipInfo | tarfile.TarInfo


Open = Callable[[Member], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a path is a zip or a tar, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or _is_tar(path))


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except _DAMAGED:  # of a truncated .tar.gz
        return False


def is_compressed_tar(path: Path) -> bool:
    """Whether an archive must be decompressed as a whole before its members are known."""
    return not zipfile.is_zipfile(path) and _beginning(path).startswith(tuple(_OTHERS))


def refuse_other(path: Path) -> None:
    """Raise UserError, which names its kind, for an archive that is neither zip nor tar, and for Git LFS's pointer."""
    if not path.is_file() or is_archive(path):
        return
    refuse_lfs_pointer(path)
    for start, kind in _OTHERS.items():
        if _beginning(path).startswith(start):
            raise UserError(f"{path} is {kind}, which is not read: unpack it and name its folder, or pack it as zip")


def _beginning(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(8)


@contextmanager
def reading(archive: Path) -> Iterator[tuple[list[Member], Open]]:
    """Yield the members of a zip or tar, and a function that opens one of its files.

    Raises UserError for another or a damaged file, also while its members are read, and for a member that would be
    written outside the folder that the archive is unpacked into.
    """
    refuse_other(archive)
    try:
        if zipfile.is_zipfile(archive) or not _is_tar(archive):
            with zipfile.ZipFile(archive) as file:
                members = [_of_zip(info) for info in file.infolist()]
                _demand_inside(archive, members)
                yield members, lambda member: file.open(member.info)
        else:
            with tarfile.open(archive) as file:
                members = [_of_tar(info) for info in file.getmembers()]
                _demand_inside(archive, members)
                yield members, lambda member: file.extractfile(member.info)
    except _DAMAGED as error:
        raise UserError(f"archive {archive} is not a readable zip or tar ({error})") from None


def _of_zip(info: zipfile.ZipInfo) -> Member:
    is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
    return Member(_path(info.filename), info.file_size, info.is_dir(), is_link, info)


def _of_tar(info: tarfile.TarInfo) -> Member:
    return Member(_path(info.name), info.size, info.isdir(), not (info.isdir() or info.isfile()), info)


def _path(name: str) -> PurePosixPath:
    # Some programs for Windows write backslashes.
    return PurePosixPath(name.replace("\\", "/"))


def _demand_inside(archive: Path, members: list[Member]) -> None:
    for member in members:
        path = member.path
        is_nameless = not path.parts and not member.is_folder
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or member.is_other or is_nameless:
            link = ", or is a link" if member.is_other else ""
            raise UserError(
                f"archive {archive} is refused: its member '{path}' would be written outside the folder{link}"
            )


def is_data(member: Member) -> bool:
    """Whether a member is an image, or a text that labels or describes images."""
    return _is_shown(member) and member.path.suffix.lower() in (*IMAGES, *TEXTS)


def is_named(member: Member) -> bool:
    """Whether a member is not read, but has to be named in messages: an image or labels of another kind."""
    return _is_shown(member) and member.path.suffix.lower() in (*UNREAD, *SUFFIXES)


def _is_shown(member: Member) -> bool:
    # The files that macOS adds to a zip are named like images but are not images.
    return not member.is_folder and member.path.name[0] != "." and member.path.parts[0] != "__MACOSX"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images and labels of a zip or tar into `folder`; members that are only named become empty files.

    Raises UserError, before anything is written, for a member that would leave the folder, for an archive that unpacks
    to more than a data set of images can, or to more than the free space on the disk.
    """
    with reading(archive) as (members, opened):
        wanted = list(filter(is_data, members))
        size, free = sum(member.size for member in wanted), shutil.disk_usage(folder.parent).free
        times = size / archive.stat().st_size
        if times > MOST_UNPACKED:
            raise UserError(
                f"archive {archive} is refused: it would unpack to {size / 1e6:.0f} MB, {times:.0f} times its size,"
                " which no set of images does; if you trust it, unpack it and name its folder in dataset.archive"
            )
        if size > free:
            raise UserError(
                f"archive {archive} unpacks to {size / 1e6:.0f} MB, but {folder.parent} has {free / 1e6:.0f} MB "
                "left; free some space, or set TMPDIR to a folder on a larger disk"
            )
        for member in wanted:
            with opened(member) as file, open(made(folder, member), "wb") as target:
                shutil.copyfileobj(file, target)
        for member in filter(is_named, members):
            made(folder, member).touch()


def made(folder: Path, member: Member) -> Path:
    """The path of a member below `folder`; its folder is made."""
    target = folder / member.path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
