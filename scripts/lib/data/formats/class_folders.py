"""A folder of images for each class, for classifiers: `CLASS/….jpg`, or `train/CLASS/….jpg` and `val/CLASS/….jpg`.

The classes are numbered in the alphabetical order of their folders, as Ultralytics and torchvision's `ImageFolder` do.
Layout: https://docs.ultralytics.com/datasets/classify/
"""

from collections.abc import Iterator
from pathlib import Path

from lib.data.formats.source import (
    PART_OF_FOLDER,
    Hints,
    ImageClass,
    Item,
    Source,
    by_name,
    first_few,
    left_out,
    no_image,
    visible,
)
from lib.data.image_paths import UNREAD, image_paths, is_hidden
from lib.step.errors import UserError

KEY = "class_folders"
TASK = "classify"  # what classes of whole images are for, also in the entry `task` of Ultralytics' exports


def find(root: Path, hints: Hints) -> Path:
    """The folder of the class folders or of the parts: `root`, or below folders that hold nothing but one folder."""
    folders = _folders(root)
    if len(folders) == 1 and not _is_part(folders[0]) and not _has_images(root) and _folders(folders[0]):
        return find(folders[0], hints)
    return root


def read(folder: Path, hints: Hints) -> Source:
    """The images below the folder of each class; a remark names images beside them.

    Raises UserError for fewer than two classes, for no image, and for parts beside classes.
    """
    parts = [path for path in _folders(folder) if _is_part(path)]
    of_classes = dict(_classes(folder, parts))
    kinds = sorted({path.name for path in of_classes})
    if len(kinds) < 2:
        raise UserError(f"{folder} holds {len(kinds)} folders of classes; give a folder of images for each class")
    names, numbers = by_name(kinds, hints.names, folder)
    items = [
        Item(image, ImageClass(numbers[path.name]), part)
        for path, part in of_classes.items()
        for image in image_paths(path)
    ]
    if not items:
        raise UserError(no_image(folder))
    taken = {item.image for item in items}
    loose = [path for path in image_paths(folder) if path not in taken]
    remarks = left_out({"images are in no class's folder": [path.name for path in loose]})
    others = tuple(path.name for path in visible(folder) if path.suffix.lower() in UNREAD)
    return Source(folder, tuple(items), names, remarks=remarks, others=others)


def _classes(folder: Path, parts: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the folder of each class of each part, and the part; the part is empty where there are none."""
    if not parts:
        yield from ((path, "") for path in _folders(folder))
        return
    if others := [path.name for path in _folders(folder) if path not in parts]:
        raise UserError(
            f"{folder} has both the parts {first_few(path.name for path in parts)} and {first_few(others)}; "
            "name a folder that holds only parts, or only classes"
        )
    for part in parts:
        yield from ((path, PART_OF_FOLDER[part.name]) for path in _folders(part))


def _is_part(folder: Path) -> bool:
    """Whether a folder is a part of the set; a class may be called `train` too, but its images lie directly in it."""
    return folder.name in PART_OF_FOLDER and not _has_images(folder)


def _has_images(folder: Path) -> bool:
    return any(path.parent == folder for path in image_paths(folder))


def _folders(folder: Path) -> list[Path]:
    inside = (path for path in sorted(folder.iterdir()) if not is_hidden(path, folder))
    return [path for path in inside if path.is_dir() and path.name != "__MACOSX"]
