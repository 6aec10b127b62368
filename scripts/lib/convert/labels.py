"""The labels that a converted model is measured against: checked before the build, read after it."""

from dataclasses import dataclass
from pathlib import Path

from lib import tasks
from lib.convert.comparison import ImageComparison
from lib.data.checked_labels import (
    CUT,
    DUPLICATE,
    FAR,
    MOVED,
    ORPHANS,
    CheckedLabel,
    Labelling,
    checked_copy,
    far_objects,
)
from lib.data.formats.layout import orphans
from lib.data.formats.own_names import name_files, settled
from lib.data.formats.source import Item, Source, first_few
from lib.data.image_paths import image_paths
from lib.detector.instances import Instances, nothing
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require


@dataclass(frozen=True)
class Labels:
    """The labels of images: they are arranged below `folder` as the images are below `dataset`.

    names: of the model's classes; numbers where it has none. task: what the labels are for. kpt_shape: as in
    lib.data.keypoints, or None.
    """

    folder: Path
    dataset: Path
    names: list[str]
    task: str
    kpt_shape: object = None

    def checked(self, images: list[Path], scratch: Path) -> dict[Path, Path]:
        """Copies in the folder `scratch` of the label files of `images`, as a data set of the workflow holds them.

        An image without a label file is background and has none. Label files without an image, and what is changed in
        the copies, are printed. Raises UserError when no label has an object, for a broken label, and for class names
        beside the labels that are not the model's.
        """
        lists = name_files(self._root(), self.dataset, require(self.folder, "folder of labels"))
        self._demand_names(lists)
        lost = [
            path.name for path in orphans(self.dataset, self.folder, image_paths(self.dataset)) if path not in lists
        ]
        if lost:
            say(ORPHANS.format(len(lost), first_few(lost)))
        files = {image: label for image in images if (label := self._file(image)).exists()}
        task, items = tasks.get(self.task), tuple(Item(image, label) for image, label in files.items())
        words_of = task.words_of(Source(self.folder, items), self.kpt_shape)
        labelling = Labelling(lambda path: task.check_label(path, len(self.names)), words_of=words_of)
        copies = {image: scratch / f"{number:06}.txt" for number, image in enumerate(files)}
        _tell(labels := [checked_copy(label, None, copies[image], labelling) for image, label in files.items()])
        if far := far_objects(zip(files.values(), labels), sum(label.objects for label in labels)):
            say(FAR.format(len(far), first_few(dict.fromkeys(far))))
        if not any(label.objects + label.ignored for label in labels):
            what = "box" if self.task == tasks.DEFAULT else "object"
            raise UserError(
                f"{self.folder} has no {what} for the {len(images)} images; labels must be named like the images"
            )
        return copies

    def of(self, copies: dict[Path, Path], comparisons: list[ImageComparison]) -> list[Instances]:
        """The labels of each image, from the copies that `checked` made."""
        read = tasks.get(self.task).read_label
        return [
            read(copies[image.path], image.size, len(self.names)) if image.path in copies else nothing()
            for image in comparisons
        ]

    def _file(self, image: Path) -> Path:
        return self.folder / image.relative_to(self.dataset).with_suffix(".txt")

    def _root(self) -> Path:
        """The folder that holds those of images and labels, as in `labels` or `labels/val`; or that of both."""
        return next((path.parent for path in (self.folder, self.folder.parent) if path.name == "labels"), self.folder)

    def _demand_names(self, lists: list[Path]) -> None:
        are_known = not all(name.isdecimal() for name in self.names)
        names, remarks = settled(
            tuple(self.names) if are_known else None,
            lists,
            "the list of the model's classes",
            "give labels with the model's class numbers",
        )
        for remark in remarks:
            say(remark)
        if len(names or self.names) != len(self.names):
            raise UserError(
                f"the model has {len(self.names)} classes, but {lists[0]} has {len(names)} names; give labels with the "
                f"model's class numbers; if {lists[0].name} is not for these labels, remove it"
            )


def _tell(checked: list[CheckedLabel]) -> None:
    """Print how many objects are not used as their label files have them."""
    if cut := sum(label.cut for label in checked):
        say(CUT.format(cut))
    if duplicates := sum(label.duplicates for label in checked):
        say(DUPLICATE.format(duplicates))
    if moved := sum(label.moved for label in checked):
        say(MOVED.format(moved))
    if empty := sum(len(label.empty) for label in checked):
        say(f"warning: {empty} boxes have no area in their image and are dropped")
