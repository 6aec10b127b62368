"""Pascal VOC: one XML per image in `Annotations`, the images in `JPEGImages`, lists of them in `ImageSets/Main`.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/
"""

import math
from pathlib import Path
from xml.etree import ElementTree

from lib.data.formats.source import (
    COUNTED,
    DIFFICULT,
    Box,
    Boxes,
    Hints,
    Item,
    Source,
    by_name,
    first_few,
    only_one,
    visible,
)
from lib.data.image_paths import image_paths
from lib.step.errors import UserError
from lib.step.files import read_text

KEY = "voc"
ANNOTATIONS = "Annotations"
PARTS = ("train", "val", "test")
# The challenge's own files count pixels from 1, with both corners inside the box; tools that write the format count
# edges from 0.
FROM_ONE = "The VOC20"


def find(root: Path, hints: Hints) -> Path:
    """The folder that holds `Annotations`, or the XML files."""
    folders = [path.parent for path in visible(root.rglob(ANNOTATIONS)) if path.is_dir()]
    return only_one(folders or sorted({path.parent for path in visible(root.rglob("*.xml"))}), root, ANNOTATIONS, KEY)


def read(root: Path, hints: Hints) -> Source:
    """The images and boxes below a folder as `find` gives it.

    Difficult objects are marked as such. Classes are in the order of `hints.names`, else in alphabetical order. Raises
    UserError for a data set that is not usable.
    """
    folder = root / ANNOTATIONS if (root / ANNOTATIONS).is_dir() else root
    files = visible(folder.rglob("*.xml"))
    if not files:
        raise UserError(f"{folder} contains no .xml file")
    images = image_paths(hints.images or root)
    by_file, by_stem = {path.name: path for path in images}, {path.stem: path for path in images}
    parts, remarks = _parts(root)
    labels, lost, unlisted = [], [], []
    for file in files:
        if parts is not None and file.stem not in parts:
            unlisted.append(file.name)
            continue
        annotation = _parse(file)
        # The XML's own name comes before the name inside: people rename files, and then the name inside is another
        # image's.
        image = by_stem.get(file.stem) or by_file.get(Path(annotation.findtext("filename", "").strip()).name)
        if image is None:
            lost.append(file.name)
        else:
            labels.append((file, image, annotation))
    if not labels:
        raise UserError(f"none of the {len(files)} files in {folder} has its image in {hints.images or root}")
    objects = {file: [_object(entry, annotation, file) for entry in annotation.findall("object")]
               for file, _, annotation in labels}  # fmt: skip
    kinds = sorted({name for boxes in objects.values() for name, _, _ in boxes})
    names, numbers = by_name(kinds, hints.names, folder)
    items = [
        Item(image, Boxes(tuple(Box(numbers[name], corners, mark) for name, corners, mark in objects[file]),
                          _frame(annotation)), (parts or {}).get(file.stem, ""))
        for file, image, annotation in labels
    ]  # fmt: skip
    taken = {item.image for item in items}
    bare = [path.name for path in images if path not in taken]
    for what, left in (("annotations have no image", lost), ("annotations are in no list of ImageSets", unlisted),
                       ("images have no annotation, or are in no list,", bare)):  # fmt: skip
        if left:
            remarks.append(f"WARNING: {len(left)} {what} and are left out: {first_few(left)}")
    return Source(folder, tuple(sorted(items, key=lambda item: item.image)), names, None, tuple(remarks))


def _parts(root: Path) -> tuple[dict[str, str] | None, list[str]]:
    """The part of each image, by its name, from ImageSets/Main (None without lists), and remarks."""
    lists = {part: root / "ImageSets" / "Main" / f"{part}.txt" for part in (*PARTS, "trainval")}
    listed = {part: [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
              for part, path in lists.items() if path.is_file()}  # fmt: skip
    if not any(listed.values()):
        return None, []
    parts = {Path(name).stem: "" for name in listed.pop("trainval", [])}
    for part, names in listed.items():
        parts |= {Path(name).stem: part for name in names}
    return parts, []


def _parse(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(file.read_bytes())
    except ElementTree.ParseError as error:
        raise UserError(f"{file} is not valid XML ({error})") from None


def _object(entry: ElementTree.Element, annotation: ElementTree.Element, file: Path):
    """Name, corners and mark of an object. Raises UserError, naming the file, when it has no box of four numbers."""
    name = (entry.findtext("name") or "").strip()
    box = entry.find("bndbox")
    if box is None and entry.find("robndbox") is not None:
        raise UserError(f"{file}: '{name}' is a rotated box (robndbox), which is not supported in VOC files")
    try:
        x1, y1, x2, y2 = (float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    except (AttributeError, TypeError, ValueError):
        x1 = y1 = x2 = y2 = math.nan
    if not name or not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise UserError(f"{file}: the object '{name}' has no name or no bndbox of four numbers")
    if (annotation.findtext("source/database") or "").startswith(FROM_ONE):
        x1, y1 = x1 - 1, y1 - 1
    mark = DIFFICULT if (entry.findtext("difficult") or "").strip() in ("1", "true", "True") else COUNTED
    return name, (x1, y1, x2, y2), mark


def _frame(annotation: ElementTree.Element) -> tuple[float, float] | None:
    try:
        width, height = (float(annotation.findtext(f"size/{side}")) for side in ("width", "height"))
    except (TypeError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None
