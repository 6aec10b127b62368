"""What every format returns: the images of a data set, each with its labels and its part (train, val or test)."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lib.data.foreign import hint
from lib.data.image_paths import UNREAD, is_hidden
from lib.step.errors import UserError

TRAIN, EVALUATED = "train", ("val", "test")
# The part of the images in a folder of that name, where an export has a folder for each part.
PART_OF_FOLDER = {"train": "train", "valid": "val", "val": "val", "validation": "val", "test": "test"}
_ALSO = {"training": "train", "testing": "test"}
_YEAR = re.compile(r"[-_ ]?(19|20)\d\d$")
IMAGE_FOLDERS = ("JPEGImages", "images")
COUNTED, DIFFICULT, CROWD = "", "difficult", "crowd"  # the last word of a label's line; a plain box has none
ASPECT_TOLERANCE = 0.02  # relative difference of width / height; sizes are rounded to pixels


class Annotation(NamedTuple):
    """What COCO's JSON, or another format in its form, says about an object besides its box, as it is there, unchecked.

    where: its name in messages. keypoint_count: how many keypoints the objects of the set have.
    """

    where: str
    keypoints: object = None
    segmentation: object = None
    area: object = None
    keypoint_count: int = 0


@dataclass(frozen=True)
class Box:
    """A labelled box in pixels: its class, its corners x1, y1, x2, y2, and how it counts (COUNTED and the others).

    annotation: what the format says about the object besides its box; None where it has only a box.
    """

    kind: int
    corners: tuple[float, float, float, float]
    mark: str = COUNTED
    annotation: Annotation | None = None


def around(points: list[float]) -> tuple[float, float, float, float]:
    """The corners x1, y1, x2, y2 of the box around the points x1, y1, x2, y2, …"""
    return min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])


class Line(NamedTuple):
    """The numbers of an object's line in a label, after its class.

    cut: whether the object extended beyond the image and is cut at its edges. outside: how many of its keypoints were
    outside the image. boxed: whether it had no outline, so that its box is used instead.
    """

    numbers: tuple[float, ...]
    cut: bool
    outside: int = 0
    boxed: bool = False


# From a box and the width and height of the image that it was drawn in; None for one without area in the image.
Lined = Callable[[Box, tuple[float, float]], Line | None]


def box_line(box: Box, frame: tuple[float, float]) -> Line | None:
    """`cx cy w h`, as fractions of the image's sides."""
    (width, height), (x1, y1, x2, y2) = frame, box.corners
    inside = (min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return None
    left, top, right, bottom = inside
    numbers = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return Line(tuple(map(float, numbers)), inside != box.corners)


@dataclass(frozen=True)
class LabelText:
    """Labels as lines of Ultralytics' layout.

    cut: number of objects that extended beyond the image and are cut at its edges. empty: classes of objects without
    area, which are left out. outside: number of keypoints outside the image. boxed: number of objects without an
    outline.
    """

    text: str
    cut: int
    empty: tuple[int, ...]
    outside: int = 0
    boxed: int = 0


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image, where the format has no label file in Ultralytics' layout.

    frame: width and height of the image that the boxes were drawn in; None where the format does not say.
    """

    boxes: tuple[Box, ...]
    frame: tuple[float, float] | None = None

    def text(self, image: Path, size: tuple[int, int], line_of: Lined = box_line) -> LabelText:
        """The label of an image of `size` (width, height), which may be a scaled copy of the frame.

        line_of: makes the line of each object (lib.data.formats.lines). Raises UserError as it does, and when the
        image's proportions differ from the frame's: the objects would be in other places.
        """
        width, height = self.frame or size
        if abs(width * size[1] / (height * size[0]) - 1) > ASPECT_TOLERANCE:
            raise UserError(
                f"{image} is {size[0]}x{size[1]}, but its labels are for an image of {width:g}x{height:g}; an image "
                "that is turned or cropped needs labels of its own"
            )
        lines, texts, empty = [], [], []
        for box in self.boxes:
            line = line_of(box, (width, height))
            if line is None:
                empty.append(box.kind)
                continue
            lines.append(line)
            words = [box.kind, *line.numbers, *([box.mark] if box.mark else [])]
            texts.append(" ".join(map(str, words)) + "\n")
        cut, outside, boxed = (sum(getattr(line, field) for line in lines) for field in ("cut", "outside", "boxed"))
        return LabelText("".join(texts), cut, tuple(empty), outside, boxed)


class ImageClass(NamedTuple):
    """The class of a whole image, in place of boxes."""

    kind: int

    def text(self, image: Path, size: tuple[int, int], line_of: Lined = box_line) -> LabelText:
        """The label of the image: the class alone, whatever its size."""
        return LabelText(f"{self.kind}\n", 0, ())


@dataclass(frozen=True)
class Item:
    """One image of a data set, its labels (a file in Ultralytics' layout, boxes, its class, or nothing) and its part.

    part: train, val or test; empty where the data set has no parts.
    """

    image: Path
    label: Path | Boxes | ImageClass | None
    part: str = ""


@dataclass(frozen=True)
class Source:
    """A data set as its format describes it; no image has been opened.

    place: the file or folder that messages name. labels: the folder of the labels, where it is another one.
    names: of the classes 0..n-1, None where the format has none.
    numbers: for labels whose class numbers have gaps, the class 0..n-1 of each number.
    kpt_shape: Ultralytics' `kpt_shape` as the format gives it, unchecked; None where it has none.
    remarks: lines for the user. others: files among the images that are not images. orphans: label files without an
    image. renames: whether images of one name in different folders may be stored under longer names. labelled: whether
    a set without any label is a mistake.
    """

    place: Path
    items: tuple[Item, ...]
    names: tuple[str, ...] | None = None
    numbers: dict[int, int] | None = None
    remarks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    renames: bool = True
    labels: Path | None = None
    labelled: bool = True
    kpt_shape: object = None


@dataclass(frozen=True)
class Hints:
    """What the user gives besides the file or folder: a folder of images, class names in the model's order.

    keypoints: whether labels with keypoints are wanted.
    """

    images: Path | None = None
    names: tuple[str, ...] | None = None
    keypoints: bool = False


def only_one(places: list[Path], root: Path, what: str, key: str) -> Path:
    """The only one of `places` below `root`. Raises UserError when there is none, or several, which it lists."""
    if not places:
        raise UserError(f"{root} contains no {what}{hint(root)}")
    if len(places) > 1:
        listed = ", ".join(str(place.relative_to(root)) for place in places)
        raise UserError(
            f"{root} contains several of the kind {what}: {listed}; name one: dataset.archive for the zip or folder, "
            f"and dataset.{key} for the path inside it"
        )
    return places[0]


def part_of(folder: str) -> str:
    """The part that a folder is called after, in any case and with a year (`Val`, `train2017`); else empty."""
    name = _YEAR.sub("", folder.casefold())
    return PART_OF_FOLDER.get(name) or _ALSO.get(name, "")


def above_parts(folders: set[Path]) -> Path | None:
    """The folder that holds `folders`, if these are the folders of several parts; else None."""
    are_parts = len(folders) > 1 and all(part_of(folder.name) for folder in folders)
    above = {folder.parent for folder in folders}
    return above.pop() if are_parts and len(above) == 1 else None


def visible(root: Path, pattern: str = "*") -> list[Path]:
    """The paths below `root` that fit a pattern of rglob, sorted, without hidden ones and what macOS adds to a zip."""
    shown = (path for path in root.rglob(pattern) if not is_hidden(path, root))
    return sorted(path for path in shown if "__MACOSX" not in path.parts)


def by_stem_and_name(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """The `paths` by their names, both with and without the suffix."""
    called = {}
    for path in paths:
        for name in (path.stem, path.name):
            called.setdefault(name, []).append(path)
    return called


def the_image(label: Path, candidates: list[Path]) -> Path | None:
    """The image of a label file: the only candidate, or the only one in a folder of IMAGE_FOLDERS; None without any.

    Raises UserError, naming two, when there are several.
    """
    names = [name.lower() for name in IMAGE_FOLDERS]
    usual = [path for path in candidates if path.parent.name.lower() in names]
    candidates = usual if len(usual) == 1 else candidates
    if len(candidates) > 1:
        first, second = candidates[:2]
        advice = (
            "keep one of them there"
            if first.parent == second.parent
            else "name the folder of the right one with the key images"
        )
        raise UserError(f"the image of {label} may be {first} or {second}; {advice}")
    return candidates[0] if candidates else None


def bare_images(images: list[Path], taken: set[Path]) -> tuple[list[str], list[str]]:
    """Names of the images that are not taken: those that no taken one is named like, and paths of the others."""
    stems = {path.stem for path in taken}
    rest = [path for path in images if path not in taken]
    return [path.name for path in rest if path.stem not in stems], [str(path) for path in rest if path.stem in stems]


def unread(folder: Path) -> str:
    """What to say of the images below a folder whose suffix is not read; empty without any."""
    counts = Counter(path.suffix for path in visible(folder) if path.suffix.lower() in UNREAD)
    if not counts:
        return ""
    listed = " and ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"there are {listed} files, which are not read: save them as jpg or png"


def no_image(folder: Path) -> str:
    """The sentence about a folder without an image that is read."""
    return "; ".join(filter(None, (f"{folder} contains no image (jpg, jpeg, png, webp)", unread(folder))))


def first_few(names, most: int = 5) -> str:
    """The first `most` of `names`, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def left_out(names: dict[str, list[str]]) -> tuple[str, ...]:
    """A remark for each reason for which files are left out; names: their names by the reason."""
    return tuple(
        f"WARNING: {len(files)} {reason} and are left out: {first_few(files)}"
        for reason, files in names.items()
        if files
    )


def numbered(names: dict[int, str], place: Path) -> tuple[tuple[str, ...], dict[int, int] | None, list[str]]:
    """(names of the classes 0..n-1, the new number of each old one or None where they are the same, remarks).

    names: by class number, which may have gaps. Raises UserError when a name is empty or there twice.
    """
    order = sorted(names)
    listed = tuple(names[number].strip() for number in order)
    if not listed or not all(listed) or len(set(listed)) < len(listed):
        raise UserError(f"{place}: class names must be distinct and not empty: {list(listed)}")
    if order == list(range(len(order))):
        return listed, None, []
    span, anew = (f"{first} to {last}" if last > first else str(first)
                  for first, last in ((order[0], order[-1]), (0, len(order) - 1)))  # fmt: skip
    remark = f"the class numbers of {place.name}, {span}, become {anew}, in the same order"
    return listed, {number: position for position, number in enumerate(order)}, [remark]


def by_name(kinds: list[str], names: tuple[str, ...] | None, place: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and the class number of each of the labelled `kinds`: by the order of `names`, else by their own.

    Raises UserError when `names` lacks one of them.
    """
    names = names or tuple(kinds)
    if missing := [kind for kind in kinds if kind not in names]:
        raise UserError(
            f"{place} has objects labelled {first_few(missing)}, which dataset.names lacks; "
            f"it has {first_few(names, 20)}"
        )
    return names, {name: number for number, name in enumerate(names)}
