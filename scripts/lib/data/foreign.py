"""Formats of labels that are not read: recognized by their files, so that a refusal says what to export instead."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from xml.etree import ElementTree

from lib.data.image_paths import IMAGES, is_hidden
from lib.step.errors import UserError
from lib.step.files import read_text

LOOKED_AT = 20  # files of each suffix
LARGEST = 50_000_000  # bytes of a file that is looked at
YOLO_OR_COCO = "export the set as YOLO or COCO"
CVAT = 'CVAT\'s own XML: export from CVAT as "Ultralytics YOLO Detection 1.0" or "COCO 1.0"'
HRSC = "HRSC2016's XML: convert it to DOTA's layout (dataset.dota)"
KITTI = "KITTI's labels: convert them to COCO or to Ultralytics' layout, 'class cx cy w h' as fractions of the sides"
COMMAS = "a list of boxes between commas (VisDrone, MOT): convert it to COCO or to Ultralytics' layout"
WIDER = "WIDER FACE's list of boxes: convert it to COCO or to Ultralytics' layout"
ICDAR = "ICDAR's quadrilaterals with a transcription: convert them to DOTA's layout (dataset.dota), with one class"
MPII = "MPII's joints: convert them to COCO's keypoints (person_keypoints)"
TRACKLETS = "KITTI's tracklets, boxes in space: project them into the images, and convert them to COCO"
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
# Of MATLAB files, by the beginning of the name.
_MATLAB = {"wider_": WIDER, "mpii_": MPII}
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
    (lambda data: _has(_first(data), "joints", "joints_vis"), MPII),
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
    return _sentence({name: path for path in map(PurePath, names) if (name := _of_name(path))})


def _of_name(path: PurePath) -> str:
    """The sentence about a file's format, as far as its name tells it; else empty."""
    name, suffix = path.name.lower(), path.suffix.lower()
    known = next((sentence for start, sentence in _MATLAB.items() if name.startswith(start)), "")
    return (known if suffix == ".mat" else "") or _SUFFIXES.get(suffix, "")


def _sentence(found: dict[str, PurePath]) -> str:
    # A table may belong to anything.
    name = min(found, key=lambda name: name == _SUFFIXES[".csv"], default="")
    return f"; {found[name].name} is {name}" if name else ""


def _named(path: Path, suffix: str) -> str:
    if suffix in _SUFFIXES or path.stat().st_size > LARGEST:
        return _of_name(path)
    try:
        if suffix == ".json":
            return named_json(json.loads(read_text(path)))
        if suffix == ".xml":
            return named_xml(ElementTree.fromstring(path.read_bytes()))
        if suffix == ".txt":
            return _named_lines(path.name, read_text(path).splitlines()[:3])
    except (ElementTree.ParseError, UserError, ValueError, LookupError):
        return ""
    return ""


def _named_lines(name: str, lines: list[str]) -> str:
    """The sentence about the format of a text file called `name`, by its first lines; else empty."""
    first = lines[0] if lines else ""
    if is_kitti(first.split()):
        return KITTI
    if _is_wider(lines):
        return WIDER
    if _is_icdar(name, first):
        return ICDAR
    return COMMAS if _is_of_commas(first) else ""


def named_json(data) -> str:
    """The sentence about a JSON's format that is not read; empty for others."""
    return next((name for fits, name in _JSON if fits(data)), "")


def named_xml(root: ElementTree.Element) -> str:
    """The sentence about an XML's format; empty for unknown ones."""
    if root.tag == "annotations" and any(root.find(tag) is not None for tag in ("image", "track", "meta")):
        return CVAT
    if root.find("HRSC_Objects") is not None:
        return HRSC
    if root.tag == "boost_serialization" and root.find("tracklets") is not None:
        return TRACKLETS
    if root.find("object/polygon/pt") is not None and root.find("object/bndbox") is None:
        return LABELME_XML
    return VOC if root.tag == "annotation" and root.find("object/bndbox") is not None else ""


def is_kitti(words: list[str]) -> bool:
    """Whether the words of a label's line are KITTI's: a name, then 14 numbers or 15."""
    return len(words) in _KITTI_WORDS and not _is_number(words[0]) and all(map(_is_number, words[1:]))


def _is_wider(lines: list[str]) -> bool:
    """Whether lines are WIDER FACE's: the path of an image, how many faces it has, and a face in ten numbers."""
    if len(lines) < 3 or PurePath(lines[0].strip()).suffix.lower() not in IMAGES or not lines[1].strip().isdecimal():
        return False
    words = lines[2].split()
    return len(words) == 10 and all(map(_is_number, words))


def _is_icdar(name: str, line: str) -> bool:
    """Whether a line is ICDAR's: the corners of a word (four numbers in 2013, then eight), and what is written there.

    What is written may be a number: then the name of the file, gt_….txt, tells.
    """
    words = [word.strip() for word in line.split(",")]
    corners = next((place for place, word in enumerate(words) if not _is_number(word)), len(words))
    if corners == 4 and len(words) > 4:
        return words[4].startswith('"')
    return len(words) > 8 and (corners == 8 or (corners > 8 and name.startswith("gt_")))


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
