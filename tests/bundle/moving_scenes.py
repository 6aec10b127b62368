"""Random moving scenes from a seed, as detections of an INT8 detector: boxes and scores, image by image."""

from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 640, 360
STEP = 1 / 64  # of a score in INT8: what is near a threshold flickers around it
NOBODY = -1


class Seen(NamedTuple):
    """Detections of one image, best first: class, score, x1, y1, x2, y2 [n, 6]; and each one's object, or NOBODY."""

    table: np.ndarray
    objects: np.ndarray


def moving_scene(seed: int, images: int = 80) -> list[Seen]:
    """Objects that cross and hide each other, turn back at the edges or appear late; and false alarms."""
    rng = np.random.default_rng([seed, 1])
    count = int(rng.integers(4, 13))
    size = np.exp(rng.uniform(np.log(24), np.log(120), (count, 2)))
    place = rng.uniform(0, 1, (count, 2)) * ((WIDTH, HEIGHT) - size)
    speed = rng.normal(0, 5, (count, 2))
    begin = np.where(rng.random(count) < 0.7, 0, rng.integers(0, images // 2, count))
    score, kind = rng.uniform(0.28, 0.9, count), rng.integers(0, 4, count)
    seen = []
    for image in range(images):
        speed += rng.normal(0, 0.3, speed.shape)
        place = place + speed
        beyond = (place < 0) | (place > (WIDTH, HEIGHT) - size)
        speed[beyond] *= -1
        place = np.clip(place, 0, (WIDTH, HEIGHT) - size)
        rows, objects = [], []
        for i in np.flatnonzero(begin <= image):
            # A nearer object (a higher number) hides those behind it.
            hidden = max((_covered(place[i], size[i], place[k], size[k]) for k in range(i + 1, count)), default=0.0)
            confidence = score[i] * (1 - hidden) + rng.normal(0, 0.08)
            if hidden > 0.8 or rng.random() < 0.04 or confidence < 0.05:
                continue
            corner, sides = place[i] + rng.normal(0, 0.02, 2) * size[i], size[i] * np.exp(rng.normal(0, 0.04, 2))
            rows.append([kind[i], confidence, *corner, *(corner + sides)])
            objects.append(i)
        for _ in range(rng.poisson(0.5)):
            corner = rng.uniform(0, 1, 2) * (WIDTH - 60, HEIGHT - 60)
            rows.append([rng.integers(0, 4), rng.uniform(0.06, 0.45), *corner, *(corner + rng.uniform(15, 60, 2))])
            objects.append(NOBODY)
        table = np.array(rows, np.float32).reshape(-1, 6)
        table[:, 1] = np.clip(np.round(table[:, 1] / STEP) * STEP, STEP, 1)
        order = np.argsort(-table[:, 1], kind="stable")
        seen.append(Seen(table[order], np.array(objects, int)[order]))
    return seen


def switches(scene: list[Seen], numbers: list[np.ndarray]) -> int:
    """How often an object gets another number than it had, as CLEAR MOT counts identity switches."""
    last, count = {}, 0
    for seen, given in zip(scene, numbers, strict=True):
        for owner, number in zip(seen.objects, given, strict=True):
            if owner != NOBODY and number:
                count += last.get(owner, number) != number
                last[owner] = number
    return count


def _covered(place, size, other, other_size) -> float:
    """The share of a box that another one covers."""
    low, high = np.maximum(place, other), np.minimum(place + size, other + other_size)
    return float(np.prod(np.clip(high - low, 0, None)) / np.prod(size))
