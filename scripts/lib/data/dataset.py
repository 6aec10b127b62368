"""Data sets, copied into one flat folder: labels in Ultralytics' layout, one `class cx cy w h` per line.

Files: `DATASET/images/NAME.jpg`, `DATASET/labels/NAME.txt` (empty for a background image).
Layout: https://docs.ultralytics.com/datasets/detect/
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from lib.data.foreign import hint
from lib.data.formats.layout import misnamed_labels, place_of_label
from lib.data.formats.source import EVALUATED, Boxes, ImageClass, Item, Lined, Source, box_line
from lib.data.images import damaged, image_size
from lib.data.manifest import same_files, write_manifest
from lib.data.split import CALIBRATION
from lib.step.errors import UserError
from lib.step.files import read_text

FOR_A_DETECTOR = "for a detector, keep the first five numbers of every line (for a model with keypoints set task: pose)"
SHOWN = 20  # bad images in a message
FEW_FAR = 3  # boxes that may leave their image, however few there are in all


# What is said of objects that are not used as their label has them.
FAR = "WARNING: {} boxes leave their image by more than 1 %: {}"
CUT = "{} boxes extend beyond their image and are cut at its edges"
DUPLICATE = "{} duplicate labels are dropped: lines that repeat another one of their file"
ORPHANS = "WARNING: {} label files belong to no image: {}"
MOVED = "{} keypoints are at most 1 % outside their image and are moved to its edge"


class CheckedLabel(NamedTuple):
    """What a task read from a label file."""

    objects: int
    polygons: int  # objects that are polygons, for which the task uses the box around them
    text: str | None  # the text to write instead of the file's own; None to keep that
    duplicates: int = 0  # repetitions of a label in the file; not counted in objects
    keypoints: int = 0  # polygons that could also be read as a box with keypoints, a label for pose
    lengths: frozenset[int] = frozenset()  # the counts of numbers on the polygons' lines
    ignored: int = 0  # labels of crowds and difficult objects; not counted in objects
    points: int = 0  # labelled keypoints of all objects
    cut: int = 0  # objects that extended beyond the image and are cut at its edges
    empty: tuple[int, ...] = ()  # classes of objects without area, which are left out; not counted in objects
    moved: int = 0  # keypoints that were a little outside the image and are moved to its edge
    far: int = 0  # boxes, counted in cut, that extended beyond the image by more than tools let them by accident


# Gives the words of a label's line as a task stores them; raises UserError, without file and line, for bad ones.
Words = Callable[[list[str]], list[str]]


class Labelling(NamedTuple):
    """How a task reads labels.

    check: reads a label file; raises UserError, naming file and line, for a broken one. line_of: the label's line
    for an object of a format without label files. words_of: None where a line's words are kept.
    """

    check: Callable[[Path], CheckedLabel]
    line_of: Lined = box_line
    words_of: Words | None = None


class Gathered(NamedTuple):
    """What was copied from a data set, for the lines printed about it."""

    images: int
    background: int  # images without an object, among those that can have labels
    objects: int
    polygons: int  # as in CheckedLabel
    duplicates: int  # as in CheckedLabel
    orphans: tuple[str, ...]  # label files without an image
    others: tuple[str, ...]  # files among the images that are not images
    ignored: int = 0  # as in CheckedLabel
    cut: int = 0  # boxes that extended beyond their image
    empty: tuple[str, ...] = ()  # the image and class of each box without area; these boxes are left out
    copies: tuple[tuple[str, ...], ...] = ()  # groups of names of images with the same bytes
    keypoints: int = 0  # as CheckedLabel.points
    outside: int = 0  # keypoints outside their image, which count as not labelled
    boxed: int = 0  # objects without an outline, whose box is used instead
    moved: int = 0  # as in CheckedLabel
    far: tuple[str, ...] = ()  # the label of each box as in CheckedLabel.far


def gather(
    source: Source,
    image_folder: Path,
    label_folder: Path,
    labelling: Labelling,
    workers: int = 1,
    watch=iter,
) -> Gathered:
    """Copy the images and labels of `source` into two new flat folders, each image decoded, each label checked.

    `labelling` is the task's; `watch` wraps the iteration over the images (a progress bar); `workers` images are
    decoded at a time. Raises UserError when two images share a name, images do not decode (it names all of them), a
    label is broken, or a set that should have boxes has none.
    """
    items = flat_names(source)
    _require_whole([item.image for item in items.values()], workers, watch)
    image_folder.mkdir()
    label_folder.mkdir()
    checked, written, empty = [], [], []
    for name, item in items.items():
        target = label_folder / f"{Path(name).stem}.txt"
        shutil.copyfile(item.image, image_folder / name)
        if isinstance(item.label, Boxes | ImageClass):
            label = item.label.text(item.image, image_size(item.image), labelling.line_of)
            target.write_text(label.text, encoding="utf-8")
            written.append(label)
            empty += [(item, kind) for kind in label.empty]
            checked.append(_of_image(labelling, target, item.image, source))
        elif item.label is None:
            target.touch()
            checked.append(CheckedLabel(0, 0, None))
        else:
            try:
                checked.append(checked_copy(item.label, source.numbers, target, labelling))
            except UserError as error:
                rest = [other.label for other in list(items.values())[len(checked) + 1 :]]
                also = _refused(rest, source.numbers, target, labelling)
                raise UserError(f"{error}{f'; {also} more label files are refused too' if also else ''}") from None
        empty += [(item, kind) for kind in checked[-1].empty]
    _refuse_keypoints(checked, source.labels or source.place)
    for folder in (image_folder, label_folder):
        write_manifest(folder)
    objects = sum(label.objects for label in checked)
    if not objects and source.labelled:
        where = f"labels belong in {source.labels}, named like the images" if source.labels else "check it"
        misnamed = misnamed_labels(source.items[0].image)
        raise UserError(f"no image in {source.place} has a label with a box; {where}{misnamed}{hint(_above(source))}")
    far = far_boxes(((item.label, label) for item, label in zip(items.values(), checked)), objects)
    if source.labelled:
        _demand_evaluated(list(items.values()), checked, source.place)
    boxed = sum(label.boxed for label in written)
    if boxed and boxed == sum(label.text.count("\n") for label in written):
        raise UserError(f"no object in {source.place} has an outline (segmentation), which the task needs")
    return Gathered(
        images=len(items),
        background=sum(not label.objects for item, label in zip(items.values(), checked) if item.part != CALIBRATION),
        objects=objects,
        polygons=sum(label.polygons for label in checked),
        duplicates=sum(label.duplicates for label in checked),
        orphans=source.orphans,
        others=source.others,
        ignored=sum(label.ignored for label in checked),
        cut=sum(label.cut for label in (*written, *checked)),
        empty=tuple(f"{item.image.name} ({source.names[kind] if source.names else kind})" for item, kind in empty),
        copies=tuple(map(tuple, same_files(image_folder))),
        keypoints=sum(label.points for label in checked),
        outside=sum(label.outside for label in written),
        boxed=boxed,
        moved=sum(label.moved for label in checked),
        far=far,
    )


def far_boxes(labels: Iterable[tuple[object, CheckedLabel]], objects: int) -> tuple[str, ...]:
    """The label's name for each of CheckedLabel.far, of label files and what they hold.

    Raises UserError where these are so many of the `objects` that the lines may have another layout.
    """
    far = [path for path, label in labels for _ in range(label.far)]
    if len(far) > max(FEW_FAR, objects // 4):
        raise UserError(
            f"{len(far)} of {objects} boxes leave their image by more than 1 %, the first in {far[0]}; a line is "
            "'class cx cy w h', with the centre of the box; if all are so, cut the boxes at the edges"
        )
    return tuple(path.name for path in far)


def _demand_evaluated(items: list[Item], checked: list[CheckedLabel], place: Path) -> None:
    """Raises UserError when the part to evaluate on has no object: only the step that measures mAP would say so."""
    held = [(item, label) for item, label in zip(items, checked) if item.part in EVALUATED]
    if not held or any(label.objects for _, label in held):
        return
    image, part = held[0][0].image, held[0][0].part
    raise UserError(
        f"none of the {len(held)} images of the part {part} of {place} has a label with a box, so there would be no "
        f"mAP; {place_of_label(image)}"
    )


def _above(source: Source) -> Path:
    """The folder that holds images and labels of a data set."""
    if source.place.is_file() or (source.labels and source.labels != source.place):
        return source.place.parent
    return source.place


def flat_names(source: Source) -> dict[str, Item]:
    """The images of a data set by the names that they are stored under, in the order of the data set.

    If `source.renames`, images of one name in different folders get their folders' names as a prefix. Raises UserError
    when two names are still equal, or a name cannot be used.
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
    """What a label made from an image's annotations holds; corrects it. Raises UserError as the task's check does."""
    try:
        return _as_checked(label, labelling.check(label))
    except UserError as error:
        raise UserError(str(error).replace(f"label {label}", f"{source.place}, image {image.name}")) from None


def _refused(labels: list, numbers: dict[int, int] | None, target: Path, labelling: Labelling) -> int:
    """How many of `labels` are files that the task refuses; `target` is overwritten."""
    count = 0
    for label in labels:
        try:
            if isinstance(label, Path):
                checked_copy(label, numbers, target, labelling)
        except UserError:
            count += 1
    return count


def checked_copy(label: Path, numbers: dict[int, int] | None, target: Path, labelling: Labelling) -> CheckedLabel:
    """Write a label to `target` as a data set holds it, and check it.

    Raises UserError, naming the label, as `_rewrite` and the task's own check do.
    """
    if numbers is None and labelling.words_of is None:
        shutil.copyfile(label, target)
        return _as_checked(target, labelling.check(label))
    _rewrite(label, numbers, target, labelling.words_of)
    try:
        return _as_checked(target, labelling.check(target))
    except UserError as error:
        raise UserError(str(error).replace(str(target), str(label))) from None


def _as_checked(label: Path, checked: CheckedLabel) -> CheckedLabel:
    """`checked`, after writing its text, if it has one, to the label."""
    if checked.text is not None:
        label.write_text(checked.text, encoding="utf-8")
    return checked


def _rewrite(label: Path, numbers: dict[int, int] | None, target: Path, words_of: Words | None) -> None:
    """Write a label to `target`, with its classes renumbered by `numbers` and its words as the task stores them.

    Raises UserError, naming file and line, for a class that has no number and for words that the task does not accept.
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
    """Raises UserError, which names them all, when images do not decode completely."""
    if bad := damaged(images, workers, watch):
        listed = "".join(f"\n  {path}: {reason}" for path, reason in list(bad.items())[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"{len(bad)} of {len(images)} images are truncated or not images; replace or remove them:{listed}{more}"
        )


def _refuse_keypoints(checked: list[CheckedLabel], folder: Path) -> None:
    """Raises UserError when labels that look like polygons are for pose: all of one length, most with points in a box.

    A single line does not show it: 24 % of COCO128's polygons, which are of many lengths, can be read as pose labels,
    and 89 % of COCO's labels for pose.
    """
    polygons, keypoints = sum(label.polygons for label in checked), sum(label.keypoints for label in checked)
    lengths = frozenset().union(*(label.lengths for label in checked))
    if len(lengths) == 1 and 2 * keypoints > polygons:
        raise UserError(
            f"the labels in {folder}, of {max(lengths)} numbers each, are boxes with keypoints, "
            f"for pose; {FOR_A_DETECTOR}"
        )
