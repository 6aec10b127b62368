"""Paths that a data set's file names: relative to the one of several folders where they are."""

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


def listed_items(place: Path, folders: list[Path], part: str) -> tuple[list[Item], list[str], list[str]]:
    """Items of a folder of images, or of a text file that lists images; what is there besides; and remarks.

    Raises UserError when a listed image is missing or none is left.
    """
    if place.is_dir():
        images = image_paths(place)
        others = [path.name for path in place.rglob("*") if path.is_file() and not is_image(path)]
        others = sorted(
            name for name in others if name[0] != "." and Path(name).suffix.lower() not in (".txt", ".cache")
        )
        remarks = []
    else:
        images, others, remarks = _listed(place, folders)
    if not images:
        raise UserError(f"{part}: {place} holds no image (jpg, jpeg, png, webp)")
    return [Item(image, label_beside(image), part) for image in images], others, remarks


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
