"""Image files, decoded."""

import cv2
import numpy as np

from lib.step.errors import UserError


def read_picture(path) -> np.ndarray:
    """A picture as uint8 RGB [height, width, 3], turned as its EXIF says.

    Raises UserError naming the file when it cannot be decoded.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except (OSError, cv2.error):
        picture = None
    if picture is None:
        raise UserError(f"picture {path} cannot be decoded; replace it or take it out of the data set")
    return np.ascontiguousarray(picture[:, :, ::-1])
