"""Pascal VOC: one XML per image in `Annotations`, the images in `JPEGImages`, lists of them in `ImageSets/Main`.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/. An object may also have a rotated box, `robndbox`: as
roLabelImg writes it (centre, size, angle), or as DIOR-R has it (four corners). Roboflow writes XMLs beside their
images, in a folder for each part: `train`, `valid`, `test`.
"""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from lib.data.foreign import VOC, named_xml
from lib.data.formats.source import (
    COUNTED,
    DIFFICULT,
    IMAGE_FOLDERS,
    Annotation,
    Box,
    Boxes,
    Hints,
    Item,
    Source,
    above_parts,
    around,
    bare_images,
    by_name,
    by_stem_and_name,
    first_few,
    left_out,
    only_one,
    part_of,
    the_image,
    unread,
    visible,
)
from lib.data.image_paths import IMAGES, UNREAD, image_paths
from lib.step.errors import UserError
from lib.step.files import read_text

KEY = "voc"
ANNOTATIONS = "Annotations"
LISTS = "ImageSets/Main"
PARTS = ("train", "val", "test")
# The challenge's own files count pixels from 1, with both corners inside the box; tools that write the format count
# edges from 0.
FROM_ONE = "The VOC20"
CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")  # of a robndbox in DIOR-R


def find(root: Path, hints: Hints) -> Path:
    """The folder that holds `Annotations`, or the XML files, or a folder of XML files for each part."""
    folders = [path.parent for path in visible(root, ANNOTATIONS) if path.is_dir()]
    if not folders:
        folders = sorted({path.parent for path in visible(root, "*.xml")})
        if above := above_parts({*folders}):
            return above
    return only_one(folders, root, ANNOTATIONS, KEY)


def read(root: Path, hints: Hints) -> Source:
    """The images and boxes below a folder as `find` gives it.

    Difficult objects are marked as such. Classes are in the order of `hints.names`, else in alphabetical order. Raises
    UserError for a data set that is not usable.
    """
    folder = root / ANNOTATIONS if (root / ANNOTATIONS).is_dir() else root
    files = visible(folder, "*.xml")
    if not files:
        raise UserError(f"{folder} contains no .xml file")
    place = hints.images or root
    images = image_paths(place)
    called = by_stem_and_name(images)
    drawn = {path for path in images if _is_drawn(path.relative_to(place))}
    parts, unknown = _parts(root, folder, files)
    labels, lost, unlisted = [], [], []
    for file in files:
        if parts is not None and file not in parts:
            unlisted.append(file.name)
            continue
        annotation = _parse(file)
        beside = _beside(file, root, folder, hints.images)
        image = _image(file, Path(annotation.findtext("filename", "").strip()).name, beside, called, drawn)
        if image is None:
            lost.append(file.name)
        else:
            labels.append((file, image, annotation))
    if not labels:
        raise UserError(_nothing(folder, root, place, lost, unlisted, unknown))
    _refuse_shared(labels)
    objects = {file: [_object(entry, annotation, file) for entry in annotation.findall("object")]
               for file, _, annotation in labels}  # fmt: skip
    kinds = sorted({name for boxes in objects.values() for name, *_ in boxes})
    names, numbers = by_name(kinds, hints.names, folder)
    boxes_of = {file: tuple(Box(numbers[name], *rest) for name, *rest in entries) for file, entries in objects.items()}
    items = [
        Item(image, Boxes(boxes_of[file], _frame(annotation)), (parts or {}).get(file, ""))
        for file, image, annotation in labels
    ]
    bare, doubles = bare_images([path for path in images if path not in drawn], {item.image for item in items})
    remarks = left_out(
        {
            "annotations have no image": lost,
            f"annotations are in no list of {LISTS}": unlisted,
            f"names in the lists of {LISTS} have no annotation": unknown,
            "images have no annotation, or are in no list,": bare,
            "images share the name of one that is taken": doubles,
        }
    )
    if lost and (reason := unread(place)):
        remarks += (f"WARNING: {reason}",)
    return Source(folder, tuple(sorted(items, key=lambda item: item.image)), names, None, remarks)


def _is_drawn(path: Path) -> bool:
    """Whether an image, by its path in the data set, is a mask or a drawing, which often has its image's name."""
    folders = [folder.lower() for folder in path.parts[:-1]]
    return any(
        folder.startswith(("segmentationclass", "segmentationobject")) or "visualization" in folder or folder == "masks"
        for folder in folders
    )


def _beside(file: Path, root: Path, folder: Path, images: Path | None) -> set[Path]:
    """The folders where the image of an XML is by the XML's own path.

    They are its own folder, the one of the same path below `images` if that is given, and those that have the name of
    a folder of images in place of `Annotations`.
    """
    beside, parts = {file.parent}, file.parent.relative_to(root).parts
    if images:
        beside.add(images / file.parent.relative_to(folder))
    for place, part in enumerate(parts):
        if part.lower() == ANNOTATIONS.lower():
            beside |= {root.joinpath(*parts[:place], name, *parts[place + 1 :]) for name in IMAGE_FOLDERS}
    return beside


def _image(file: Path, inside: str, beside: set[Path], called: dict[str, list[Path]], drawn: set[Path]) -> Path | None:
    """The image of an XML; None where there is none.

    inside: the image's name in the XML. beside: as `_beside` gives it. called: the images by their names. drawn: those
    that are not taken from other folders. Raises UserError when several can be meant.
    """
    # The XML's own name comes before the name inside: people rename files, and then the name inside is another
    # image's.
    for named in (called.get(file.stem, []), called.get(inside, [])):
        # A class may be called "masks": beside its XML, any file is an image.
        found = [path for path in named if path.parent in beside] or [path for path in named if path not in drawn]
        if found:
            return the_image(file, [path for path in found if path.name == inside] or found)
    return None


def _refuse_shared(labels: list[tuple[Path, Path, ElementTree.Element]]) -> None:
    """Raises UserError when two XMLs have the same image."""
    owners = {}
    for file, image, _ in labels:
        if owners.setdefault(image, file) != file:
            raise UserError(
                f"{owners[image]} and {file} have the same image, {image}; keep one of them, or add the other's image"
            )


def _nothing(folder: Path, root: Path, place: Path, lost: list, unlisted: list, unknown: list[str]) -> str:
    """The sentence for a data set none of whose XMLs can be used: they have no image, or are in no list."""
    count, lists = len(lost) + len(unlisted), root / LISTS
    if not lost:
        names = f", which has {first_few(unknown)}" if unknown else ""
        return f"none of the {count} files in {folder} is in a list of {lists}{names}; list their names there"
    if unlisted:
        sentence = f"of the {count} files in {folder}, {len(unlisted)} are in no list of {lists}, and the others have"
        sentence += f" no image in {place}"
    else:
        sentence = f"none of the {count} files in {folder} has its image in {place}"
    return "; ".join(filter(None, (sentence, unread(place))))


def _parts(root: Path, folder: Path, files: list[Path]) -> tuple[dict[Path, str] | None, list[str]]:
    """The part of each XML that a list of ImageSets/Main names, and the lines that name none.

    Without lists, the part that each XML's folder is named like, or else None.
    """
    lists = {part: root / LISTS / f"{part}.txt" for part in ("trainval", *PARTS)}
    lines = [(line.strip(), part) for part, path in lists.items() if path.is_file()
             for line in read_text(path).splitlines() if line.strip()]  # fmt: skip
    if not lines:
        is_above = above_parts({file.parent for file in files}) == root
        return {file: part_of(file.parent.name) for file in files} if is_above else None, []
    whole = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
    ends = {}
    for name, file in whole.items():
        for end in _ends(name):
            ends.setdefault(end, []).append(file)
    parts, unknown = {}, []
    for line, part in lines:
        # A line may lack the folders of an XML, or have more of them.
        found = [ends.get(name) or [whole[end] for end in _ends(name) if end in whole] for name in _readings(line)]
        named = next(filter(None, found), [])
        parts |= dict.fromkeys(named, part if part in PARTS else "")
        if not named:
            unknown.append(line)
    return parts, list(dict.fromkeys(unknown))


def _ends(path: str) -> list[str]:
    """A path, and what is left of it without its first folder, its first two and so on."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _readings(line: str) -> list[str]:
    """The names that a line of a list can mean, the likeliest first: names may hold dots, spaces and numbers."""
    bare = re.sub(r"\s+(-1|0|1)$", "", line)  # the column that the challenge's lists of one class have
    readings = []
    for name in (line, bare):
        stem, dot, suffix = name.rpartition(".")
        is_suffix = f".{suffix}".lower() in (*IMAGES, *UNREAD, ".xml")
        readings += [name, stem] if dot and is_suffix else [name]
    return readings


def _parse(file: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(file.read_bytes())
    except ElementTree.ParseError as error:
        raise UserError(f"{file} is not valid XML ({error})") from None
    except (ValueError, LookupError):  # of the parser, for an encoding that it does not know
        raise UserError(f'{file} is not text in UTF-8; save it as UTF-8, with encoding="UTF-8" in line 1') from None
    if (name := named_xml(root)) not in ("", VOC):
        raise UserError(f"{file} is not Pascal VOC's XML but {name}")
    return root


def _object(entry: ElementTree.Element, annotation: ElementTree.Element, file: Path):
    """Name, corners, mark and annotation of an object. Raises UserError, naming the file, when it has no usable box."""
    name = (entry.findtext("name") or "").strip()
    mark = DIFFICULT if (entry.findtext("difficult") or "").strip() in ("1", "true", "True") else COUNTED
    rotated, box = entry.find("robndbox"), entry.find("bndbox")
    if rotated is not None:
        corners = _rotated_corners(rotated)
        if not name or not all(map(math.isfinite, corners)):
            raise UserError(
                f"{file}: the object '{name}' has no name or no robndbox with cx, cy, w, h and angle (or four corners)"
            )
        return name, around(corners), mark, Annotation(f"{file}: '{name}'", segmentation=[corners])
    try:
        x1, y1, x2, y2 = (float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    except (AttributeError, TypeError, ValueError):
        x1 = y1 = x2 = y2 = math.nan
    if not name or not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise UserError(f"{file}: the object '{name}' has no name or no bndbox of four numbers")
    if (annotation.findtext("source/database") or "").startswith(FROM_ONE):
        x1, y1 = x1 - 1, y1 - 1
    return name, (x1, y1, x2, y2), mark, None


def _rotated_corners(box: ElementTree.Element) -> list[float]:
    """The corners x1, y1, … y4 of a `robndbox`; NaN where it has other fields or words that are not numbers.

    The angle is in radians, clockwise on the screen. Source: roLabelImg, libs/pascal_voc_io.py, `rotatePoint`.
    """
    if box.find("cx") is None:
        names = [f"{axis}_{corner}" for corner in CORNERS for axis in "xy"]
        return [_number(box, name) for name in names]
    cx, cy, width, height, angle = (_number(box, name) for name in ("cx", "cy", "w", "h", "angle"))
    if not math.isfinite(angle):
        return [math.nan]
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = []
    for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        right, down = x * width, y * height
        corners += [cx + cosine * right - sine * down, cy + sine * right + cosine * down]
    return corners


def _number(entry: ElementTree.Element, field: str) -> float:
    try:
        return float(entry.findtext(field))
    except (TypeError, ValueError):
        return math.nan


def _frame(annotation: ElementTree.Element) -> tuple[float, float] | None:
    try:
        width, height = (float(annotation.findtext(f"size/{side}")) for side in ("width", "height"))
    except (TypeError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None
