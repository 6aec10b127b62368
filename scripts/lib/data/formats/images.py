"""A folder of images without labels, for calibration, or for models whose mAP cannot be computed."""

from pathlib import Path

from lib.data.formats.source import Hints, Item, Source, no_image, visible
from lib.data.image_paths import UNREAD, image_paths
from lib.step.errors import UserError

KEY = "images"


def find(root: Path, hints: Hints) -> Path:
    """The folder itself."""
    return root


def read(folder: Path, hints: Hints) -> Source:
    """All images below a folder. Raises UserError when there is none."""
    images = image_paths(folder)
    if not images:
        raise UserError(no_image(folder))
    others = tuple(path.name for path in visible(folder) if path.suffix.lower() in UNREAD)
    return Source(folder, tuple(Item(image, None) for image in images), hints.names, others=others, labelled=False)
