"""Reads, writes and checks image files."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lib.step.errors import UserError
from lib.step.files import is_lfs_text

# Pillow warns on the terminal about very large images; above twice that size it raises an error, which `damage`
# reports.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 2 to 8 are turned or mirrored
# Pillow's names of the formats that OpenCV turns as their EXIF says (MPO is a JPEG with a second one appended).
TURNED = ("JPEG", "MPO", "PNG", "TIFF")


def read_image(path) -> np.ndarray:
    """An image as uint8 RGB [height, width, 3], turned upright as its EXIF says.

    Raises UserError naming the file when it cannot be decoded.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except (OSError, cv2.error) as error:
        if getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise MemoryError(f"image {path}") from None
        image = None
    if image is None:
        raise UserError(f"image {path} cannot be decoded; replace it or remove it from the data set")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, after turning it as its EXIF says; its pixels are not decoded."""
    with Image.open(path) as image:
        quarter = image.getexif().get(ORIENTATION) in range(5, 9)
        return image.size[::-1] if quarter else image.size


def size_in_file(path: Path) -> tuple[int, int]:
    """Width and height of an image file as it is stored; only its header is read.

    Raises UserError naming the file when that cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError or struct.error, depending on the format
        raise UserError(f"image {path} cannot be decoded; replace it or remove it from the data set") from None


def read_fitted(path, depth: int) -> np.ndarray:
    """An image of `depth` channels that `write_image` wrote, uint8 [height, width, depth], channels as written."""
    return np.ascontiguousarray(read_image(path)[:, :, :depth])


def write_image(path, image: np.ndarray) -> None:
    """Write uint8 RGB [height, width, 3], or one channel, as PNG.

    Raises OSError where cv2.imwrite would only return False.
    """
    Path(path).write_bytes(cv2.imencode(".png", image[:, :, ::-1])[1])


def damage(path: Path) -> str | None:
    """What is wrong with an image file, in a few words; None when it decodes completely.

    OpenCV, which reads it later, fills the missing part of a truncated JPEG with grey, without a warning; Pillow
    reports it.
    """
    content = path.read_bytes()
    if not content:
        return "empty"
    if is_lfs_text(content):
        return "a Git LFS pointer, not an image (`git lfs pull` fetches it)"
    if content.lstrip()[:1] == b"<":
        return "a web page, not an image"
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if getattr(image, "is_animated", False) and image.format != "MPO":
                return f"an animated {image.format}; save one of its frames"
            turned = image.getexif().get(ORIENTATION) in range(2, 9)
            if turned and image.format not in TURNED:
                return (
                    f"{image.format} with an EXIF rotation, which is not supported for {image.format}; save it upright"
                )
        read_image(path)
    except Image.DecompressionBombError:
        return "more pixels than a camera image has"
    except UserError:
        return "cannot be decoded by OpenCV"
    except (
        Exception
    ) as error:  # Pillow raises OSError, SyntaxError, ValueError or struct.error, depending on the format
        return "truncated" if "truncated" in str(error) else "cannot be decoded"
    return None


def damaged(paths: list[Path], workers: int, watch) -> dict[Path, str]:
    """`{path: what is wrong}` for those of `paths` that do not decode; `watch` wraps the iteration (a progress bar)."""
    with ThreadPoolExecutor(workers) as pool:
        faults = watch(zip(paths, pool.map(damage, paths)))
        return {path: reason for path, reason in faults if reason}
