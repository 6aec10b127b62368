"""The image while it is drawn, and the map of which object owns each pixel."""

import cv2
import numpy as np

from lib.data.scenes.texture import noise

MAX_SIZE = 220


class Canvas:
    """The image while it is drawn, and what is known about it.

    pixels: float32 [height, width, 3], BGR in 0..1. owner: int16 [height, width], the number of the object
    visible there. layer: int16 [height, width], the number of the stamp, object or not, visible there. stamps: how many
    there are so far. area: from an object's number to its whole area in pixels, hidden parts included. scale: factor on
    all sizes, 1 for 640x480. light: unit vector [3] towards the light. texture: wear, for all objects.
    """

    def __init__(self, pixels, rng):
        self.pixels = pixels
        self.owner = np.zeros(pixels.shape[:2], np.int16)
        self.layer = np.zeros(pixels.shape[:2], np.int16)
        self.stamps = 0
        self.area = {}
        self.scale = min(pixels.shape[1] / 640, pixels.shape[0] / 480)
        azimuth, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
        self.light = np.array((np.cos(azimuth) * slope, np.sin(azimuth) * slope, 1.0), np.float32)
        self.light /= np.linalg.norm(self.light)
        self.shadow = rng.uniform(0.35, 0.75)
        side = int(1.5 * MAX_SIZE * max(1.0, self.scale))  # more than any object's patch
        self.texture = noise(rng, side, side, 8, 8, 5)

    def stamp(self, coverage, colour, x, y, owner=0, lift=2.0):
        """Draw something onto the image, with its shadow.

        coverage: float32 [h, w] in 0..1. colour: [h, w, 3] or [3]. x, y: the patch's upper left corner, which
        may lie outside. owner: the object's number from 1 on, 0 for anything that is not an object. lift: height above
        the bench, pixels; 0 for ink.
        """
        self.stamps += 1
        if owner:
            self.area[owner] = int((coverage > 0.5).sum())
        if lift > 0:
            self._darken(coverage, x, y, lift)
        in_image, in_patch = self._overlap(coverage.shape, x, y)
        if in_image is None:
            return
        alpha = coverage[in_patch][..., None]
        if np.ndim(colour) == 3:
            colour = colour[in_patch]
        self.pixels[in_image] += (colour - self.pixels[in_image]) * alpha
        solid = alpha[..., 0] > 0.5
        self.owner[in_image][solid] = owner
        self.layer[in_image][solid] = self.stamps

    def _darken(self, coverage, x, y, lift):
        reach = int(np.ceil(lift * 2)) + 2
        wide = cv2.copyMakeBorder(coverage, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
        soft = cv2.GaussianBlur(wide, (0, 0), 0.6 + lift * 0.35)
        offset = -self.light[:2] * lift * 1.6
        left, top = x - reach + round(float(offset[0])), y - reach + round(float(offset[1]))
        in_image, in_patch = self._overlap(soft.shape, left, top)
        if in_image is not None:
            self.pixels[in_image] *= 1 - self.shadow * soft[in_patch][..., None]

    def _overlap(self, shape, x, y):
        """Slices into the image and into a patch of `shape` at x, y; (None, None) if they do not meet."""
        height, width = self.owner.shape
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + shape[1], width), min(y + shape[0], height)
        if left >= right or top >= bottom:
            return None, None
        here = slice(top, bottom), slice(left, right)
        return here, (slice(top - y, bottom - y), slice(left - x, right - x))
