"""A folder of images without labels, for calibration, or for models whose mAP cannot be computed."""

from pathlib import Path

from lib.data.formats.layout import NO_IMAGE
from lib.data.formats.source import Hints, Item, Source
from lib.data.image_paths import image_paths
from lib.step.errors import UserError

KEY = "images"


def find(root: Path, hints: Hints) -> Path:
    """The folder itself."""
    return root


def read(folder: Path, hints: Hints) -> Source:
    """All images below a folder. Raises UserError when there is none."""
    images = image_paths(folder)
    if not images:
        raise UserError(NO_IMAGE.format(folder))
    return Source(folder, tuple(Item(image, None) for image in images), hints.names, labelled=False)
