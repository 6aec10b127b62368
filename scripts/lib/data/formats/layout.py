"""Ultralytics' layout without a data.yaml: `images/…/NAME.jpg` beside `labels/…/NAME.txt`.

Or the labels are beside the images, as Darknet's tools write them. Class names may be there in `classes.txt`, as Label
Studio writes it, LabelImg among the labels, in `_darknet.labels`, as Roboflow does, or in a `data.yaml`.
Layout: https://docs.ultralytics.com/datasets/detect/
"""

from pathlib import Path

from lib.data.foreign import hint
from lib.data.formats.own_names import name_files, settled
from lib.data.formats.source import Hints, Item, Source, no_image, part_of
from lib.data.image_paths import IMAGES, image_paths, is_hidden
from lib.step.errors import UserError

KEY = "archive"


def find(root: Path, hints: Hints) -> Path:
    """The folder that holds `images` and `labels`, at `root` or below it.

    Raises UserError when there is no folder 'images', or there are several.
    """
    if (root / "images").is_dir():
        return root
    folders = sorted(path for path in root.rglob("images") if path.is_dir() and not is_hidden(path, root))
    folders = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    if not folders:
        if any(image.with_suffix(".txt").is_file() for image in image_paths(root)):
            return root
        other = next(filter(None, (alike(path, "images") for path in (root, *sorted(root.rglob("*"))))), None)
        instead = f" (rename {other} to images)" if other else ""
        raise UserError(
            f"{root} has no folder 'images'{instead}; the layout is images/NAME.jpg beside labels/NAME.txt{hint(root)}"
        )
    if len(folders) > 1:
        parents = ", ".join(str(folder.parent.relative_to(root)) for folder in folders)
        raise UserError(
            f"{root} has several folders 'images', in {parents}; name one of these folders in dataset.archive, or the "
            "data.yaml that lists them: dataset: {yaml: data.yaml}. A model was trained on 'train': measure mAP on "
            "another part"
        )
    return folders[0].parent


def read(root: Path, hints: Hints) -> Source:
    """The images and labels in `root`, a folder as `find` gives it. Raises UserError when there is no image.

    Folders such as `images/train` and `images/val` are parts if all images lie in such.
    """
    images = root / "images" if (root / "images").is_dir() else root
    files = [path for path in sorted(images.rglob("*")) if not is_hidden(path, images) and not path.is_dir()]
    paths = image_paths(images)
    if not paths:
        raise UserError(no_image(images))
    labels = _labels(root, images, paths)
    if lost := [path for path in files if not path.exists()]:
        raise UserError(f"{len(lost)} images are broken links, the first {lost[0]}; repair or remove them")
    parts, remarks = _parts([path.relative_to(images) for path in paths], images)
    items = [
        Item(path, _label(labels / path.relative_to(images).with_suffix(".txt")), part)
        for path, part in zip(paths, parts)
    ]
    taken = set(paths)
    lists = name_files(root, images, labels)
    names, doubts = settled(hints.names, lists)
    texts = ".txt" if labels == images else None
    others = [path for path in files if path not in taken and path.suffix != texts and path not in lists]
    return Source(
        images,
        tuple(items),
        names=names,
        remarks=(*doubts, *remarks),
        others=tuple(path.name for path in others),
        orphans=tuple(path.name for path in orphans(images, labels, paths) if path not in lists),
        renames=False,
        labels=labels,
    )


def _labels(root: Path, images: Path, paths: list[Path]) -> Path:
    """The folder of the labels of `paths`: `labels`, or that of the images where they are beside these."""
    apart = root / "labels"
    beside = not apart.is_dir() and any(path.with_suffix(".txt").is_file() for path in paths)
    return images if images == root or beside else apart


def _parts(paths: list[Path], images: Path) -> tuple[list[str], tuple[str, ...]]:
    """The part of each image by the folder of its path below `images`, empty without parts; and remarks."""
    folders = [path.parts[0] if len(path.parts) > 1 else "" for path in paths]
    parts = [part_of(folder) for folder in folders]
    # A single such folder says nothing about how its images are divided.
    if len({*parts} - {""}) < 2:
        return [""] * len(paths), ()
    if "" in parts:
        listed = ", ".join(sorted({folder or "no folder" for folder in folders}))
        remark = (
            f"WARNING: {images} has images in {listed}, which are mixed; to keep parts separate, name them in a "
            "data.yaml: dataset: {yaml: data.yaml}"
        )
        return [""] * len(paths), (remark,)
    return parts, ()


def orphans(images: Path, labels: Path, paths: list[Path]) -> list[Path]:
    """The files in the folder `labels` that are not the label of one of `paths`, images in the folder `images`; sorted.

    Where both are one folder, only texts are looked at. Tools' notes and caches do not count.
    """
    stems = {path.relative_to(images).with_suffix("") for path in paths}
    found = labels.rglob("*.txt" if labels == images else "*")
    files = [path for path in found if path.is_file() and not is_hidden(path, labels) and not _is_note(path)]
    return sorted(
        path for path in files if path.suffix != ".txt" or path.relative_to(labels).with_suffix("") not in stems
    )


def _is_note(path: Path) -> bool:
    # Ultralytics writes labels/train.cache; Roboflow a README.roboflow.txt.
    return path.suffix in (".cache", ".npy") or path.name.upper().startswith("README")


def _label(path: Path) -> Path | None:
    return path if path.exists() else None


def alike(folder: Path, name: str) -> Path | None:
    """A folder in `folder` called `name` in another case, or in the singular or plural; None without one."""
    if not folder.is_dir():
        return None
    inside = (path for path in sorted(folder.iterdir()) if path.is_dir() and path.name != name)
    return next((path for path in inside if _singular(path.name) == _singular(name)), None)


def _singular(name: str) -> str:
    return name.casefold().removesuffix("s")


def misnamed_labels(image: Path) -> str:
    """The end of a refusal, `; rename …`, if the folder for an image's label is called otherwise; else empty."""
    top = top_images(image.parent)
    other = None if top is None or (top.parent / "labels").is_dir() else alike(top.parent, "labels")
    return f"; rename {other} to labels" if other else ""


def place_of_label(image: Path) -> str:
    """The end of a refusal about an image without a label: where that belongs."""
    return f"the label of {image} belongs in {label_folder(image.parent)}{misnamed_labels(image)}"


def label_beside(image: Path) -> Path | None:
    """An image's label as Ultralytics finds it: the last folder 'images' becomes 'labels', NAME.txt; None without one.

    If that does not exist, or no folder is called 'images', the label is beside the image: the set itself may lie below
    a folder 'images'.
    """
    name = f"{image.stem}.txt"
    return _label(label_folder(image.parent) / name) or _label(image.parent / name)


def label_folder(folder: Path) -> Path:
    """A folder of images with its last 'images' replaced by 'labels'; itself where no folder is called so."""
    top = top_images(folder)
    return top.parent / "labels" / folder.relative_to(top) if top else folder


def top_images(folder: Path) -> Path | None:
    """The last folder called 'images' among a folder and those above it; None without one."""
    return next((path for path in (folder, *folder.parents) if path.name == "images"), None)


def is_image(path: Path) -> bool:
    """Whether a path has the suffix of an image that this program reads."""
    return path.suffix.lower() in IMAGES and path.name[0] != "."
