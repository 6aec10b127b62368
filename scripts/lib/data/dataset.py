"""Data sets, copied into one flat folder: labels in Ultralytics' layout, one `class cx cy w h` per line.

They are kept: `DATASET/images/NAME.jpg`, `DATASET/labels/NAME.txt` (empty for a background image).
Layout: https://docs.ultralytics.com/datasets/detect/
"""

import os
import re
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lib.data.formats.source import Boxes, Item, Lined, Source, box_line
from lib.data.image_paths import IMAGES
from lib.data.images import damaged, image_size
from lib.data.manifest import same_files, write_manifest
from lib.data.split import CALIBRATION
from lib.step.errors import UserError
from lib.step.files import read_text

# JPEG and PNG are compressed already and labels shrink some ten times: no data set of images unpacks to so many times
# its zip.
MOST_UNPACKED = 50
FOR_A_DETECTOR = "for a detector, keep the first five numbers of every line (for a model with keypoints set task: pose)"
TEXTS = (".txt", ".yaml", ".yml", ".json", ".xml", ".data", ".names")  # labels, and what describes a data set
SHOWN = 20  # bad images in a message


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images and labels of a zip into `folder`.

    Raises UserError, before anything is written, for a member that would leave the folder, for a zip that unpacks to
    more than a data set of images can, or to more than the disk holds.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                demand_inside(archive, member)
            wanted = [member for member in file.infolist() if is_data(PurePosixPath(member.filename))]
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
    ignored: int = 0  # labels of crowds and difficult objects, which do not count; not among the objects
    points: int = 0  # labelled keypoints of the objects


# The words of a label's line as a task keeps them; raises UserError, without file and line, for those that it does not.
Words = Callable[[list[str]], list[str]]


class Labelling(NamedTuple):
    """How a task takes labels over.

    check: reads a label file; raises UserError, naming file and line, for a broken one. line_of: what is kept of an
    object of a format without label files. words_of: None where the words of a label's line stay.
    """

    check: Callable[[Path], CheckedLabel]
    line_of: Lined = box_line
    words_of: Words | None = None


class Gathered(NamedTuple):
    """What a data set holds."""

    images: int
    background: int  # images without an object, of those that may have one
    objects: int
    polygons: int  # as in CheckedLabel
    duplicates: int  # as in CheckedLabel
    orphans: tuple[str, ...]  # files that are the label of no image
    others: tuple[str, ...]  # files beside the images that are none
    ignored: int = 0  # as in CheckedLabel
    cut: int = 0  # boxes that reached beyond their image
    empty: tuple[str, ...] = ()  # boxes without area, which are left out: image and class of each
    copies: tuple[tuple[str, ...], ...] = ()  # names of images that are the same file
    keypoints: int = 0  # as CheckedLabel.points
    outside: int = 0  # keypoints beyond their image, which are taken for not labelled
    boxed: int = 0  # objects without an outline, whose box is taken for it


def demand_inside(archive: Path, member: zipfile.ZipInfo) -> None:
    """Raise UserError when a zip's member would be unpacked somewhere else than in the folder it is unpacked in."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or is_link:
        raise UserError(f"archive {archive} is refused: its member '{member.filename}' would leave the folder")


def is_data(path: PurePosixPath) -> bool:
    """Whether a zip's member is an image, or a text that labels or describes images."""
    # What macOS adds to a zip has the names of images and is none.
    return path.suffix.lower() in (*IMAGES, *TEXTS) and path.name[0] != "." and path.parts[0] != "__MACOSX"


def gather(
    source: Source,
    image_folder: Path,
    label_folder: Path,
    labelling: Labelling,
    workers: int = 1,
    watch=iter,
) -> Gathered:
    """Copy the images and labels of `source` into two new flat folders, each image decoded, each label checked.

    `labelling` is the task's; `watch` wraps the iteration over the images (a progress bar); `workers` decode at a
    time. Raises UserError when two images share a name, images do not decode (all of them named), a label is broken, or
    there is no box at all in a set that ought to have some.
    """
    items = flat_names(source)
    _require_whole([item.image for item in items.values()], workers, watch)
    image_folder.mkdir()
    label_folder.mkdir()
    checked, written, empty = [], [], []
    for name, item in items.items():
        target = label_folder / f"{Path(name).stem}.txt"
        shutil.copyfile(item.image, image_folder / name)
        if isinstance(item.label, Boxes):
            label = item.label.text(item.image, image_size(item.image), labelling.line_of)
            target.write_text(label.text, encoding="utf-8")
            written.append(label)
            empty += [f"{item.image.name} ({source.names[kind] if source.names else kind})" for kind in label.empty]
            checked.append(_of_image(labelling, target, item.image, source))
        elif item.label is None:
            checked.append(CheckedLabel(0, 0, ""))
        elif source.numbers is None and labelling.words_of is None:
            checked.append(labelling.check(item.label))
            shutil.copyfile(item.label, target)
        else:
            checked.append(_rewritten(item.label, source.numbers, target, labelling))
        if checked[-1].text is not None:
            target.write_text(checked[-1].text, encoding="utf-8")
    _refuse_keypoints(checked, source.labels or source.place)
    for folder in (image_folder, label_folder):
        write_manifest(folder)
    objects = sum(label.objects for label in checked)
    if not objects and source.labelled:
        where = f"labels lie in {source.labels} and are named as the images are" if source.labels else "look at it"
        raise UserError(f"no image below {source.place} has a label with a box; {where}")
    boxed = sum(label.boxed for label in written)
    if boxed and boxed == sum(label.text.count("\n") for label in written):
        raise UserError(f"no object in {source.place} has an outline (segmentation), and the task is of these")
    return Gathered(
        images=len(items),
        background=sum(not label.objects for item, label in zip(items.values(), checked) if item.part != CALIBRATION),
        objects=objects,
        polygons=sum(label.polygons for label in checked),
        duplicates=sum(label.duplicates for label in checked),
        orphans=source.orphans,
        others=source.others,
        ignored=sum(label.ignored for label in checked),
        cut=sum(label.cut for label in written),
        empty=tuple(empty),
        copies=tuple(map(tuple, same_files(image_folder))),
        keypoints=sum(label.points for label in checked),
        outside=sum(label.outside for label in written),
        boxed=boxed,
    )


def flat_names(source: Source) -> dict[str, Item]:
    """The images of a data set by the names that they are kept under, in the order of the data set.

    Where several in different folders have one name, their folders are put before it, if `source.renames`. Raises
    UserError when two cannot be told apart so, or a name cannot be kept.
    """
    if odd := [item.image for item in source.items if not item.image.name.isprintable()]:
        raise UserError(f"the name {str(odd[0])!r} holds a character that cannot be printed; rename the file")
    times = Counter(item.image.stem for item in source.items)
    items, stems = {}, {}
    repeated = [item.image for item in source.items if times[item.image.stem] > 1] if source.renames else []
    root = Path(os.path.commonpath([path.parent for path in repeated])) if repeated else None
    for item in source.items:
        name = item.image.name
        if source.renames and times[item.image.stem] > 1:
            name = "-".join(item.image.relative_to(root).parts)
        stem = Path(name).stem
        if stem in stems:
            raise UserError(f"two images are called '{stem}': {stems[stem]} and {item.image}; rename one")
        stems[stem] = item.image
        items[name] = item
    return items


def _of_image(labelling: Labelling, label: Path, image: Path, source: Source) -> CheckedLabel:
    """What a label holds that was made of an image's annotations. Raises UserError as the task's check does."""
    try:
        return labelling.check(label)
    except UserError as error:
        raise UserError(str(error).replace(f"label {label}", f"{source.place}, image {image.name}")) from None


def _rewritten(label: Path, numbers: dict[int, int] | None, target: Path, labelling: Labelling) -> CheckedLabel:
    """Write a label to `target` and check it. Raises UserError as `rewrite` and the task's own check do."""
    rewrite(label, numbers, target, labelling.words_of)
    with named_as(label, target):
        return labelling.check(target)


@contextmanager
def named_as(label: Path, target: Path) -> Iterator[None]:
    """Where a UserError names `target`, a copy of a label, it names the label itself."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(target), str(label))) from None


def rewrite(label: Path, numbers: dict[int, int] | None, target: Path, words_of: Words | None) -> None:
    """Write a label to `target`, with its classes numbered anew by `numbers` and its words as the task keeps them.

    Raises UserError, naming file and line, for a class that has no number and words that the task does not keep.
    """
    lines = []
    for number, line in enumerate(read_text(label).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            words = [_renumbered(words[0], numbers), *words[1:]] if numbers else words
            words = words_of(words) if words_of else words
        except UserError as error:
            raise UserError(f"label {label}, line {number} ('{line.strip()[:60]}'){error}") from None
        lines.append(" ".join(words) + "\n")
    target.write_text("".join(lines), encoding="utf-8")


def _renumbered(word: str, numbers: dict[int, int]) -> str:
    kind = int(float(word)) if re.fullmatch(r"\d+(\.0*)?", word, re.ASCII) else None
    if kind not in numbers:
        raise UserError(f": no name has class {word}")
    return str(numbers[kind])


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
