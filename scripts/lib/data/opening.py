"""Opens the data set that the config names: unpacks an archive and reads the images and labels in the right format."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lib.data.archives import is_archive, refuse_other, unpack
from lib.data.download import fetch
from lib.data.formats import images as plain_images
from lib.data.formats import layout
from lib.data.formats.registry import FORMATS
from lib.data.formats.source import Hints, Source
from lib.data.keypoints import KEYPOINT_TASK
from lib.data.sources import DRAWN, is_url
from lib.step.console import say
from lib.step.errors import UserError

# From sources, their SHA-256 and their key in the config to a folder; raises UserError when no source works.
Unpack = Callable[[list[str], str | None, str], Path]
# Formats with a file or folder of their own; `archive` alone means the layout without such a file.
DESCRIBED = tuple(sorted(FORMATS.keys() - {layout.KEY, plain_images.KEY}))
CALIBRATION = "calibration."  # before the options of the pool's own source
_HELP = {
    "yaml": "Ultralytics' data.yaml",
    "coco": "COCO's JSON",
    "voc": "Pascal VOC's folder",
    "dota": "DOTA's folder (labelTxt)",
    "obj_data": "an obj.data (CVAT's YOLO 1.1)",
    "class_folders": "a folder of images per class",
}


def source_arguments(parser: ArgumentParser) -> None:
    """Add the options for the source of a data set and of its calibration images, named like the config's keys."""
    for prefix, of in (("", ""), (CALIBRATION, "of the calibration images: ")):
        parser.add_argument(
            f"--{prefix}archive",
            nargs="+",
            metavar="SOURCE",
            help=f"{of}zip or tar (URL or path) or folder; '{DRAWN}' is the folder of that name beside --output",
        )
        for key in DESCRIBED:
            also = "; also a zip, tar or folder that holds it, or its path inside --archive"
            parser.add_argument(f"--{prefix}{key}", metavar="PATH", help=f"{of}{_HELP.get(key, key)}{also}")
        parser.add_argument(
            f"--{prefix}images", metavar="DIR", help=f"{of}folder of images, for --{prefix}coco or by itself"
        )
        parser.add_argument(f"--{prefix}sha256", default="", help=f"{of}SHA-256 of the archive, in hex")
        parser.add_argument(
            f"--{prefix}images_sha256", default="", help=f"{of}SHA-256 of the archive of --{prefix}images"
        )


def source_block(options: dict, prefix: str, output: Path) -> dict:
    """One source's block, as in the config, from the options by their names."""
    keys = ("archive", *DESCRIBED, "images", "sha256", "images_sha256")
    given = {key: options[prefix + key] for key in keys if options[prefix + key]}
    if "archive" in given:
        given["archive"] = [str(output.parent / DRAWN) if one == DRAWN else one for one in given["archive"]]
    return given


@dataclass(frozen=True)
class Place:
    """What the config says about a data set: `archive` (sources, tried in order) or a format's key, and its options.

    key: one of FORMATS. path: the file or folder of that format; with `archive`, inside it. images: a folder of images,
    likewise inside `archive` unless it is a URL. images_sha256: its checksum where it is a zip. config_key: the key
    in the config, for messages. keypoints: as in Hints.
    """

    key: str
    path: str | None
    archive: tuple[str, ...]
    images: str | None
    sha256: str | None
    names: tuple[str, ...] | None
    config_key: str
    keypoints: bool = False
    images_sha256: str | None = None

    @classmethod
    def of(cls, block: Mapping, names: tuple[str, ...] | None, config_key: str, task: str = "") -> "Place":
        """The place that a block of the config names, for a task. Raises UserError when it names none, or two."""
        given = [key for key in DESCRIBED if block.get(key)]
        if len(given) > 1:
            raise UserError(f"{config_key}: {' and '.join(given)} are two formats; name one")
        archive = tuple(block.get("archive") or ())
        images = block.get("images")
        key = given[0] if given else layout.KEY if archive else plain_images.KEY
        if key == plain_images.KEY and not images:
            raise UserError(f"{config_key} names no data set; give archive, {', '.join(DESCRIBED)} or images")
        path = block.get(key) if given else images if key == plain_images.KEY else None
        images = images if given else None
        sha256, keypoints = block.get("sha256"), task == KEYPOINT_TASK
        return cls(key, path, archive, images, sha256, names, config_key, keypoints, block.get("images_sha256"))


def opened(place: Place, folder_of: Unpack) -> Source:
    """The data set at a place; `folder_of` unpacks archives. Raises UserError when it cannot be fetched or read."""
    data_format, hints = FORMATS[place.key], Hints(None, place.names, place.keypoints)
    if place.archive:
        root = folder_of(list(place.archive), place.sha256, f"{place.config_key}.archive")
        target = _inside(root, place.path, place.config_key) if place.path else data_format.find(root, hints)
        is_inside = place.images and not is_url(place.images)
        images = _inside(root, place.images, place.config_key) if is_inside else root
    else:
        target, root = _alone(place, hints, folder_of)
        is_inside, images = False, root
    if place.images and not is_inside:
        images = _alone_images(place, folder_of)
    return data_format.read(target, replace(hints, images=images))


def _alone(place: Place, hints: Hints, folder_of: Unpack) -> tuple[Path, Path | None]:
    """The file or folder that a format's own key names, and the folder to search for images, or None."""
    data_format, path = FORMATS[place.key], Path(place.path).expanduser()
    if is_url(place.path) or is_archive(path):
        root = folder_of([place.path], place.sha256, f"{place.config_key}.{place.key}")
        return data_format.find(root, hints), root
    if path.is_dir():
        return data_format.find(path, hints), path
    if not path.is_file():
        raise UserError(f"{place.config_key}.{place.key}: there is no file or folder {place.path}")
    refuse_other(path)
    return path, None


def _alone_images(place: Place, folder_of: Unpack) -> Path:
    folder = Path(place.images).expanduser()
    if is_url(place.images) or is_archive(folder):
        return folder_of([place.images], place.images_sha256, f"{place.config_key}.images")
    refuse_other(folder)
    if not folder.is_dir():
        raise UserError(f"{place.config_key}.images: there is no folder {place.images}")
    return folder


def _inside(root: Path, path: str, config_key: str) -> Path:
    """A path inside an archive: below its root, or below its only folder. Raises UserError when it does not exist."""
    folders = [root, *(folder for folder in sorted(root.iterdir()) if folder.is_dir())]
    for folder in folders:
        if (folder / path).exists():
            return folder / path
    raise UserError(f"{config_key}: its archive does not contain {path}")


def unpacked_in(scratch: Path, sources: list[str], checksum: str | None, config_key: str) -> Path:
    """A data set as a folder: the first source that works; an archive is unpacked below `scratch`."""
    scratch = scratch / str(len(list(scratch.iterdir())))
    scratch.mkdir()
    folders = [source for source in sources if Path(source).expanduser().is_dir()]
    zips = sources[: sources.index(folders[0])] if folders else sources
    if zips and not checksum:
        say("WARNING: the data set has no sha256 in the config (dataset.sha256); it is used unchecked")
    archive = scratch / "dataset.zip"
    try:
        source = fetch(zips, archive, checksum or None, config_key)
        say(f"data set from {source}{_fallbacks(sources, source)}")
    except UserError as error:
        if not folders:
            raise
        if zips:
            say(f"{error}")
        say(
            f"the data set is read from the folder {folders[0]} without a check: a folder has no sha256"
            f"{_fallbacks(sources, folders[0])}"
        )
        return Path(folders[0]).expanduser()
    # Messages name this folder, so it gets the source's name.
    archive = archive.rename(scratch / Path(source).name)
    unpacked = scratch / "unpacked" / Path(source).stem
    unpacked.mkdir(parents=True)
    unpack(archive, unpacked)
    return unpacked


def _fallbacks(sources: list[str], taken: str) -> str:
    """The end of a sentence about the source that is used, where there are more: the others are not used."""
    rest = [source for source in sources if source != taken]
    return f" (the first of {len(sources)} that works; the others, {', '.join(rest)}, are not used)" if rest else ""
