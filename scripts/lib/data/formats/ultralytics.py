"""Ultralytics' `data.yaml`: the folders of the train, val and test images, and the class names.

It is read as Ultralytics does (`ultralytics/data/utils.py`, `check_det_dataset`). Where that fails, for a data set that
came from another machine, images are looked for beside the file. Format: https://docs.ultralytics.com/datasets/detect/
"""

from pathlib import Path

import yaml

from lib.data.formats.listed import Listing, located
from lib.data.formats.source import Hints, Source, numbered, only_one, visible
from lib.step import yaml_text
from lib.step.errors import UserError
from lib.step.files import read_text

KEY = "yaml"
MOST_CLASSES = 100_000
PARTS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


def find(root: Path, hints: Hints) -> Path:
    """The data.yaml in a folder: the one of that name, or the only YAML file with `train`."""
    files = [path for path in visible(root) if path.suffix.lower() in (".yaml", ".yml")]
    named = [path for path in files if path.stem == "data"]
    return only_one(named or [path for path in files if "train" in _block(path)], root, "data.yaml", KEY)


def read(file: Path, hints: Hints) -> Source:
    """The data set that a data.yaml describes. Raises UserError, naming the key, for what is not usable."""
    data = _block(file)
    if not data:
        raise UserError(f"{file} is not a data.yaml: it has no keys such as train, val and names")
    names, numbers, remarks = _names(data, file)
    folders, lines = _roots(data, file)
    listing = Listing(remarks=[*remarks, *lines])
    for part, keys in PARTS.items():
        given = next((data[key] for key in keys if data.get(key)), None)
        for entry in given if isinstance(given, list) else [given] if given else []:
            place = located(str(entry), folders)
            if place is None:
                if part == "test":  # not used for training, and many files name one that does not exist
                    listing.remarks.append(f"{part}: {entry} of {file.name} does not exist; left out")
                    continue
                download = "; its `download:` is never run: download the images yourself" if "download" in data else ""
                raise UserError(f"{file}: {part}: {entry} does not exist below {folders[0]}{download}")
            listing.add(place, folders, part)
    if not listing.items:
        raise UserError(f"{file} names no images; it needs train, val or test")
    return Source(
        file,
        tuple(listing.items),
        names,
        numbers,
        remarks=tuple(listing.remarks),
        others=tuple(listing.others),
        kpt_shape=data.get("kpt_shape"),
    )


def _block(file: Path) -> dict:
    try:
        data = yaml_text.load(read_text(file))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not valid YAML ({str(error).splitlines()[0]})") from None
    return data if isinstance(data, dict) else {}


def _names(data: dict, file: Path) -> tuple[tuple[str, ...], dict[int, int] | None, list[str]]:
    names, count = data.get("names"), data.get("nc")
    if names is None and count is None:
        raise UserError(f"{file} has neither names nor nc")
    try:
        count = None if count is None else _whole_number(count)
        if names is None and count > MOST_CLASSES:
            raise UserError(f"{file}: nc is {count}; at most {MOST_CLASSES} classes are possible")
        names = [f"class_{number}" for number in range(count)] if names is None else names
        pairs = enumerate(names) if isinstance(names, list) else names.items()
        names = {_whole_number(key): name for key, name in pairs}
    except (ValueError, AttributeError):
        raise UserError(
            f"{file}: nc must be a whole number, and names a list or a mapping of class numbers to names"
        ) from None
    # In a mapping with gaps, nc may count the gaps too.
    if count not in (None, len(names), max(names, default=-1) + 1):
        raise UserError(f"{file}: nc is {count}, names has {len(names)}; correct the wrong one")
    if odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, str | int | float)]:
        raise UserError(f"{file}: names holds {odd[0]!r}, which is not text; put it in quotes if it is a name")
    return numbered({number: str(name) for number, name in names.items()}, file)


def _whole_number(value) -> int:
    """The whole number that YAML gives as one, or as digits. Raises ValueError for others, such as 0.5 or yes."""
    return int(str(value))


def _roots(data: dict, file: Path) -> tuple[list[Path], list[str]]:
    """The folders that entries may be relative to, the likeliest first; and a remark where `path` does not exist."""
    beside, path = file.parent, data.get("path")
    if not path:
        return [beside], []
    path = str(path)  # a folder may be called 2024
    candidates = [Path(path)] if Path(path).is_absolute() else [beside / path, Path(path), beside.parent / path]
    roots = [candidate for candidate in candidates if candidate.is_dir()]
    if roots:
        return [*roots, beside], []
    return [beside], [f"path: {path} of {file.name} does not exist here; its images are looked for beside the file"]
