"""What every format gives: the images of a data set, each with its labels and the part that it is of."""

from dataclasses import dataclass
from pathlib import Path

from lib.step.errors import UserError

COUNTED, DIFFICULT, CROWD = "", "difficult", "crowd"  # the last word of a label's line; of a plain box there is none
ASPECT_TOLERANCE = 0.02  # of the ratio of width and height: sizes are rounded to pixels


@dataclass(frozen=True)
class Box:
    """A labelled box in pixels: its class, its corners x1, y1, x2, y2, and how it counts (COUNTED and the others)."""

    kind: int
    corners: tuple[float, float, float, float]
    mark: str = COUNTED


@dataclass(frozen=True)
class LabelText:
    """Labels as lines of Ultralytics' layout.

    cut: boxes that reached beyond the image, cut at its edges. empty: classes of boxes without area, left out.
    """

    text: str
    cut: int
    empty: tuple[int, ...]


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image, where the format has no label file in Ultralytics' layout.

    frame: width and height of the image that the boxes were drawn in, where the format says it.
    """

    boxes: tuple[Box, ...]
    frame: tuple[float, float] | None = None

    def text(self, image: Path, size: tuple[int, int]) -> LabelText:
        """The label of an image of `size` (width, height), which may be the frame made smaller or larger.

        Raises UserError when it has another shape than the frame: the boxes would be somewhere else.
        """
        width, height = self.frame or size
        if abs(width * size[1] / (height * size[0]) - 1) > ASPECT_TOLERANCE:
            raise UserError(
                f"{image} is {size[0]}x{size[1]}, its labels are of an image of {width:g}x{height:g}; an image that is "
                "turned or cut needs labels of its own"
            )
        lines, cut, empty = [], 0, []
        for box in self.boxes:
            x1, y1, x2, y2 = box.corners
            inside = (min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height))
            if inside[2] <= inside[0] or inside[3] <= inside[1]:
                empty.append(box.kind)
                continue
            cut += inside != box.corners
            left, top, right, bottom = inside
            numbers = (left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width
            words = [box.kind, *map(float, (*numbers, (bottom - top) / height)), *([box.mark] if box.mark else [])]
            lines.append(" ".join(map(str, words)) + "\n")
        return LabelText("".join(lines), cut, tuple(empty))


@dataclass(frozen=True)
class Item:
    """One image of a data set, its labels (a file in Ultralytics' layout, boxes, or nothing) and its part.

    part: train, val or test; empty where the data set has no parts.
    """

    image: Path
    label: Path | Boxes | None
    part: str = ""


@dataclass(frozen=True)
class Source:
    """A data set as its format describes it; no image is opened yet.

    place: the file or folder that messages name; labels: the one that labels lie in, where it is another.
    names: of the classes 0..n-1, None where the format has none.
    numbers: for labels whose class numbers have gaps, the class 0..n-1 of each.
    remarks: lines for the user. others: files beside the images that are none. orphans: files that label no image.
    renames: whether images of one name in different folders may be kept under longer names. labelled: whether a set
    without any label is a mistake.
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


@dataclass(frozen=True)
class Hints:
    """What the user says beside the file or folder: a folder of images, class names in the model's order."""

    images: Path | None = None
    names: tuple[str, ...] | None = None


def only_one(places: list[Path], root: Path, what: str, key: str) -> Path:
    """The one of `places` below `root`. Raises UserError when there is none, or several, which it lists."""
    if not places:
        raise UserError(f"{root} holds no {what}")
    if len(places) > 1:
        listed = ", ".join(str(place.relative_to(root)) for place in places)
        raise UserError(
            f"{root} holds several of this kind, {listed}; name one: dataset.archive for the zip or folder, and "
            f"dataset.{key} for the path inside it"
        )
    return places[0]


def visible(paths) -> list[Path]:
    """Those of `paths` that are not hidden and not what macOS adds to a zip, sorted."""
    return sorted(path for path in paths if path.name[0] != "." and "__MACOSX" not in path.parts)


def first_few(names, most: int = 5) -> str:
    """The first of `names`, and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def numbered(names: dict[int, str], place: Path) -> tuple[tuple[str, ...], dict[int, int] | None, list[str]]:
    """Names by class number as (names of 0..n-1, the new number of each or None where they are 0..n-1, remarks).

    Raises UserError when a name is empty or there twice.
    """
    order = sorted(names)
    listed = tuple(names[number].strip() for number in order)
    if not listed or not all(listed) or len(set(listed)) < len(listed):
        raise UserError(f"{place}: class names must be distinct and not empty: {list(listed)}")
    if order == list(range(len(order))):
        return listed, None, []
    span, anew = (f"{first} to {last}" if last > first else str(first)
                  for first, last in ((order[0], order[-1]), (0, len(order) - 1)))  # fmt: skip
    remark = f"class numbers of {place.name}, {span}, become {anew}, in their order"
    return listed, {number: position for position, number in enumerate(order)}, [remark]


def by_name(kinds: list[str], names: tuple[str, ...] | None, place: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and the number of each of the `kinds` that are labelled: their order, or that of `names`.

    Raises UserError when `names` lacks one of them.
    """
    names = names or tuple(kinds)
    if missing := [kind for kind in kinds if kind not in names]:
        raise UserError(
            f"{place} labels objects as {first_few(missing)}, which dataset.names lacks; it has {first_few(names, 20)}"
        )
    return names, {name: number for number, name in enumerate(names)}
