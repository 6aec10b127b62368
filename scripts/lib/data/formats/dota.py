"""DOTA: one text per image in `labelTxt`, a rotated object per line, the images in `images` beside it.

Format: https://captain-whu.github.io/DOTA/dataset.html. Parts may be in folders `train`, `val` and `test`. MMRotate's
tools, which cut the images into tiles, call the folder of the labels `annfiles`.
"""

import math
from collections import Counter
from pathlib import Path

from lib.data.foreign import hint
from lib.data.formats.source import (
    COUNTED,
    DIFFICULT,
    Annotation,
    Box,
    Boxes,
    Hints,
    Item,
    Source,
    around,
    bare_images,
    by_name,
    by_stem_and_name,
    left_out,
    the_image,
    unread,
    visible,
)
from lib.data.image_paths import image_paths
from lib.step.errors import UserError
from lib.step.files import read_text

KEY = "dota"
LAYOUT = "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
FOLDERS = ("labelTxt", "annfiles")  # and labelTxt-v1.0, which may hold a labelTxt
# Lines about the image, at the beginning of a file.
HEADER = ("imagesource:", "gsd:")
PARTS = ("train", "val", "test")
_NUMBERS = 8
_FRACTION_OR_VISIBILITY = 2


def find(root: Path, hints: Hints) -> Path:
    """The folder that holds one `labelTxt` or several. Raises UserError when there is none."""
    if not _label_folders(root):
        raise UserError(f"{root} contains no folder {' or '.join(FOLDERS)} with text files{hint(root)}")
    return root.parent if root.name.startswith(FOLDERS) else root


def read(root: Path, hints: Hints) -> Source:
    """The images and rotated objects below a folder as `find` gives it.

    Difficult objects are marked as such. Classes are in the order of `hints.names`, else in alphabetical order. Raises
    UserError, naming file and line, for what is not usable.
    """
    folders = _label_folders(root) or [root]
    files = [file for folder in folders for file in visible(folder, "*.txt") if file.parent == folder]
    if several := [stem for stem, count in Counter(file.stem for file in files).items() if count > 1]:
        raise UserError(
            f"{root} has several label files called {several[0]}.txt, in "
            f"{', '.join(str(folder.relative_to(root)) for folder in folders)}; keep one version of the labels there"
        )
    place = hints.images or root
    images = image_paths(place) or image_paths(root)
    called = by_stem_and_name(images)
    known = {file: image for file in files if (image := _image(file, called.get(file.stem, [])))}
    lost = [file.name for file in files if file not in known]
    reason = unread(place) if lost else ""
    if not known:
        sentence = f"none of the {len(files)} files in {folders[0]} has its image in {place}"
        raise UserError("; ".join(filter(None, (sentence, reason))))
    objects = {file: _objects(file) for file in known}
    kinds = sorted({kind for of_file in objects.values() for kind, *_ in of_file})
    names, numbers = by_name(kinds, hints.names, root)
    items = [
        Item(image, Boxes(tuple(_box(numbers, *entry) for entry in objects[file])), _part(file, root))
        for file, image in known.items()
    ]
    bare, doubles = bare_images(images, set(known.values()))
    remarks = left_out(
        {
            "label files have no image": lost,
            "images have no label file": bare,
            "images share the name of one that is taken": doubles,
        }
    )
    if reason:
        remarks += (f"WARNING: {reason}",)
    return Source(root, tuple(sorted(items, key=lambda item: item.image)), names, None, remarks)


def is_line(words: list[str]) -> bool:
    """Whether the words of another layout's line are DOTA's: of its header, or eight numbers in pixels before a name.

    In Ultralytics' layouts, what follows the class is a fraction of the image or a visibility of 0 to 2.
    """
    if words and words[0].startswith(HEADER):
        return True
    return _is_object(words) and max(map(float, words[1:_NUMBERS])) > _FRACTION_OR_VISIBILITY


def _is_object(words: list[str]) -> bool:
    """Whether the words of a line begin with eight finite numbers and a name."""
    if len(words) not in (_NUMBERS + 1, _NUMBERS + 2) or _number(words[_NUMBERS]) is not None:
        return False
    corners = [_number(word) for word in words[:_NUMBERS]]
    return all(corner is not None and math.isfinite(corner) for corner in corners)


def _label_folders(root: Path) -> list[Path]:
    """The folders that are called as FOLDERS, at and below `root`, or lie in one, and hold text files themselves."""
    folders = [path for path in (root, *visible(root)) if path.is_dir()]
    named = [folder for folder in folders if folder.name.startswith(FOLDERS) or folder.parent.name.startswith(FOLDERS)]
    return [folder for folder in named if any(folder.glob("*.txt"))]


def _image(file: Path, named: list[Path]) -> Path | None:
    """The image of a label file among those of its name: first in `images` beside the folder of the labels.

    None where there is none. Raises UserError when several can be meant.
    """
    folder = file.parent.parent if file.parent.parent.name.startswith(FOLDERS) else file.parent
    return the_image(file, [path for path in named if folder.parent / "images" in path.parents] or named)


def _objects(file: Path) -> list[tuple[str, list[float], str, str]]:
    """Name, corners x1, y1, … y4, mark, and the name in messages of each object of a label file."""
    objects = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith(HEADER):
            continue
        where = f"label {file}, line {number} ('{line.strip()[:60]}')"
        if not _is_object(words) or words[_NUMBERS + 1 :] not in ([], ["0"], ["1"], ["2"]):
            raise UserError(f"{where} is not '{LAYOUT}', with corners in pixels and 0 or 1 in the end")
        mark = DIFFICULT if words[_NUMBERS + 1 :] not in ([], ["0"]) else COUNTED
        objects.append((words[_NUMBERS], list(map(float, words[:_NUMBERS])), mark, where))
    return objects


def _box(numbers: dict[str, int], name: str, corners: list[float], mark: str, where: str) -> Box:
    return Box(numbers[name], around(corners), mark, Annotation(where, segmentation=[corners]))


def _part(file: Path, root: Path) -> str:
    """The part that a folder above a label file is called after; empty without one."""
    return next((part for part in file.relative_to(root).parts[:-1] if part in PARTS), "")


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
