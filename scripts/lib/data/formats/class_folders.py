"""A folder of images for each class, for classifiers: `CLASS/….jpg`, or `train/CLASS/….jpg` and `val/CLASS/….jpg`.

The classes are numbered in the alphabetical order of their folders, as Ultralytics and torchvision's `ImageFolder` do.
Layout: https://docs.ultralytics.com/datasets/classify/
"""

from pathlib import Path

from lib.data.formats.layout import is_image
from lib.data.formats.source import (
    Hints,
    ImageClass,
    Item,
    Source,
    by_name,
    first_few,
    left_out,
    no_image,
    part_of,
    visible,
)
from lib.data.image_paths import UNREAD, is_hidden
from lib.step.errors import UserError

KEY = "class_folders"


def find(root: Path, hints: Hints) -> Path:
    """The folder of the class folders or of the parts: `root`, or below folders that hold nothing but one folder."""
    folders = _folders(root)
    if len(folders) == 1 and not _is_part(folders[0]) and not _has_images(root) and _folders(folders[0]):
        return find(folders[0], hints)
    return root


def read(folder: Path, hints: Hints) -> Source:
    """The images below the folder of each class; a remark names images beside them.

    Raises UserError for fewer than two classes, for no image, for parts beside classes, and for parts without classes.
    """
    _demand_classes(folder)
    parts = {path.name for path in _folders(folder) if _is_part(path)}
    kinds = sorted(_classes(folder, parts))
    if len(kinds) < 2:
        raise UserError(f"{folder} holds {len(kinds)} folders of classes; give a folder of images for each class")
    names, numbers = by_name(kinds, hints.names, folder)
    items, loose, others = [], [], []
    for path in visible(folder):
        *above, name = path.relative_to(folder).parts
        part = part_of(above.pop(0)) if parts and above else ""
        if path.suffix.lower() in UNREAD:
            others.append(name)
        elif not is_image(path):
            continue
        elif above:
            items.append(Item(path, ImageClass(numbers[above[0]]), part))
        else:
            loose.append(name)
    if not items:
        raise UserError(no_image(folder))
    remarks = left_out({"images are in no class's folder": loose})
    return Source(folder, tuple(items), names, remarks=remarks, others=tuple(others))


def _demand_classes(folder: Path) -> None:
    """Raises UserError where all folders are parts of a set, and images lie in them without a folder of their class."""
    loose = [path.name for path in _folders(folder) if part_of(path.name) and _has_images(path)]
    if len(loose) < 2 or len(loose) < len(_folders(folder)):
        return
    tables = sorted(path.name for part in loose for path in (folder / part).glob("*.csv"))
    named = (
        f"; {tables[0]} is not read: in Roboflow, export a set for classification as 'Folder Structure'"
        if tables
        else ""
    )
    raise UserError(
        f"{folder}: the images in {first_few(loose)} are not in folders of classes; the layout is "
        f"PART/CLASS/NAME.jpg{named}"
    )


def _classes(folder: Path, parts: set[str]) -> set[str]:
    """The names of the classes, of all parts if there are some. Raises UserError for other folders beside parts."""
    if not parts:
        return {path.name for path in _folders(folder)}
    if others := [path.name for path in _folders(folder) if path.name not in parts]:
        raise UserError(
            f"{folder} has both the parts {first_few(sorted(parts))} and {first_few(others)}; name a folder that holds "
            "only parts, or only classes"
        )
    return {path.name for part in parts for path in _folders(folder / part)}


def _is_part(folder: Path) -> bool:
    """Whether a folder is a part of the set; a class may be called `train` too, but its images lie directly in it."""
    return bool(part_of(folder.name)) and not _has_images(folder)


def _has_images(folder: Path) -> bool:
    return any(is_image(path) for path in folder.iterdir())


def _folders(folder: Path) -> list[Path]:
    inside = (path for path in sorted(folder.iterdir()) if not is_hidden(path, folder))
    return [path for path in inside if path.is_dir() and path.name != "__MACOSX"]
