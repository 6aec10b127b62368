"""Image files below a folder."""

from pathlib import Path

IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def image_paths(folder: Path) -> list[Path]:
    """Every image below `folder` (jpg, jpeg, png, webp in any case), sorted by its path; hidden files are left out."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.name[0] != ".")
    return sorted(path for path in paths if path.is_file())
