"""Shapes of parts and decoys: functions of (rng, u, v) that give a Surface.

Coordinates and results are in units of half the shape's longest side.
"""

from typing import NamedTuple

import numpy as np

KEYPOINTS = ("head", "neck", "tip", "bore")
BORE = {"bore": (0.0, 0.0)}


class Surface(NamedTuple):
    """A shape on its patch.

    distance: float32 of u's shape, signed distance to the edge; negative inside.
    relief: float32 of u's shape, the surface's height.
    keypoints: (u, v) by name, for those of KEYPOINTS that the shape has.
    """

    distance: np.ndarray
    relief: np.ndarray
    keypoints: dict[str, tuple[float, float]]


def _bevel(distance, width):
    return np.clip(-distance, 0, width)


def _hexagon_distance(u, v, apothem):
    u, v = np.abs(u), np.abs(v)
    return np.maximum(v, u * 0.8660254 + v * 0.5) - apothem


def bolt(rng, u, v):
    """A bolt from the side: its head at the left, a threaded shank, a chamfered tip."""
    head_half, head_long = rng.uniform(0.32, 0.5), rng.uniform(0.22, 0.42)
    shank_half = head_half * rng.uniform(0.45, 0.62)
    pitch, thread = rng.uniform(0.09, 0.16), rng.uniform(0.03, 0.05)
    joint = -1 + head_long
    wave = np.sin((u + v * 0.15) * (2 * np.pi / pitch)) * (u > joint + rng.uniform(0, 0.5) * (1 - joint))
    width = np.abs(v) - shank_half - 0.25 * thread * wave
    chamfer = np.abs(v) + u - 1 - shank_half * 0.55
    shank = np.maximum(np.maximum(width, np.abs(u - (joint + 1) / 2) - (1 - joint) / 2), chamfer)
    head = np.maximum(np.abs(v) - head_half, np.abs(u - (joint - 1) / 2) - head_long / 2)
    style = rng.integers(3)
    across = np.abs(v) / head_half
    if style == 0:  # hexagonal: a facet in front, two that fall away
        top = head_half * (0.9 - 0.9 * np.clip(across - 0.5, 0, 1)) + 0.5 * _bevel(head, 0.05)
    elif style == 1:  # socket cap: a knurled cylinder
        top = head_half * (np.sqrt(np.clip(1 - across**2, 0.02, 1)) + 0.06 * np.sin(v * 70))
    else:  # pan: a dome
        head = np.maximum(head, np.hypot((u - joint) / head_long, v / head_half) * 0.3 - 0.3)
        top = head_half * np.sqrt(np.clip(1 - across**2, 0.02, 1)) + _bevel(head, 0.1)
    barrel = shank_half * np.sqrt(np.clip(1 - (v / shank_half) ** 2, 0.02, 1)) + thread * wave
    axis = {"head": (-1.0, 0.0), "neck": (joint, 0.0), "tip": (1.0, 0.0)}
    return Surface(np.minimum(head, shank), np.where(head < shank, top, barrel), axis)


def nut(rng, u, v):
    """A hexagonal nut from above, its corners chamfered, perhaps on a flange."""
    radius = np.hypot(u, v)
    flange = rng.random() < 0.12
    apothem = rng.uniform(0.62, 0.72) if flange else 0.8660254
    body = np.maximum(_hexagon_distance(u, v, apothem), radius - apothem * 1.12)
    hole = apothem * rng.uniform(0.48, 0.66) - radius
    relief = _bevel(np.maximum(body, radius - apothem * 1.02), 0.12) - 0.8 * np.clip(hole + 0.08, 0, 0.08)
    if flange:
        relief = np.where(body < 0, relief + 0.15, 0.15 * np.clip((1 - radius) / (1 - apothem), 0, 1))
        body = radius - 1
    return Surface(np.maximum(body, hole), relief, BORE)


def washer(rng, u, v):
    """A flat washer, or a split one."""
    radius = np.hypot(u, v)
    distance = np.maximum(radius - 1, rng.uniform(0.36, 0.68) - radius)
    if rng.random() < 0.15:
        distance = np.maximum(distance, np.where(u > 0, rng.uniform(0.04, 0.09) - np.abs(v + 0.3 * (u - 0.8)), -1))
    relief = _bevel(distance, rng.uniform(0.03, 0.1)) + 0.004 * np.sin(radius * rng.uniform(50, 110))
    return Surface(distance, relief, BORE)


def gear(rng, u, v):
    """A spur gear: 8 to 26 teeth, a bore, perhaps a hub, a ring of holes and a keyway."""
    teeth = rng.integers(8, 27)
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    depth = min(0.26, rng.uniform(2.0, 2.8) / teeth)
    profile = np.clip(0.5 + 1.1 * np.cos(angle * teeth), 0, 1)
    distance = (radius - 1 + depth * (1 - profile)) * 0.8
    bore = rng.uniform(0.1, 0.3)
    distance = np.maximum(distance, bore - radius)
    relief = _bevel(distance, 0.04)
    root, hub = 1 - depth, bore + rng.uniform(0.1, 0.16)
    if rng.random() < 0.6:  # a web, thinner than the rim and the hub
        rim = root - rng.uniform(0.08, 0.16)
        relief = relief - 0.08 * np.clip((rim - radius) * 20, 0, 1) * np.clip((radius - hub) * 20, 0, 1)
        if rim - hub > 0.2 and rng.random() < 0.7:
            count = rng.integers(3, 8)
            sector = 2 * np.pi / count
            folded = np.mod(angle, sector) - sector / 2
            centre = (rim + hub) / 2
            spot = np.hypot(radius * np.cos(folded) - centre, radius * np.sin(folded))
            distance = np.maximum(distance, min((rim - hub) * 0.36, centre * sector * 0.35) - spot)
    if rng.random() < 0.4:
        distance = np.maximum(distance, -np.maximum(np.abs(v) - bore * 0.3, np.abs(u - bore) - bore * 0.4))
    return Surface(distance, relief, BORE)


def dowel(rng, u, v):
    """A plain pin: a bolt's shank without head and thread."""
    half = rng.uniform(0.08, 0.2)
    distance = np.maximum(np.abs(v) - half, np.abs(u) - 1)
    return Surface(distance, half * np.sqrt(np.clip(1 - (v / half) ** 2, 0.02, 1)) + _bevel(distance, 0.04), {})


def disc(rng, u, v):
    """A coin or a cap: a washer without its hole."""
    radius = np.hypot(u, v)
    return Surface(radius - 1, _bevel(radius - 1, 0.08) - 0.06 * (radius < rng.uniform(0.5, 0.85)), {})


def o_ring(rng, u, v):
    """A ring too thin to be a washer."""
    inner = rng.uniform(0.84, 0.92)
    distance = np.abs(np.hypot(u, v) - (1 + inner) / 2) - (1 - inner) / 2
    return Surface(distance, np.sqrt(np.clip(-distance * (1 - inner), 0, None)), {})


def hexagon_plate(rng, u, v):
    """A nut without its hole."""
    distance = _hexagon_distance(u, v, 0.8660254)
    return Surface(distance, _bevel(distance, rng.uniform(0.05, 0.2)), {})


def cross_plate(rng, u, v):
    """A bracket with four arms, less round than any gear."""
    half = rng.uniform(0.25, 0.4)
    u, v = np.abs(u), np.abs(v)
    distance = np.minimum(np.maximum(u - half, v - 0.9), np.maximum(v - half, u - 0.9))
    return Surface(np.maximum(distance, half * 0.5 - np.hypot(u, v)), _bevel(distance, 0.06), {})


CLASS_SHAPES = (bolt, nut, washer, gear)  # in the order of CLASSES
DECOYS = (dowel, disc, o_ring, hexagon_plate, cross_plate)
LYING = (bolt, dowel)  # seen from the side, so neither squashed nor extruded like a plate
