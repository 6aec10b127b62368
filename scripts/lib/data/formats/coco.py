"""COCO's JSON (`instances_….json`), from COCO itself and from tools that write the same format.

Roboflow writes one for each part, beside its images: `train/_annotations.coco.json`, the same in `valid` and `test`.

Format: https://cocodataset.org/#format-data
"""

import json
import math
from collections import Counter
from pathlib import Path, PureWindowsPath

from lib.data.foreign import hint
from lib.data.formats.layout import is_image
from lib.data.formats.outlines import polygons_of
from lib.data.formats.source import (
    COUNTED,
    CROWD,
    IMAGE_FOLDERS,
    Annotation,
    Box,
    Boxes,
    Hints,
    Item,
    Source,
    above_parts,
    by_name,
    first_few,
    numbered,
    only_one,
    part_of,
    unread,
    visible,
)
from lib.data.image_paths import image_paths
from lib.step.errors import UserError
from lib.step.files import read_text

KEY = "coco"
# In COCO itself, 1 of 100 objects is a crowd.
MANY_CROWDS = 0.2
# Right and bottom of a box that is given as fractions, with their rounding.
FIRST_PIXEL = 1.01
TABLES = ("images", "annotations", "categories")


def find(root: Path, hints: Hints) -> Path:
    """The JSON with boxes in a folder: the only one, or among several the only `instances…`.

    Where keypoints are wanted: the only one with keypoints, or among several the only `person_keypoints…`. If each of
    several is in the folder of a part: the folder above these.
    """
    counts = {path: _keypoint_count(data) for path in visible(root, "*.json") if (data := _coco_in(path)) is not None}
    files, beginning = list(counts), "instances"
    if hints.keypoints:
        files, beginning = [path for path, count in counts.items() if count] or files, "person_keypoints"
    instances = [path for path in files if path.name.startswith(beginning)]
    files = instances if len(files) > 1 and instances else files
    folders = {file.parent for file in files}
    above = above_parts(folders) if len(folders) == len(files) else None
    return above or only_one(files, root, "COCO JSON", KEY)


def _of_parts(folder: Path) -> tuple[dict, dict[str, str]]:
    """The JSON files of a folder's parts in one, paths and numbers with the part's name; and each image's part.

    Raises UserError where their categories differ.
    """
    here = [path for path in visible(folder, "*.json") if path.parent.parent == folder]
    found = {path: _coco_in(path) for path in here if part_of(path.parent.name)}
    files = {path: own for path, own in found.items() if own is not None}
    data, parts = {table: [] for table in TABLES}, {}
    for file, own in files.items():
        name = file.parent.name
        kinds = [(_field(entry, "id", file), _field(entry, "name", file)) for entry in own["categories"]]
        data["categories"] = data["categories"] or own["categories"]
        if kinds != [(entry["id"], entry["name"]) for entry in data["categories"]]:
            raise UserError(f"{file} has other categories than {next(iter(files))}; export them with the same")
        for image in own["images"]:
            number = f"{name}/{_identity(image, 'id', file)}"
            data["images"].append(image | {"id": number, "file_name": f"{name}/{_field(image, 'file_name', file)}"})
            parts[number] = part_of(name)
        for annotation in own["annotations"]:
            image = f"{name}/{_identity(annotation, 'image_id', file)}"
            data["annotations"].append(annotation | {"id": f"{name}/{annotation.get('id')}", "image_id": image})
    return data, parts


def read(file: Path, hints: Hints) -> Source:
    """The images and boxes of a COCO JSON; without `hints.images`, the images are looked for beside the file.

    file: or a folder with a JSON for each part, as `find` gives it.

    An image is the file at its path below that folder or the JSON's own, else the file of its name (see `_Folder`).
    Crowds are marked as such. Raises UserError for what is not usable.
    """
    data, parts = _of_parts(file) if file.is_dir() else (_load(file), {})
    names, numbers, remarks = _categories(data, hints.names, file)
    boxes, count = {}, _keypoint_count(data)
    for annotation in data["annotations"]:
        boxes.setdefault(_identity(annotation, "image_id", file), []).append(_box(annotation, numbers, count, file))
    remarks += _crowd_remarks(boxes, file)
    _refuse_fractions(boxes, file)
    folder = hints.images or _above(file)
    files = _Folder(folder, file)
    items, lost, others = [], [], []
    for image in data["images"]:
        name = PureWindowsPath(str(_field(image, "file_name", file)))
        number = _identity(image, "id", file)
        path, own = files.find(name), boxes.pop(number, ())
        if path is None:
            lost.append(name.as_posix())
        elif not is_image(path):
            others.append(path.name)
        else:
            items.append(Item(path, Boxes(tuple(own), _frame(image)), parts.get(number, "")))
    _refuse_repeated(data["images"], items, file)
    if not items:
        advice = unread(folder) or "name their folder with the key images"
        raise UserError(f"none of the {len(data['images'])} images of {file} is an image in {folder}; {advice}")
    if lost:
        remarks.append(
            f"WARNING: {len(lost)} of {len(data['images'])} images of {file.name} are not in {folder} and are left "
            f"out: {first_few(lost)}"
        )
    if lost and (reason := unread(folder)):
        remarks.append(f"WARNING: {reason}")
    if boxes:
        remarks.append(
            f"WARNING: {sum(map(len, boxes.values()))} annotations of {file.name} are left out, because it has no "
            f"image with their image_id: {first_few(boxes)}"
        )
    return Source(
        file,
        tuple(sorted(items, key=lambda item: item.image)),
        names,
        remarks=tuple(remarks),
        others=tuple(others),
        kpt_shape=[count, 3] if count else None,
    )


class _Folder:
    """The files of a folder in which the images of a COCO JSON are looked for."""

    def __init__(self, folder: Path, file: Path):
        self._folder, self._file, self._beside = folder, file, file if file.is_dir() else file.parent
        self._by_name: dict[str, list[Path]] = {}
        for path in image_paths(folder):
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: PureWindowsPath) -> Path | None:
        """The file of an image, given by its path in the JSON; None if there is none.

        Of several with its name, the only one in a folder that the JSON's name ends with (`instances_train.json` and
        `train`), or else in one of IMAGE_FOLDERS. Raises UserError where neither decides.
        """
        places = (self._folder / name.as_posix(), self._folder / name.name, self._beside / name.as_posix())
        if path := next((place for place in places if place.is_file()), None):
            return path
        named = self._by_name.get(name.name, [])
        ending = [path for path in named if path.as_posix().endswith(f"/{name.as_posix()}")]
        of_part = [path for path in named if self._file.stem.endswith(path.parent.name)]
        of_images = [path for path in named if {*IMAGE_FOLDERS} & {*path.relative_to(self._folder).parts[:-1]}]
        for paths in (named, ending, of_part, of_images):
            if len(paths) == 1:
                return paths[0]
        if named:
            raise UserError(
                f"{len(named)} images in {self._folder} are called {name.name}, {named[0]} and {named[1]} among them, "
                f"and {self._file} does not say which it means; name the folder of its images with the key images"
            )
        return None


def _crowd_remarks(boxes: dict[str, list[Box]], file: Path) -> list[str]:
    """A warning if many objects are marked as crowds. Raises UserError if all are."""
    marks = [box.mark for of_image in boxes.values() for box in of_image]
    crowds = marks.count(CROWD)
    advice = "CVAT marks every mask so; set iscrowd to 0 for single objects"
    if crowds and crowds == len(marks):
        raise UserError(f"all {crowds} objects of {file} are crowds (iscrowd), which no metric counts: {advice}")
    if crowds > MANY_CROWDS * len(marks):
        return [f"WARNING: {crowds} of {len(marks)} objects are crowds (iscrowd), which no metric counts: {advice}"]
    return []


def _refuse_fractions(boxes: dict[str, list[Box]], file: Path) -> None:
    """Raises UserError if most boxes lie in the first pixel: their numbers are fractions of the image's sides."""
    corners = [box.corners for of_image in boxes.values() for box in of_image]
    tiny = sum(min(of_box) >= 1 - FIRST_PIXEL and 0 < max(of_box) <= FIRST_PIXEL for of_box in corners)
    if 2 * tiny > len(corners):
        raise UserError(
            f"{tiny} of {len(corners)} boxes of {file} are within 0 to 1, as fractions of the image's sides; COCO's "
            "bbox is x, y, width, height in pixels: export it so"
        )


def _above(file: Path) -> Path:
    if file.is_dir():
        return file
    # annotations/instances.json beside images/
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def _coco_in(path: Path) -> dict | None:
    """What a file holds; None where it is not a COCO JSON."""
    try:
        data = json.loads(read_text(path))
    except (ValueError, UserError):
        return None
    return data if isinstance(data, dict) and all(isinstance(data.get(table), list) for table in TABLES) else None


def _keypoint_count(data: dict) -> int:
    """How many keypoints the objects have, from their categories or the first object that has some; 0 for none."""
    named = [entry.get("keypoints") for entry in data["categories"] if isinstance(entry, dict)]
    points = [entry.get("keypoints") for entry in data["annotations"] if isinstance(entry, dict)]
    listed = next((names for names in named if isinstance(names, list) and names), None)
    first = next((values for values in points if isinstance(values, list) and values), [])
    return len(listed) if listed and first else math.ceil(len(first) / 3)


def _load(file: Path) -> dict:
    try:
        data = json.loads(read_text(file))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error})") from None
    if missing := [table for table in TABLES if not isinstance(data, dict) or not isinstance(data.get(table), list)]:
        raise UserError(f"{file} is not a COCO JSON with boxes: it has no list '{missing[0]}'{hint(file)}")
    return data


def _field(entry, key: str, file: Path):
    if not isinstance(entry, dict) or key not in entry:
        raise UserError(f"{file}: an entry lacks '{key}': {str(entry)[:100]}")
    return entry[key]


def _refuse_repeated(images: list, items: list[Item], file: Path) -> None:
    """Raises UserError for two images of one id, or two entries of one file: the annotations of one would be lost."""
    named = {}
    for image in images:
        number, name = _identity(image, "id", file), _field(image, "file_name", file)
        if number in named:
            raise UserError(f"{file}: {named[number]} and {name} both have the id {number}; each needs its own")
        named[number] = name
    times = Counter(item.image for item in items)
    if repeated := [path for path, count in times.items() if count > 1]:
        raise UserError(f"{file} lists {repeated[0]} {times[repeated[0]]} times; keep one entry, with all annotations")


def _identity(entry, key: str, file: Path) -> str:
    """An image's number, as text, because some tools write it as text in one of the tables."""
    value = _field(entry, key, file)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UserError(f"{file}: '{key}' is neither a number nor text: {str(entry)[:100]}")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(entry, key: str, file: Path) -> int:
    value = _field(entry, key, file)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UserError(f"{file}: '{key}' is not a number: {str(entry)[:100]}") from None


def _categories(data: dict, given: tuple[str, ...] | None, file: Path):
    """Class names, the class of each category id, and remarks.

    Roboflow adds a category without objects that is the supercategory of the others: it is left out.
    """
    kinds = {_number(entry, "id", file): str(_field(entry, "name", file)) for entry in data["categories"]}
    used = {_number(entry, "category_id", file) for entry in data["annotations"]}
    if missing := sorted(used - kinds.keys()):
        raise UserError(f"{file}: category_id {missing[0]} is not among its categories")
    above = {entry.get("supercategory") for entry in data["categories"] if int(entry["id"]) in used}
    groups = {number for number, name in kinds.items() if number not in used and name in above and len(kinds) > 1}
    if given:
        names, positions = by_name([kinds[number] for number in sorted(used)], given, file)
        return names, {number: positions[kinds[number]] for number in used}, []
    kept = {number: name for number, name in kinds.items() if number not in groups}
    names, numbers, remarks = numbered(kept, file)
    if groups:
        remarks.append(f"category {first_few(kinds[number] for number in sorted(groups))} has no object; left out")
    return names, numbers or {number: number for number in kept}, remarks


def _frame(image: dict) -> tuple[float, float] | None:
    try:
        width, height = float(image["width"]), float(image["height"])
    except (KeyError, TypeError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _box(annotation: dict, numbers: dict[int, int], keypoint_count: int, file: Path) -> Box:
    """A box, from `bbox` or else the outline. Raises UserError, naming the annotation, when neither holds numbers."""
    try:
        x, y, width, height = map(float, annotation.get("bbox") or _around(annotation))
        crowd = bool(int(float(annotation.get("iscrowd") or 0)))
    except (TypeError, ValueError, KeyError):
        x = y = width = height = math.nan
        crowd = False
    if not all(map(math.isfinite, (x, y, width, height))):
        raise UserError(f"{file}: annotation {annotation.get('id')} has no bbox of four numbers")
    mark = CROWD if crowd else COUNTED
    details = Annotation(
        f"{file}: annotation {annotation.get('id')}",
        annotation.get("keypoints"),
        annotation.get("segmentation"),
        annotation.get("area"),
        keypoint_count,
    )
    return Box(numbers[int(annotation["category_id"])], (x, y, x + width, y + height), mark, details)


def _around(annotation: dict) -> tuple[float, float, float, float]:
    """x, y, width, height, in pixels, of the box around an outline: polygons, or a mask as COCO's run lengths."""
    outline = polygons_of(annotation["segmentation"])
    if isinstance(outline, dict):
        from faster_coco_eval.core import mask  # few data sets need it

        height, width = outline["size"]
        encoded = mask.frPyObjects(outline, height, width) if isinstance(outline["counts"], list) else outline
        return tuple(mask.toBbox(encoded))
    xs = [float(x) for polygon in outline for x in polygon[0::2]]
    ys = [float(y) for polygon in outline for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
