"""Data sets, copied into one flat folder: labels in Ultralytics' layout, one `class cx cy w h` per line.

Files: `DATASET/images/NAME.jpg`, `DATASET/labels/NAME.txt` (empty for a background image).
Layout: https://docs.ultralytics.com/datasets/detect/
"""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from lib.data.checked_labels import CheckedLabel, Labelling, as_checked, checked_copy, far_objects, refuse_keypoints
from lib.data.foreign import hint
from lib.data.formats.layout import misnamed_labels, place_of_label
from lib.data.formats.source import EVALUATED, Boxes, ImageClass, Item, LabelText, Source
from lib.data.images import damaged, image_size
from lib.data.manifest import same_files, write_manifest
from lib.data.split import CALIBRATION
from lib.step.errors import UserError

SHOWN = 20  # bad images in a message


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
    cut: int = 0  # objects that extended beyond their image
    empty: tuple[str, ...] = ()  # the image and class of each box without area; these boxes are left out
    copies: tuple[tuple[str, ...], ...] = ()  # groups of names of images with the same bytes
    keypoints: int = 0  # as CheckedLabel.points
    outside: int = 0  # keypoints outside their image, which count as not labelled
    boxed: int = 0  # objects without an outline, whose box is used instead
    moved: int = 0  # as in CheckedLabel
    far: tuple[str, ...] = ()  # the label of each object as in CheckedLabel.far


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
    labels = _copied(items, image_folder, label_folder, labelling, source)
    checked = [label.checked for label in labels]
    refuse_keypoints(checked, source.labels or source.place)
    for folder in (image_folder, label_folder):
        write_manifest(folder)
    objects = sum(label.objects for label in checked)
    if source.labelled:
        _demand_objects(source, objects)
    far = far_objects(((item.label, label) for item, label in zip(items.values(), checked)), objects)
    if source.labelled:
        _demand_evaluated(list(items.values()), checked, source.place)
    written = [label.written for label in labels if label.written]
    _demand_outlines(written, source.place)
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
        empty=tuple(
            f"{item.image.name} ({source.names[kind] if source.names else kind})"
            for item, label in zip(items.values(), labels)
            for kind in label.empty
        ),
        copies=tuple(map(tuple, same_files(image_folder))),
        keypoints=sum(label.points for label in checked),
        outside=sum(label.outside for label in written),
        boxed=sum(label.boxed for label in written),
        moved=sum(label.moved for label in checked),
        far=far,
    )


class _Label(NamedTuple):
    """The label of an image: made from a data set's annotations, if it has no label files, and checked."""

    checked: CheckedLabel
    written: LabelText | None = None

    @property
    def empty(self) -> tuple[int, ...]:
        """The class of each object without area, which is left out."""
        return (self.written.empty if self.written else ()) + self.checked.empty


def _copied(
    items: dict[str, Item], image_folder: Path, label_folder: Path, labelling: Labelling, source: Source
) -> list[_Label]:
    """Write each image and its label. Raises UserError for a broken label; for a label file, with how many others."""
    labels = []
    for name, item in items.items():
        shutil.copyfile(item.image, image_folder / name)
        target = label_folder / f"{Path(name).stem}.txt"
        try:
            labels.append(_write_label(item, target, labelling, source))
        except UserError as error:
            if not isinstance(item.label, Path):
                raise
            rest = [other.label for other in list(items.values())[len(labels) + 1 :]]
            also = _refused(rest, source.numbers, target, labelling)
            raise UserError(f"{error}{f'; {also} more label files are refused too' if also else ''}") from None
    return labels


def _write_label(item: Item, target: Path, labelling: Labelling, source: Source) -> _Label:
    """Write the label of an image to `target`, checked by the task; a background image has an empty one."""
    if item.label is None:
        target.touch()
        return _Label(CheckedLabel(0, 0, None))
    if not isinstance(item.label, Boxes | ImageClass):
        return _Label(checked_copy(item.label, source.numbers, target, labelling))
    written = item.label.text(item.image, image_size(item.image), labelling.line_of)
    target.write_text(written.text, encoding="utf-8")
    try:
        return _Label(as_checked(target, labelling.check(target)), written)
    except UserError as error:
        raise UserError(str(error).replace(f"label {target}", f"{source.place}, image {item.image.name}")) from None


def _demand_objects(source: Source, objects: int) -> None:
    """Raise UserError when a data set with labels has no object."""
    if not objects:
        where = f"labels belong in {source.labels}, named like the images" if source.labels else "check it"
        misnamed = misnamed_labels(source.items[0].image)
        raise UserError(f"no image in {source.place} has a label with a box; {where}{misnamed}{hint(_above(source))}")


def _demand_outlines(written: list[LabelText], place: Path) -> None:
    """Raise UserError when the task needs outlines, and no object of a format without label files has one."""
    boxed = sum(label.boxed for label in written)
    if boxed and boxed == sum(label.text.count("\n") for label in written):
        raise UserError(f"no object in {place} has an outline (segmentation), which the task needs")


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


def _require_whole(images: list[Path], workers: int, watch) -> None:
    """Raises UserError, which names them all, when images do not decode completely."""
    if bad := damaged(images, workers, watch):
        listed = "".join(f"\n  {path}: {reason}" for path, reason in list(bad.items())[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"{len(bad)} of {len(images)} images are truncated or not images; replace or remove them:{listed}{more}"
        )
