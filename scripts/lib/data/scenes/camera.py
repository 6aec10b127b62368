"""The camera: uneven light, exposure, tint, blur and noise."""

import cv2
import numpy as np

from lib.data.scenes.clutter import polygon


def _shake(pixels, rng):
    """Blur as a camera that moves sideways or up does."""
    sideways = rng.random() < 0.5
    length = int(rng.integers(2, 6))
    return cv2.blur(pixels, (length, 1) if sideways else (1, length))


def photograph(pixels, rng):
    """Light the bench unevenly, then photograph it: exposure, tint, lens blur, noise; uint8 [h, w, 3]."""
    height, width = pixels.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.4) * (x * np.cos(angle) + y * np.sin(angle))
    light = 1 + slope - rng.uniform(0, 0.25) * (x * x + y * y)
    if rng.random() < 0.35:  # something outside the image casts a shadow
        shade = np.zeros((height // 4, width // 4), np.float32)
        corner_x, corner_y = int(rng.integers(0, width // 4)), int(rng.integers(0, height // 4))
        cv2.fillPoly(shade, [polygon(rng, corner_x, corner_y, width // 6, 5, 0.5)], 1.0)
        shade = cv2.GaussianBlur(shade, (0, 0), rng.uniform(1, 6))
        light *= 1 - rng.uniform(0.2, 0.6) * cv2.resize(shade, (width, height))
    tint = 1 + rng.uniform(-0.08, 0.08, 3).astype(np.float32)
    pixels = pixels * light.astype(np.float32)[..., None]
    pixels *= tint * np.float32(rng.uniform(0.8, 1.2))
    blur = rng.uniform(0, 1.0)
    if blur > 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    if rng.random() < 0.1:
        pixels = _shake(pixels, rng)
    grain = rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0.003, 0.025))
    pixels += grain[..., None] * rng.uniform(0.7, 1.3, 3).astype(np.float32)
    pixels *= 255
    return cv2.convertScaleAbs(np.clip(pixels, 0, 255, out=pixels))
