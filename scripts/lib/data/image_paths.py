"""Image files below a folder."""

from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".png")


def picture_paths(folder: Path) -> list[Path]:
    """Every picture below `folder` (jpg, jpeg, png in any case), sorted by its path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
