"""Paths that a data set's file names: relative to the one of several folders where they are."""

from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from lib.data.formats.layout import is_image, label_beside
from lib.data.formats.source import Item
from lib.data.image_paths import image_paths
from lib.step.errors import UserError
from lib.step.files import read_text


def located(name: str, folders: list[Path]) -> Path | None:
    """The file or folder called `name` in the first of `folders` that has it; None where none does.

    Beginnings that are another machine's are left out: `../train` may mean `train`, as in Ultralytics, `data/train.txt`
    may mean `train.txt`, as in CVAT's zips.
    """
    path = Path(PureWindowsPath(name).as_posix()) if "\\" in name else Path(name)
    if path.is_absolute() and path.exists():
        return path
    parts = path.parts[1:] if path.is_absolute() else path.parts
    shorter = [Path(*parts[skipped:]) for skipped in range(min(len(parts), 3))]
    for candidate in shorter:
        for folder in folders:
            if (folder / candidate).exists():
                return (folder / candidate).resolve()
    return None


@dataclass
class Listing:
    """The items of all parts of a data set, files beside the images that are none, and remarks."""

    items: list[Item] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, place: Path, folders: list[Path], part: str) -> None:
        """Add those of a folder of images, or of a text file that lists images.

        Raises UserError when a listed image is missing or none is left.
        """
        images, others, remarks = _images(place, folders)
        if not images:
            raise UserError(f"{part}: {place} holds no image (jpg, jpeg, png, webp)")
        self.items += [Item(image, label_beside(image), part) for image in images]
        self.others += others
        self.remarks += remarks


def _images(place: Path, folders: list[Path]) -> tuple[list[Path], list[str], list[str]]:
    if not place.is_dir():
        return _listed(place, folders)
    others = [path.name for path in place.rglob("*") if path.is_file() and not is_image(path)]
    shown = (name for name in others if name[0] != "." and Path(name).suffix.lower() not in (".txt", ".cache"))
    return image_paths(place), sorted(shown), []


def _listed(place: Path, folders: list[Path]) -> tuple[list[Path], list[str], list[str]]:
    lines = [line.strip() for line in read_text(place).splitlines() if line.strip()]
    found = {line: located(line, [place.parent, *folders]) for line in lines}
    if missing := [line for line in lines if found[line] is None]:
        raise UserError(
            f"{place} lists {len(missing)} images of {len(lines)} that do not exist, the first {missing[0]}"
        )
    paths = list(dict.fromkeys(found[line] for line in lines))
    repeated = len(lines) - len(paths)
    remarks = [f"WARNING: {place.name} lists {len(paths)} different images in {len(lines)} lines"] if repeated else []
    return sorted(filter(is_image, paths)), [path.name for path in paths if not is_image(path)], remarks
