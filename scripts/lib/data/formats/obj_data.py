"""Darknet's `obj.data`: lists of images, with labels beside them, and a file of names; so are CVAT's YOLO 1.1 zips.

Format: https://github.com/AlexeyAB/darknet#how-to-train-to-detect-your-custom-objects
"""

from pathlib import Path

from lib.data.formats.listed import Listing, located
from lib.data.formats.source import Hints, Source, only_one, visible
from lib.data.names import read_names
from lib.step.errors import UserError
from lib.step.files import read_text

KEY = "obj_data"
PARTS = {"train": "train", "valid": "val", "test": "test"}


def find(root: Path, hints: Hints) -> Path:
    """The .data file in a folder."""
    return only_one(visible(root, "*.data"), root, "obj.data", KEY)


def read(file: Path, hints: Hints) -> Source:
    """The data set that a .data file describes. Raises UserError for what is not usable."""
    pairs = (line.split("=", 1) for line in read_text(file).splitlines() if "=" in line)
    data = {key.strip(): value.strip() for key, value in pairs}
    folders = [file.parent, file.parent.parent, Path()]
    named = located(data.get("names", ""), folders) if data.get("names") else None
    if named is None or not named.is_file():
        raise UserError(f"{file}: names: {data.get('names', '')} does not exist")
    names = tuple(read_names([str(named)]))
    if data.get("classes", str(len(names))) != str(len(names)):
        raise UserError(f"{file}: classes is {data['classes']}, {named} has {len(names)} names; correct the wrong one")
    listing = Listing()
    for key, part in PARTS.items():
        if not data.get(key):
            continue
        place = located(data[key], folders)
        if place is None:
            listing.remarks.append(f"{key}: {data[key]} of {file.name} does not exist; left out")
            continue
        listing.add(place, folders, part)
    if not listing.items:
        raise UserError(f"{file} names no images; it needs train or valid")
    return Source(
        file,
        tuple(listing.items),
        names,
        remarks=tuple(listing.remarks),
        others=tuple(listing.others),
        orphans=listing.orphans(),
    )
