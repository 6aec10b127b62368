"""Resolves the paths in a data set's file: each is relative to the first of several folders that has it."""

from pathlib import Path, PureWindowsPath

from lib.data.formats.source import PART_OF_FOLDER


def located(name: str, folders: list[Path]) -> Path | None:
    """The file or folder called `name` in the first of `folders` that has it; None where none does.

    Leading folders from another machine are dropped: `../train` may mean `train`, as in Ultralytics' data sets, and
    `data/train.txt` may mean `train.txt`, as in CVAT's zips. A folder called after a part is not: `images` is not
    `train/images`.
    """
    path = Path(PureWindowsPath(name).as_posix()) if "\\" in name else Path(name)
    if path.is_absolute() and path.exists():
        return path
    parts = path.parts[1:] if path.is_absolute() else path.parts
    last = max((place for place, part in enumerate(parts) if part in PART_OF_FOLDER), default=len(parts) - 1)
    shorter = [Path(*parts[skipped:]) for skipped in range(last + 1)]
    for candidate in shorter:
        for folder in folders:
            if (folder / candidate).exists():
                return (folder / candidate).resolve()
    return None
