"""Data sets in Ultralytics' layout: `images/…/NAME.jpg` beside `labels/…/NAME.txt`, `class cx cy w h` a line.

Here they are kept flat: `DATASET/images/NAME.jpg`, `DATASET/labels/NAME.txt` (empty for a background image).
Layout: https://docs.ultralytics.com/datasets/detect/
"""

import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lib.data.image_paths import picture_paths
from lib.data.labels import read_labels
from lib.step.errors import UserError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into `folder`. Raises UserError, before anything is written, for a member that would leave it."""
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/"))
                is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
                if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or is_link:
                    raise UserError(
                        f"archive {archive} is refused: its member '{member.filename}' would leave the folder"
                    )
            file.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"archive {archive} is no readable zip ({error})") from None


class Gathered(NamedTuple):
    """What a data set holds: pictures, how many of them are background only, boxes, and labels without a picture."""

    pictures: int
    background: int
    boxes: int
    orphans: tuple[str, ...]


def gather(source: Path, images: Path, labels: Path, classes: int) -> Gathered:
    """Copy the pictures and labels below `source` into two new flat folders, every label checked.

    Raises UserError when there is no `images` folder or it is empty, two pictures share a name, or a label is broken.
    """
    found = _images_folder(source)
    pictures = picture_paths(found)
    if not pictures:
        raise UserError(f"{found} holds no picture (jpg, jpeg, png)")
    label_root = found.parent / "labels"
    wanted = {}
    for picture in pictures:
        if picture.stem in wanted:
            raise UserError(
                f"two pictures are called '{picture.stem}': {wanted[picture.stem]} and {picture}; rename one"
            )
        wanted[picture.stem] = picture
    images.mkdir()
    labels.mkdir()
    background = boxes = 0
    for stem, picture in wanted.items():
        label = label_root / picture.relative_to(found).with_suffix(".txt")
        count = len(read_labels(label, classes)) if label.exists() else 0
        boxes += count
        background += not count
        shutil.copyfile(picture, images / picture.name)
        target = labels / f"{stem}.txt"
        shutil.copyfile(label, target) if label.exists() else target.touch()
    orphans = tuple(path.name for path in sorted(label_root.rglob("*.txt")) if path.stem not in wanted)
    return Gathered(len(wanted), background, boxes, orphans)


def _images_folder(source: Path) -> Path:
    candidates = [source / "images", *sorted(path for path in source.rglob("images") if path != source / "images")]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise UserError(f"{source} holds no folder 'images'; the layout is images/NAME.jpg beside labels/NAME.txt")
