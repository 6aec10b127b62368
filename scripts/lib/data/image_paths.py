"""Image files below a folder."""

from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".png")


def picture_paths(folder: Path) -> list[Path]:
    """Every picture below `folder` (jpg, jpeg, png in any case), sorted by its path; hidden files are none."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.name[0] != ".")
    return sorted(path for path in found if path.is_file())
