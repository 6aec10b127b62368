"""Ultralytics' `data.yaml`: the folders of the train, val and test images, and the class names.

It is read as Ultralytics does (`ultralytics/data/utils.py`, `check_det_dataset`). Where that fails, for a data set that
came from another machine, images are looked for beside the file. Format: https://docs.ultralytics.com/datasets/detect/
"""

import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from lib.data.formats.data_yaml import block, entries_of, names_by_number
from lib.data.formats.layout import alike
from lib.data.formats.listed import Listing
from lib.data.formats.located import located
from lib.data.formats.source import PART_OF_FOLDER, Hints, Source, first_few, numbered, only_one, visible
from lib.step.errors import UserError

KEY = "yaml"
DATASETS = "datasets"  # where Ultralytics downloads data sets to
VAL_FOLDERS = [folder for folder, part in PART_OF_FOLDER.items() if part == "val"]  # tools differ in its name


def find(root: Path, hints: Hints) -> Path:
    """The data.yaml in a folder: the one of that name, or the only YAML file with `train`."""
    files = [path for path in visible(root) if path.suffix.lower() in (".yaml", ".yml")]
    named = [path for path in files if path.stem == "data"]
    return only_one(named or [path for path in files if "train" in block(path)], root, "data.yaml", KEY)


def read(file: Path, hints: Hints) -> Source:
    """The data set that a data.yaml describes. Raises UserError, naming the key, for what is not usable."""
    data = block(file)
    if not data:
        raise UserError(f"{file} is not a data.yaml: it has no keys such as train, val and names")
    names, numbers, remarks = numbered(names_by_number(data, file), file)
    entries, folders, lines = _placed(entries_of(data), data, file)
    listing = Listing(remarks=[*remarks, *lines])
    for part, entry in entries:
        place = located(entry, folders)
        if place is not None:
            listing.add(place, folders, part)
        elif part == "test":  # not used for training, and many files name one that does not exist
            listing.remarks.append(f"{part}: {entry} of {file.name} does not exist; left out")
        else:
            raise UserError(_nowhere(part, entry, data, file, folders))
    if not listing.items:
        raise UserError(f"{file} names no images; it needs train, val or test")
    return Source(
        file,
        tuple(listing.items),
        names,
        numbers,
        remarks=tuple(listing.remarks),
        others=tuple(listing.others),
        orphans=listing.orphans(),
        kpt_shape=data.get("kpt_shape"),
    )


def _placed(
    entries: list[tuple[str, str]], data: dict, file: Path
) -> tuple[list[tuple[str, str]], list[Path], list[str]]:
    """The entries, the folders that they may be relative to, the likeliest first, and remarks.

    Where some of the entries do not exist as they are written, and all do with another usual name of the folder of the
    val images, the entries with that name. Raises UserError where several names fit, and as `_roots` does.
    """
    folders, remarks = _roots(data, file, _needed(entries))
    if all(located(entry, folders) for entry in _needed(entries)):
        return entries, folders, remarks
    fitting = {}
    for name in VAL_FOLDERS:
        called = [(part, _renamed(entry, name)) for part, entry in entries]
        roots, lines = _roots(data, file, _needed(called))
        places = tuple(located(entry, roots) for entry in _needed(called))
        if None not in places:
            fitting.setdefault(places, (called, roots, lines))
    if not fitting:
        return entries, folders, remarks
    changed = [next(pair for pair in zip(_needed(entries), _needed(called)) if len(set(pair)) > 1)
               for called, *_ in fitting.values()]  # fmt: skip
    if len(fitting) > 1:
        raise UserError(
            f"{file}: {changed[0][0]} does not exist, and may mean {' or '.join(here for _, here in changed)}; write "
            "the right one"
        )
    [(called, roots, lines)] = fitting.values()
    remark = f"{changed[0][0]} of {file.name} does not exist; {changed[0][1]} is used, the only folder that it can mean"
    return called, roots, [*lines, remark]


def _needed(entries: list[tuple[str, str]]) -> list[str]:
    """The entries of the parts that must exist."""
    return [entry for part, entry in entries if part != "test"]


def _renamed(entry: str, name: str) -> str:
    """An entry whose last folder of val images, if it has one, is called `name`."""
    parts = re.split(r"([/\\])", entry)
    last = max((place for place, part in enumerate(parts) if part in VAL_FOLDERS), default=None)
    return entry if last is None else "".join([*parts[:last], name, *parts[last + 1 :]])


def _roots(data: dict, file: Path, entries: list[str]) -> tuple[list[Path], list[str]]:
    """The folders that entries may be relative to, the likeliest first; and a remark where `path` does not lead there.

    Where not all `entries` exist in the usual folders: the only other folder that has them all, as `_others` gives it.
    Raises UserError where several have.
    """
    beside, path = file.parent, str(data.get("path") or "")  # a folder may be called 2024
    candidates = [Path(path)] if Path(path).is_absolute() else [beside / path, Path(path), beside.parent / path]
    usual = [*(candidate for candidate in candidates if path and candidate.is_dir()), beside]
    wrong = f"path: {path} of {file.name} does not exist here" if path and len(usual) == 1 else ""
    if all(located(entry, usual) for entry in entries):
        return usual, [f"{wrong}; its images are looked for beside the file"] if wrong else []
    # Two folders may lead to the same images.
    found = {}
    for folder in _others(path, beside):
        places = tuple(located(entry, [folder]) for entry in entries)
        if None not in places:
            found.setdefault(places, folder)
    if len(found) > 1:
        listed = ", ".join(map(str, found.values()))
        raise UserError(
            f"{file}: path{f': {path}' if path else ' is not given and'} does not lead to its images, and several "
            f"folders have such: {listed}; write one of them as path"
        )
    if not found:
        return usual, []
    [folder] = found.values()
    reason = wrong or (f"path: {path} of {file.name}" if path else file.name) + " does not lead to its images"
    return [folder], [f"{reason}; its images are looked for in {folder}, the only folder nearby that has them"]


def _others(path: str, beside: Path) -> list[Path]:
    """The folders where a data set may be that is not where its file says, without repetitions.

    path: of another machine, so that only its end may be right. beside: the folder of the file, which may lie in a
    folder of the data set, or beside that of the data set.
    """
    names = [part for part in PureWindowsPath(path).parts if part not in ("..", "\\", "/")]
    ends = [Path(*names[start:]) for start in range(len(names))]
    bases = [base / name for base in (beside, beside.parent, Path.cwd()) for name in ("", DATASETS)]
    below = [folder for folder in sorted(beside.iterdir()) if folder.is_dir() and folder.name[0] != "."]
    places = [*(base / end for base in bases for end in ends), beside.parent, *below]
    return list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))


def _spelled_otherwise(entry: str, folders: Iterable[Path]) -> str:
    """What is said of a folder that is called like the last one of an entry, but in another case or number."""
    *above, name = [part for part in PureWindowsPath(entry).parts if part not in ("..", "\\", "/")] or [""]
    places = (folder.joinpath(*above[start:]) for folder in folders for start in range(len(above) + 1))
    other = next(filter(None, (alike(place, name) for place in places)), None)
    return f"{other} may be meant" if other else ""


def _nowhere(part: str, entry: str, data: dict, file: Path, usual: list[Path]) -> str:
    """The sentence about an entry that was not found."""
    path = str(data.get("path") or "")
    above = file.parent.resolve().parent
    folders = dict.fromkeys(folder.resolve() for folder in (*usual, *_others(path, file.parent)))
    listed = first_few([folder for folder in folders if folder != above], 8)
    advice = "its `download:` is never run: download the images yourself" if "download" in data else ""
    is_here = (
        f"set path{f' (now {path})' if path else ''} to the folder that {entry} is relative to, or correct the entry"
    )
    if Path(entry).is_absolute():
        is_here = f"write under {part} where these images are on this machine"
    return "; ".join(
        filter(
            None,
            (
                f"{file}: {part}: {entry} is not in {listed}, nor in the folder above",
                _spelled_otherwise(entry, folders),
                advice,
                is_here,
            ),
        )
    )
