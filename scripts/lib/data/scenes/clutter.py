"""Clutter that is drawn with strokes: marks on the bench, cables, springs."""

import cv2
import numpy as np

from lib.data.scenes.texture import random_colour


def _stamp_mask(canvas, mask, colour, lift):
    """Stamp a uint8 mask [height, width] of the image's size, cropped to what is drawn in it.

    colour: BGR [3] in 0..1, or uint8 [height, width, 3].
    """
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0:
        return
    if colour.ndim == 3:
        colour = colour[y : y + h, x : x + w].astype(np.float32) / 255
    canvas.stamp(mask[y : y + h, x : x + w].astype(np.float32) / 255, colour, x, y, lift=lift)


def draw_marks(canvas, rng):
    """Ink and scraps on the bench: circles, dashed rings, hexagons, text, paper, scratches; none is a part."""
    height, width = canvas.owner.shape
    for _ in range(rng.integers(0, 8)):
        mask = np.zeros((height, width), np.uint8)
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        radius = int(np.exp(rng.uniform(1.6, 4.6)))
        line = int(rng.integers(1, 3))
        colour, lift = random_colour(rng, 0.02, 0.98), 0.0
        mark = rng.integers(6)
        if mark == 0:
            cv2.circle(mask, (x, y), radius, 255, line, cv2.LINE_AA)
        elif mark == 1:
            for start in range(0, 360, 30):
                cv2.ellipse(mask, (x, y), (radius, radius), 0, start, start + 17, 255, line + 1, cv2.LINE_AA)
        elif mark == 2:
            cv2.polylines(mask, [polygon(rng, x, y, radius, 6, 0)], True, 255, line, cv2.LINE_AA)
        elif mark == 3:
            text = "".join(rng.choice(list("ABCDEFHKMNPRSTXZ0123456789-."), rng.integers(2, 9)))
            size = rng.uniform(0.4, 1.6)
            cv2.putText(mask, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, 255, line, cv2.LINE_AA)
        elif mark == 4:
            cv2.fillPoly(mask, [polygon(rng, x, y, radius * 1.5, rng.integers(3, 7), 0.4)], 255, cv2.LINE_AA)
            lift = 1.5
        else:
            end = (x + int(rng.normal(0, 120)), y + int(rng.normal(0, 120)))
            cv2.line(mask, (x, y), end, int(rng.integers(60, 200)), line, cv2.LINE_AA)
        _stamp_mask(canvas, mask, colour, lift)


def polygon(rng, x, y, radius, corners, jitter):
    """Corners, int32 [corners, 1, 2], of a polygon around x, y; its radius varies by the fraction `jitter`."""
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * (2 * np.pi / corners)
    radii = radius * (1 - jitter * rng.random(corners))
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
    return points.round().astype(np.int32)[:, None]


def draw_strokes(canvas, rng, count):
    """Cables, wires and springs: thick curves with a highlight, which may cover parts."""
    height, width = canvas.owner.shape
    for _ in range(count):
        t = np.linspace(0, 1, 60)[:, None]
        a, b, c, d = rng.uniform((-60, -60), (width + 60, height + 60), (4, 2))
        curve = a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        thick = int(np.exp(rng.uniform(np.log(1.5), np.log(15))))
        if rng.random() < 0.2:  # a spring: a wire that zigzags along a short stretch of the curve
            curve = curve[:20] + np.where(np.arange(20) % 2, 1, -1)[:, None] * rng.uniform(5, 14, 2)
            thick = min(thick, 3)
        colour = random_colour(rng, 0.05, 0.8)
        points = curve.round().astype(np.int32)[:, None]
        mask = np.zeros((height, width), np.uint8)
        cv2.polylines(mask, [points], False, 255, thick, cv2.LINE_AA)
        round_look = np.zeros((height, width, 3), np.uint8)
        round_look[:] = (colour * 0.7 * 255).astype(np.uint8)
        for share, light in ((0.6, 1.0), (0.2, 1.35)):
            shift = np.int32(np.round(canvas.light[:2] * thick * (1 - share) * 0.4))
            lit = tuple(float(value) for value in np.clip(colour * light, 0, 1) * 255)
            cv2.polylines(round_look, [points + shift], False, lit, max(1, round(thick * share)), cv2.LINE_AA)
        _stamp_mask(canvas, mask, round_look, lift=thick * 0.5)
