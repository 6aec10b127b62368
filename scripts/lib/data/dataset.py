"""Data sets in Ultralytics' layout: `images/…/NAME.jpg` beside `labels/…/NAME.txt`, one `class cx cy w h` per line.

Here they are kept flat: `DATASET/images/NAME.jpg`, `DATASET/labels/NAME.txt` (empty for a background image).
Layout: https://docs.ultralytics.com/datasets/detect/
"""

import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lib.data.image_paths import IMAGES, image_paths
from lib.data.images import damaged
from lib.data.manifest import write_manifest
from lib.step.errors import UserError

# JPEG and PNG are compressed already and labels shrink some ten times: no data set of images unpacks to so many times
# its zip.
MOST_UNPACKED = 50
FOR_A_DETECTOR = "for a detector, keep the first five numbers of every line"
SHOWN = 20  # bad images in a message


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images and labels of a zip into `folder`.

    Raises UserError, before anything is written, for a member that would leave the folder, for a zip that unpacks to
    more than a data set of images can, or to more than the disk holds.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/"))
                is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
                if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or is_link:
                    raise UserError(
                        f"archive {archive} is refused: its member '{member.filename}' would leave the folder"
                    )
            wanted = [member for member in file.infolist() if _is_data(PurePosixPath(member.filename))]
            size, free = sum(member.file_size for member in wanted), shutil.disk_usage(folder.parent).free
            times = size / archive.stat().st_size
            if times > MOST_UNPACKED:
                raise UserError(
                    f"archive {archive} is refused: it would unpack to {size / 1e6:.0f} MB, {times:.0f} times its size,"
                    " which no set of images does; if you trust it, unpack it and name the folder in dataset.archive"
                )
            if size > free:
                raise UserError(
                    f"archive {archive} unpacks to {size / 1e6:.0f} MB, {folder.parent} has {free / 1e6:.0f} MB left; "
                    "free some, or set TMPDIR to a larger disk"
                )
            file.extractall(folder, wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"archive {archive} is no readable zip ({error})") from None


class CheckedLabel(NamedTuple):
    """A label file as the task that it is for has read it."""

    objects: int
    polygons: int  # how many of the objects are polygons, of which the task takes the box around
    text: str | None  # what to keep in place of the file's own text; None where that stays
    duplicates: int = 0  # labels that are there more than once, beyond the first; not among the objects
    keypoints: int = 0  # how many of the polygons may as well be a box and the keypoints in it, a label for pose
    lengths: frozenset[int] = frozenset()  # how many numbers a polygon's line has


class Gathered(NamedTuple):
    """What a data set holds."""

    images: int
    background: int  # images without an object
    objects: int
    polygons: int  # as in CheckedLabel
    duplicates: int  # as in CheckedLabel
    orphans: tuple[str, ...]  # files that are the label of no image
    others: tuple[str, ...]  # files beside the images that are none


def _is_data(path: PurePosixPath) -> bool:
    # What macOS adds to a zip has the names of images and is none.
    return path.suffix.lower() in (*IMAGES, ".txt") and path.name[0] != "." and path.parts[0] != "__MACOSX"


def gather(
    source: Path,
    image_folder: Path,
    label_folder: Path,
    check_label: Callable[[Path], CheckedLabel],
    workers: int = 1,
    watch=iter,
) -> Gathered:
    """Copy the images and labels below `source` into two new flat folders, each image decoded, each label checked.

    `check_label` is the task's; `watch` wraps the iteration over the images (a progress bar); `workers` decode at a
    time. Raises UserError when there is no `images` folder or it is empty, two images share a name, images do not
    decode (all of them named), or a label is broken.
    """
    source_images = _images_folder(source)
    source_labels = source_images.parent / "labels"
    files = [path for path in sorted(source_images.rglob("*")) if path.name[0] != "." and not path.is_dir()]
    images = _images_by_name(source_images, files)
    _require_whole(list(images.values()), workers, watch)
    image_folder.mkdir()
    label_folder.mkdir()
    checked = []
    for stem, image in images.items():
        label = source_labels / image.relative_to(source_images).with_suffix(".txt")
        checked.append(check_label(label) if label.exists() else CheckedLabel(0, 0, ""))
        shutil.copyfile(image, image_folder / image.name)
        _keep_label(label, checked[-1], label_folder / f"{stem}.txt")
    _refuse_keypoints(checked, source_labels)
    for folder in (image_folder, label_folder):
        write_manifest(folder)
    objects = sum(label.objects for label in checked)
    if not objects:
        raise UserError(
            f"no image below {source_images} has a label with a box; labels lie in {source_labels} and are named as "
            "the images are"
        )
    beside = (path for path in sorted(source_labels.rglob("*")) if path.is_file() and path.name[0] != ".")
    taken = set(images.values())
    return Gathered(
        images=len(images),
        background=sum(not label.objects for label in checked),
        objects=objects,
        polygons=sum(label.polygons for label in checked),
        duplicates=sum(label.duplicates for label in checked),
        orphans=tuple(path.name for path in beside if path.suffix != ".txt" or path.stem not in images),
        others=tuple(path.name for path in files if path not in taken),
    )


def _images_by_name(folder: Path, files: list[Path]) -> dict[str, Path]:
    """The images among the `files` of a folder by their names without the ending, in the order of their paths.

    Raises UserError when there is none, or one of them cannot be copied under its name.
    """
    paths = image_paths(folder)
    if not paths:
        raise UserError(f"{folder} holds no image (jpg, jpeg, png)")
    if lost := [path for path in files if not path.exists()]:
        raise UserError(f"{len(lost)} images are broken links, the first {lost[0]}; repair or remove them")
    if odd := [path for path in paths if not path.name.isprintable()]:
        raise UserError(f"the name {str(odd[0])!r} holds a character that cannot be printed; rename the file")
    images = {}
    for path in paths:
        if path.stem in images:
            raise UserError(f"two images are called '{path.stem}': {images[path.stem]} and {path}; rename one")
        images[path.stem] = path
    return images


def _require_whole(images: list[Path], workers: int, watch) -> None:
    """Raises UserError, with all of their names, when images do not decode to their end."""
    if bad := damaged(images, workers, watch):
        listed = "".join(f"\n  {path}: {reason}" for path, reason in list(bad.items())[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"{len(bad)} of {len(images)} images are truncated or not images; replace or remove them:{listed}{more}"
        )


def _refuse_keypoints(checked: list[CheckedLabel], folder: Path) -> None:
    """Raises UserError when what looks like polygons is labels for pose: all of one length, most with points in a box.

    A single line does not show it. Of COCO128's polygons, which are of many lengths, 24 % can be read so; of COCO's
    labels for pose, 89 %.
    """
    polygons, keypoints = sum(label.polygons for label in checked), sum(label.keypoints for label in checked)
    lengths = frozenset().union(*(label.lengths for label in checked))
    if len(lengths) == 1 and 2 * keypoints > polygons:
        raise UserError(
            f"the labels in {folder}, of {max(lengths)} numbers, are a box and keypoints, for pose; {FOR_A_DETECTOR}"
        )


def _keep_label(label: Path, checked: CheckedLabel, target: Path) -> None:
    if checked.text is None:
        shutil.copyfile(label, target)
    else:
        target.write_text(checked.text, encoding="utf-8")


def _images_folder(source: Path) -> Path:
    if (source / "images").is_dir():
        return source / "images"
    folders = sorted(path for path in source.rglob("images") if path.is_dir())
    folders = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    if not folders:
        raise UserError(f"{source} holds no folder 'images'; the layout is images/NAME.jpg beside labels/NAME.txt")
    if len(folders) > 1:
        parents = ", ".join(str(folder.parent.relative_to(source)) for folder in folders)
        raise UserError(
            f"{source} holds several folders 'images', in {parents}; name the folder of one in dataset.archive"
        )
    return folders[0]
