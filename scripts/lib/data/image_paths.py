"""Image files below a folder."""

from pathlib import Path

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
# Images to people, but not to this tool.
UNREAD = (".bmp", ".jfif", ".jpe", ".tif", ".tiff", ".gif", ".jp2", ".heic", ".heif", ".avif", ".ppm", ".pgm")


def image_paths(folder: Path) -> list[Path]:
    """Every image below `folder` (jpg, jpeg, png, webp in any case), sorted by its path; hidden ones are left out."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and not is_hidden(path, folder))
    return sorted(path for path in paths if path.is_file())


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a file below `root`, or a folder between the two, is hidden: its name begins with a dot.

    Jupyter keeps copies of images in `.ipynb_checkpoints`. The root itself may lie in a hidden folder.
    """
    return any(part[0] == "." for part in path.relative_to(root).parts)
