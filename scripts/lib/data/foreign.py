"""Formats of labels that are not read: recognized by their files, so that a refusal says what to export instead."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from xml.etree import ElementTree

from lib.data.image_paths import is_hidden
from lib.step.errors import UserError
from lib.step.files import read_text

LOOKED_AT = 20  # files of each suffix
LARGEST = 50_000_000  # bytes of a file that is looked at
YOLO_OR_COCO = "export the set as YOLO or COCO"
CVAT = 'CVAT\'s own XML: export from CVAT as "Ultralytics YOLO Detection 1.0" or "COCO 1.0"'
HRSC = "HRSC2016's XML: convert it to DOTA's layout (dataset.dota)"
KITTI = "KITTI's labels: convert them to COCO or to Ultralytics' layout, 'class cx cy w h' as fractions of the sides"
COMMAS = "a list of boxes between commas (VisDrone, MOT): convert it to COCO or to Ultralytics' layout"
LABELME_XML = "LabelMe's XML with polygons: convert it to COCO"
VOC = "Pascal VOC's XML: name it with dataset: {voc: FOLDER}"
_SUFFIXES = {
    ".tfrecord": f"TFRecord files: {YOLO_OR_COCO}",
    ".tfrecords": f"TFRecord files: {YOLO_OR_COCO}",
    ".record": f"TFRecord files: {YOLO_OR_COCO}",
    ".parquet": f"Parquet files: {YOLO_OR_COCO}",
    ".ndjson": f"NDJSON files: {YOLO_OR_COCO}",
    ".mat": "MATLAB files: convert the labels to COCO or to Ultralytics' layout",
    ".csv": f"a CSV file: if its rows are boxes, {YOLO_OR_COCO}",
}
SUFFIXES = tuple(_SUFFIXES)
_KITTI_WORDS = (15, 16)  # of a line: labels, and results with a score
_JSON: tuple[tuple[Callable[[object], bool], str], ...] = (
    (
        lambda data: _has(data, "shapes", "imagePath"),
        "labelme's JSON: convert it to COCO, for example with labelme2coco",
    ),
    (
        lambda data: _has(data, "_via_img_metadata") or _has(_first(data), "filename", "regions"),
        "VIA's JSON: export from VIA as COCO",
    ),
    (
        lambda data: _has(data, "assets", "tags") or _has(data, "asset", "regions"),
        "VoTT's JSON: export from VoTT as Pascal VOC",
    ),
    (lambda data: _has(_first(data), "image", "annotations"), f"Create ML's JSON: {YOLO_OR_COCO}"),
    (
        lambda data: _has(_first(data), "data", "annotations") or _has(_first(data), "data", "completions"),
        "Label Studio's JSON: export from Label Studio as YOLO or COCO",
    ),
    (lambda data: _has(data, "objects", "size", "tags"), f"Supervisely's JSON: {YOLO_OR_COCO}"),
    (lambda data: _has(data, "items", "categories", "infos"), f"Datumaro's JSON: {YOLO_OR_COCO}"),
)


def hint(place: Path) -> str:
    """The end of a refusal, `; FILE is …`, if a file, or one in a folder, is of a known format; else empty."""
    files = [place] if place.is_file() else (path for path in sorted(place.rglob("*")) if not is_hidden(path, place))
    looked, found = {}, {}
    for path in files:
        suffix = path.suffix.lower()
        looked[suffix] = looked.get(suffix, 0) + 1
        if looked[suffix] <= LOOKED_AT and "__MACOSX" not in path.parts and path.is_file():
            found.setdefault(_named(path, suffix), path)
    return _sentence({name: path for name, path in found.items() if name})


def hint_of_names(names: Iterable[str]) -> str:
    """As `hint`, from the names of files in an archive that is not unpacked."""
    paths = map(PurePath, names)
    return _sentence({name: path for path in paths if (name := _SUFFIXES.get(path.suffix.lower(), ""))})


def _sentence(found: dict[str, PurePath]) -> str:
    # A table may belong to anything.
    name = min(found, key=lambda name: name == _SUFFIXES[".csv"], default="")
    return f"; {found[name].name} is {name}" if name else ""


def _named(path: Path, suffix: str) -> str:
    if suffix in _SUFFIXES or path.stat().st_size > LARGEST:
        return _SUFFIXES.get(suffix, "")
    try:
        if suffix == ".json":
            return named_json(json.loads(read_text(path)))
        if suffix == ".xml":
            return named_xml(ElementTree.fromstring(path.read_bytes()))
        if suffix == ".txt":
            first = next(iter(read_text(path).splitlines()), "")
            return KITTI if is_kitti(first.split()) else COMMAS if _is_of_commas(first) else ""
    except (ElementTree.ParseError, UserError, ValueError, LookupError):
        return ""
    return ""


def named_json(data) -> str:
    """The sentence about a JSON's format that is not read; empty for others."""
    return next((name for fits, name in _JSON if fits(data)), "")


def named_xml(root: ElementTree.Element) -> str:
    """The sentence about an XML's format; empty for unknown ones."""
    if root.tag == "annotations" and any(root.find(tag) is not None for tag in ("image", "track", "meta")):
        return CVAT
    if root.find("HRSC_Objects") is not None:
        return HRSC
    if root.find("object/polygon/pt") is not None and root.find("object/bndbox") is None:
        return LABELME_XML
    return VOC if root.tag == "annotation" and root.find("object/bndbox") is not None else ""


def is_kitti(words: list[str]) -> bool:
    """Whether the words of a label's line are KITTI's: a name, then 14 numbers or 15."""
    return len(words) in _KITTI_WORDS and not _is_number(words[0]) and all(map(_is_number, words[1:]))


def _is_of_commas(line: str) -> bool:
    """Whether a line is a box of VisDrone (8 numbers) or MOT (6 to 10)."""
    words = line.strip().rstrip(",").split(",")
    return 6 <= len(words) <= 10 and all(map(_is_number, words))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _has(data, *keys: str) -> bool:
    return isinstance(data, dict) and all(key in data for key in keys)


def _first(data):
    """The first entry of a list or a mapping; None without one."""
    entries = data if isinstance(data, list) else data.values() if isinstance(data, dict) else ()
    return next(iter(entries), None)
