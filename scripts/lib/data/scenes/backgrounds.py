"""Bench tops: functions of (rng, side) that give float32 [side, side, 3], BGR in 0..1."""

import cv2
import numpy as np

from lib.data.scenes.texture import mix, noise, random_colour

BACKGROUND_DETAIL = 0.75  # texture pixels per image pixel: the bench is slightly out of focus, and faster to draw


def _wood(rng, side):
    grain = noise(rng, side, side, 40, 2, 3)
    rings = np.sin(noise(rng, side, side, 6, 1.5, 2) * rng.uniform(3, 9) + grain * 0.6)
    dark = np.array((0.16, 0.30, 0.45), np.float32) * rng.uniform(0.6, 1.3)
    pixels = mix(dark, dark * 1.5 + 0.05, 0.5 + 0.22 * rings + 0.16 * grain)
    plank = int(rng.integers(90, 260))
    for y in range(int(rng.integers(0, plank)), side, plank):
        pixels[y : y + 2] *= 0.45
        pixels[y : y + plank] *= rng.uniform(0.85, 1.12)
    return pixels


def _brushed_metal(rng, side):
    shade = 0.5 + 0.05 * noise(rng, side, side, 3, 3, 2) + 0.05 * noise(rng, side, side, side // 2, 3, 1)
    return mix((0.1, 0.1, 0.1), random_colour(rng, 0.75, 0.95), shade + rng.uniform(-0.2, 0.25))


def _cloth(rng, side):
    wave = np.sin(np.arange(side, dtype=np.float32) * (2 * np.pi / rng.uniform(3, 7)))
    weave = wave[:, None] * wave
    folds = noise(rng, side, side, 3, 3, 2)
    colour = random_colour(rng, 0.1, 0.7)
    return mix(colour * 0.4, colour * 1.4, 0.5 + 0.15 * weave + 0.16 * folds)


def _cutting_mat(rng, side):
    colour = np.array([(0.32, 0.38, 0.12), (0.45, 0.25, 0.12), (0.25, 0.25, 0.25)][rng.integers(3)], np.float32)
    pixels = mix(colour * 0.8, colour * 1.2, 0.5 + 0.25 * noise(rng, side, side, 12, 12, 4))
    pitch, line = int(rng.integers(24, 70)), mix(colour, (0.8, 0.9, 0.85), np.float32(rng.uniform(0.3, 0.8)))
    for step, weight in ((pitch, 1), (max(6, pitch // 5), 0.25)):
        pixels[::step] += (line - pixels[::step]) * weight
        pixels[:, ::step] += (line - pixels[:, ::step]) * weight
    return pixels


def _concrete(rng, side):
    shade = 0.5 + 0.12 * noise(rng, side, side, 4, 4, 6)
    pixels = mix((0.08, 0.09, 0.1), random_colour(rng, 0.7, 0.95), shade)
    speckle = rng.random((side, side), np.float32)
    pixels[speckle > 0.985] *= 0.55
    pixels[speckle < 0.01] *= 1.3
    return pixels


def _cardboard(rng, side):
    y = np.arange(side, dtype=np.float32)[:, None]
    flutes = np.sin(y * (2 * np.pi / rng.uniform(6, 16)))
    shade = 0.55 + 0.07 * flutes + 0.1 * noise(rng, side, side, 5, 20, 4)
    return mix((0.2, 0.32, 0.42), (0.5, 0.68, 0.8), shade)


def _perforated(rng, side):
    """A sheet with punched holes: round dark spots everywhere that a detector must not take for parts."""
    pitch = rng.uniform(18, 50)
    offset = np.mod(np.arange(side, dtype=np.float32), pitch) - pitch / 2
    edge = np.sqrt(offset[:, None] ** 2 + offset**2) - pitch * rng.uniform(0.15, 0.3)
    rim = np.clip(2 - np.abs(edge), 0, 1) * np.sign(offset)[:, None]
    sheet = 0.5 + 0.1 * noise(rng, side, side, 4, 4, 4) + 0.25 * rim
    pixels = mix((0.1, 0.1, 0.1), random_colour(rng, 0.5, 0.95), sheet)
    return pixels * (0.25 + 0.75 * np.clip(edge + 0.5, 0, 1))[..., None]


BACKGROUNDS = (
    _wood,
    _wood,  # twice: the commonest bench
    _brushed_metal,
    _cloth,
    _cutting_mat,
    _cutting_mat,
    _concrete,
    _cardboard,
    _perforated,
)


def background(rng, width, height):
    """A bench top, float32 [height, width, 3]: one texture, turned by a random angle."""
    side = int(np.ceil(np.hypot(width, height) * BACKGROUND_DETAIL))
    pixels = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, side)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), 1 / BACKGROUND_DETAIL)
    turn[:, 2] -= ((side - width) / 2, (side - height) / 2)
    pixels = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.clip(pixels, 0.02, 1).astype(np.float32, copy=False)
