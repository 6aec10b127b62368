"""From what the config says of a data set to its images and labels: the right format, a zip unpacked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.data.dataset import unpack
from lib.data.download import fetch
from lib.data.formats import FORMATS, layout
from lib.data.formats import images as plain_images
from lib.data.formats.source import Hints, Source
from lib.data.sources import is_url
from lib.step.console import say
from lib.step.errors import UserError

# Formats that a file or folder of their own describes; the layout without a file is what `archive` alone means.
DESCRIBED = tuple(sorted(FORMATS.keys() - {layout.KEY, plain_images.KEY}))


@dataclass(frozen=True)
class Place:
    """What the config says of a data set: `archive` (sources, tried in order) or a format's key, and what goes with it.

    key: of FORMATS. path: of the file or folder of that format; beside `archive` it lies inside. images: a folder of
    images, inside `archive` likewise. config_key: where it stands in the config, for messages.
    """

    key: str
    path: str | None
    archive: tuple[str, ...]
    images: str | None
    sha256: str | None
    names: tuple[str, ...] | None
    config_key: str

    @classmethod
    def of(cls, block: Mapping, names: tuple[str, ...] | None, config_key: str) -> "Place":
        """The place that a block of the config says. Raises UserError when it says none, or two."""
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
        return cls(key, path, archive, images, block.get("sha256"), names, config_key)


def opened(place: Place, scratch: Path) -> Source:
    """The data set at a place; zips are unpacked below `scratch`. Raises UserError when it is not to be had."""
    found = FORMATS[place.key]
    if place.archive:
        root = folder_of(list(place.archive), place.sha256, scratch, f"{place.config_key}.archive")
        target = _inside(root, place.path, place.config_key) if place.path else found.find(root)
        images = _inside(root, place.images, place.config_key) if place.images else root
    else:
        target, root = _alone(place, scratch)
        images = _alone_images(place, scratch) if place.images else root
    return found.read(target, Hints(images, place.names))


def _alone(place: Place, scratch: Path) -> tuple[Path, Path | None]:
    """What a format's own key names, and the folder around it where that is to be searched for images."""
    found, path = FORMATS[place.key], Path(place.path).expanduser()
    if is_url(place.path) or path.suffix.lower() == ".zip":
        root = folder_of([place.path], place.sha256, scratch, f"{place.config_key}.{place.key}")
        return found.find(root), root
    if path.is_dir():
        return found.find(path), path
    if not path.is_file():
        raise UserError(f"{place.config_key}.{place.key}: there is no file or folder {place.path}")
    return path, None


def _alone_images(place: Place, scratch: Path) -> Path:
    folder = Path(place.images).expanduser()
    if is_url(place.images) or folder.suffix.lower() == ".zip":
        return folder_of([place.images], None, scratch / "images", f"{place.config_key}.images")
    if not folder.is_dir():
        raise UserError(f"{place.config_key}.images: there is no folder {place.images}")
    return folder


def _inside(root: Path, path: str, config_key: str) -> Path:
    """A path inside an archive: below its root, or below its only folder. Raises UserError when it is not there."""
    folders = [root, *(folder for folder in sorted(root.iterdir()) if folder.is_dir())]
    for folder in folders:
        if (folder / path).exists():
            return folder / path
    raise UserError(f"{config_key}: its archive holds no {path}")


def folder_of(sources: list[str], checksum: str | None, scratch: Path, config_key: str) -> Path:
    """A data set as a folder: a source that is one, or a zip unpacked in `scratch`, whichever works first."""
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
            f"data set is taken from the folder {folders[0]} as it is: a folder has no sha256 to check"
            f"{_fallbacks(sources, folders[0])}"
        )
        return Path(folders[0]).expanduser()
    # Messages name it, so it is called as the source is.
    archive = archive.rename(scratch / Path(source).name)
    unpacked = scratch / "unpacked" / Path(source).stem
    unpacked.mkdir(parents=True)
    unpack(archive, unpacked)
    return unpacked


def _fallbacks(sources: list[str], taken: str) -> str:
    """The end of a sentence about the source that was taken, where there are more: they are not added to it."""
    rest = [source for source in sources if source != taken]
    return f" (the first of {len(sources)} that works; the others, {', '.join(rest)}, are not used)" if rest else ""
