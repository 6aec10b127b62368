"""The images and labels of the folders and lists that a data set's file names, part by part."""

from dataclasses import dataclass, field
from pathlib import Path

from lib.data.formats.layout import is_image, label_beside, label_folder, orphans, top_images
from lib.data.formats.located import located
from lib.data.formats.own_names import CLASSES
from lib.data.formats.source import Item, first_few, no_image
from lib.data.image_paths import image_paths, is_hidden
from lib.step.errors import UserError
from lib.step.files import read_text


@dataclass
class Listing:
    """The items of all parts of a data set, files among them that are not images, and remarks."""

    items: list[Item] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _lists: set[Path] = field(default_factory=set)
    _folders: dict[Path, list[Path]] = field(default_factory=dict)  # of images, with all images in each

    def add(self, place: Path, folders: list[Path], part: str) -> None:
        """Add the images of a folder, or of a text file that lists images, as those of `part`.

        Raises UserError when a listed image is missing or none is left.
        """
        images, others, remarks = _images(place, folders)
        if not images:
            raise UserError(f"{part}: {no_image(place) if place.is_dir() else _no_listed(place, others)}")
        self._note(place, images)
        self.items += [Item(image, label_beside(image), part) for image in images]
        self.others += others
        self.remarks += remarks

    def _note(self, place: Path, images: list[Path]) -> None:
        """Keep the folders of a part's images; a list may name only some of the images in its folders."""
        if place.is_dir():
            for image in images:
                top = top_images(image.parent)
                self._folders.setdefault(top if top and place in top.parents else place, []).append(image)
        else:
            self._lists.add(place)
            self._folders |= {folder: image_paths(folder) for folder in {image.parent for image in images}}

    def orphans(self) -> tuple[str, ...]:
        """Names of the label files that belong to no image, sorted."""
        found = set()
        for folder, images in self._folders.items():
            apart = label_folder(folder)
            places = {apart if apart.is_dir() else folder}
            if any((folder / image.relative_to(folder).with_suffix(".txt")).is_file() for image in images):
                places.add(folder)
            found.update(*(orphans(folder, place, images) for place in places))
        named = {path for path in found if any(path.match(pattern) for pattern in CLASSES)}
        return tuple(path.name for path in sorted(found - named - self._lists))


def _no_listed(place: Path, others: list[str]) -> str:
    kinds = f": it lists {first_few(others)}, which are not read; save them as jpg or png" if others else ""
    return f"{place} lists no image (jpg, jpeg, png, webp){kinds}"


def _images(place: Path, folders: list[Path]) -> tuple[list[Path], list[str], list[str]]:
    if not place.is_dir():
        return _listed(place, folders)
    files = [path for path in place.rglob("*") if path.is_file() and not is_hidden(path, place)]
    others = (path.name for path in files if not is_image(path) and path.suffix.lower() not in (".txt", ".cache"))
    return image_paths(place), sorted(others), []


def _listed(place: Path, folders: list[Path]) -> tuple[list[Path], list[str], list[str]]:
    if not place.is_file():
        raise UserError(f"{place} is neither a folder nor a file")
    lines = [line.strip() for line in read_text(place).splitlines() if line.strip()]
    usual = [place.parent, *folders]
    path_of = {line: located(line, usual) for line in lines}
    remarks = []
    if missing := [line for line in lines if path_of[line] is None]:
        # A list of another machine may lie in a folder of its own, beside that of the images.
        above = place.parent.resolve().parent
        path_of = {line: located(line, [above]) for line in lines}
        if None in path_of.values():
            raise UserError(
                f"{place} lists {len(lines)} images, but {len(missing)} cannot be found, the first {missing[0]}: "
                f"neither there nor below {first_few(dict.fromkeys(map(str, [*usual, above])))}, also without its "
                "leading folders; correct the list, or put the images there"
            )
        remarks = [f"the images of {place.name} are looked for in {above}, the folder above its own"]
    paths = list(dict.fromkeys(path_of[line] for line in lines))
    repeated = len(lines) - len(paths)
    if repeated:
        remarks.append(f"WARNING: {place.name} lists {len(paths)} different images in {len(lines)} lines")
    return sorted(filter(is_image, paths)), [path.name for path in paths if not is_image(path)], remarks
