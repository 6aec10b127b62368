"""The class names in files beside images and labels, compared with those that the labels are taken to have."""

import re
from collections.abc import Sequence
from pathlib import Path

from lib.data.formats.data_yaml import block, entries_of, names_by_number
from lib.data.formats.located import located
from lib.data.formats.source import first_few
from lib.data.names import read_names
from lib.step.errors import UserError
from lib.step.files import read_text

CLASSES = "classes.txt", "obj.names", "*.labels"  # one name per line
YAML = (".yaml", ".yml")
_SET = "set dataset.names to the names of the labels, in the order of their class numbers"


def name_files(root: Path, images: Path, labels: Path) -> list[Path]:
    """The files with class names of a data set: lists in the folders `root` and `labels`, then its data.yaml.

    root: the folder that holds those of `images` and `labels`. A data.yaml in the folder above it counts if it leads
    to these images.
    """
    places = dict.fromkeys((root, labels))
    lists = [path for place in places for pattern in CLASSES for path in sorted(place.glob(pattern)) if path.is_file()]
    return [*lists, *_data_yaml(root, images)]


def settled(
    given: tuple[str, ...] | None, files: Sequence[Path], whose: str = "dataset.names", advice: str = _SET
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The class names of labels: those `given`, else those of the first of `files` that has some; and remarks.

    The names in the first list and in the data.yaml among `files`, as `name_files` gives them, are compared with these.
    whose, advice: what the given names are, and what to do about wrong ones, in a refusal. Raises UserError where
    the names cannot be of the same labels: a name has another number, or the lists have another length and differ
    before the shorter one ends. Other names in the same places may be translations: a remark tells them.
    """
    names, remarks = given, []
    lists = [path for path in files if path.suffix.lower() not in YAML]
    for file in (*lists[:1], *(path for path in files if path not in lists)):
        if file in lists:
            theirs = read_text(file).strip().splitlines() if names else read_names([str(file)])
        else:
            try:
                theirs = _names_of_yaml(file)
            except UserError as error:
                remarks.append(f"WARNING: {error}; its names are not used")
                continue
        if names:
            remarks += _compared(names, [name.strip() for name in theirs], whose, file, advice)
        elif theirs:
            names, whose = tuple(theirs), str(file)
    return names, tuple(remarks)


def _compared(given: Sequence[str], theirs: list[str], whose: str, file: Path, advice: str) -> list[str]:
    ours, words = list(map(_word, given)), list(map(_word, theirs))
    if all(one == other for one, other in zip(ours, words)):
        return []
    lists = f"{whose} is {_counted(given)}, {file} is {_counted(theirs)}"
    moved = next((word for word in words if word in ours and ours.index(word) != words.index(word)), None)
    if moved is not None or len(theirs) != len(given):
        number = f"'{moved}' is class {ours.index(moved)} and class {words.index(moved)}; " if moved is not None else ""
        instead = ", or name it (dataset.yaml)" if file.suffix.lower() in YAML and advice == _SET else ""
        raise UserError(
            f"the labels would get wrong names: {lists}; {number}{advice}{instead}; if {file.name} is not for these "
            "labels, remove it"
        )
    return [f"WARNING: {lists}; {whose} is used: check that both mean the same classes"]


def _data_yaml(root: Path, images: Path) -> list[Path]:
    """The data.yaml beside images and labels, or the one above these that leads to them; empty without one."""
    for place in dict.fromkeys((root, root.parent)):
        files = [path for path in sorted(place.glob("*.y*ml")) if path.is_file() and path.suffix.lower() in YAML]
        named = [path for path in files if path.stem == "data"]
        if place != root:  # it may hold anything
            named = [path for path in named if _leads_to(path, images)]
        elif not named:
            named = [path for path in files if _has_train(path)]
        if len(named) == 1:
            return named
    return []


def _has_train(file: Path) -> bool:
    try:
        return "train" in block(file)
    except UserError:
        return False


def _leads_to(file: Path, images: Path) -> bool:
    """Whether an entry of a data.yaml is the folder `images`, or in it."""
    try:
        places = [located(entry, [file.parent]) for _, entry in entries_of(block(file))]
    except UserError:
        return False
    folder = images.resolve()
    return any(folder in (place, *place.parents) for place in places if place)


def _names_of_yaml(file: Path) -> list[str]:
    """The names in a data.yaml by their numbers; empty without names. Raises UserError for unusable ones."""
    data = block(file)
    if "names" not in data:
        return []
    names = names_by_number(data, file)
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{file} numbers its classes with gaps")
    return [names[number] for number in range(len(names))]


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} names ({first_few(names)})"


def _word(name: str) -> str:
    """A class name as it is compared: tools differ in case and in what they put between words."""
    return re.sub(r"[\s_-]+", " ", name.casefold())
