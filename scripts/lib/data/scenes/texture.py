"""Noise and colours for surfaces: functions of a numpy Generator."""

import cv2
import numpy as np


def noise(rng, height, width, cells_y, cells_x, octaves=3):
    """Fractal value noise, float32 [height, width], with roughly zero mean and unit standard deviation."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = max(2, int(cells_y * 2**octave)), max(2, int(cells_x * 2**octave))
        grid = rng.random(cells, np.float32) - 0.5
        total += cv2.resize(grid * np.float32(4 * 0.6**octave), (width, height), interpolation=cv2.INTER_LINEAR)
    return total


def mix(first, second, amount):
    """Colours between two BGR colours; amount is [...] in 0..1, the result [..., 3]."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * np.clip(amount, 0, 1).astype(np.float32)[..., None]


def random_colour(rng, low=0.1, high=0.9):
    """A BGR colour, float32 [3], mixed halfway with its own grey, since benches are not neon."""
    colour = rng.uniform(low, high, 3).astype(np.float32)
    return colour + (colour.mean() - colour) * np.float32(rng.uniform(0.1, 0.8))
