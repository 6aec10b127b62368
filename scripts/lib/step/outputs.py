"""Which paths a step may overwrite: none of the user's own. Checked before the step does any work.

An existing file may be replaced, unless it is read-only. A folder is replaced as a whole, so it must be absent, empty
or made by an earlier run of the step.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.step.errors import UserError


@dataclass(frozen=True)
class Output:
    """An option that names an output of a step.

    is_own: for a folder, says whether the step made what is in it (called only for a folder that is not empty); None
    means that the option names a file. parts, files: names of folders and of files in that folder, also `a/b`;
    where there are some, only they are replaced.
    """

    option: str
    is_own: Callable[[Path], bool] | None = None
    parts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def replaced(self, path: Path) -> list[Path]:
        """What writing to `path` replaces."""
        return [path / part for part in (*self.parts, *self.files)] or [path]

    def is_file(self, path: Path) -> bool:
        """Whether `path`, one of `replaced`, is to be a file."""
        return self.is_own is None or path.name in self.files


def entries(folder: Path) -> list[str]:
    """Names in a folder, sorted, without the hidden files that Snakemake leaves in the folders that a rule makes."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".snakemake"))


def demand_safe(outputs: list[tuple[str, Output]], inputs: list[tuple[str, str]], log: str | None) -> None:
    """Raise UserError, one sentence, when writing `outputs` (paths) or the `log` would destroy anything of the user's.

    inputs: pairs of option and value. A value that is not an existing path is ignored.
    """
    # Not Path.exists: it fails on a long text that is not a path, such as a whole config.
    sources = [
        (option, place)
        for option, value in inputs
        if os.path.exists(value)  # noqa: PTH110
        for place in (_entry(Path(value)), Path(value).resolve())
    ]
    for name, output in outputs:
        path = Path(name)
        for option, source in sources:
            if source == _entry(path) or any(_holds(_entry(part), source) for part in output.replaced(path)):
                raise UserError(f"{output.option} {path} would replace what {option} reads ({source}); name another")
        for part in output.replaced(path):
            _demand_place(output, part)
            _demand_replaceable(output, part)
    if log is not None:
        # Unlike an output, which is renamed into place, a log is opened: a hard or symbolic link leads to the input.
        for option, source in sources:
            if source.is_file() and Path(log).exists() and source.samefile(log):
                raise UserError(f"--log {log} would replace what {option} reads ({source}); name another file")
        if _is_read_only(Path(log)):
            raise UserError(f"--log {log} is read-only; make it writable or name another file")
    _demand_apart([(output.option, part) for name, output in outputs for part in output.replaced(Path(name))], log)


def _demand_place(output: Output, path: Path) -> None:
    """Raise UserError unless the folder that `path` lies in exists, or can be made, and is writable."""
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))  # noqa: PTH110
    if not folder.is_dir():
        raise UserError(f"cannot write {output.option} {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {output.option} {path}: the folder {folder} is read-only for you")


def _demand_replaceable(output: Output, path: Path) -> None:
    """Raise UserError unless what is at `path` now may be replaced."""
    if not path.exists():
        return
    what = f"{output.option} {path}"
    if output.is_file(path) and not path.is_file():
        raise UserError(f"{what} is {'a folder' if path.is_dir() else 'not a regular file'}; name a file")
    if not output.is_file(path) and not path.is_dir():
        raise UserError(f"{what} is a file; name a folder")
    if _is_read_only(path):
        raise UserError(f"{what} is read-only, so it is not replaced; make it writable or name another")
    if not output.is_file(path) and entries(path) and not output.is_own(path):
        raise UserError(f"{what} holds files that this step did not make; name an empty or a new folder")


def _demand_apart(replaced: list[tuple[str, Path]], log: str | None) -> None:
    """Raise UserError when two of the paths `replaced`, or one and the log, are the same or one inside the other."""
    written = [*replaced, *([("--log", Path(log))] if log is not None else [])]
    for number, (option, path) in enumerate(written):
        for other_option, other in written[:number]:
            if _holds(_entry(other), _entry(path)) or _holds(_entry(path), _entry(other)):
                raise UserError(f"{other_option} {other} and {option} {path} overlap; name two separate places")


def _entry(path: Path) -> Path:
    """The directory entry that `path` names: links in its parents are resolved, a link at its end is not."""
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def _holds(folder: Path, path: Path) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return path == folder or folder in path.parents


def _is_read_only(path: Path) -> bool:
    """Whether `path` exists without write permission for anybody, so that even root, who could write, does not."""
    return path.exists() and not path.stat().st_mode & 0o222
