"""Parts and decoys: shaded by one light, with side walls, lying on each other."""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.scenes.canvas import MAX_SIZE
from lib.data.scenes.shapes import CLASS_SHAPES, DECOYS, KEYPOINTS, LYING, o_ring
from lib.data.scenes.texture import random_colour

MAX_OBJECTS = 12
MIN_SIZE = 20  # longest side of an object, pixels of a 640x480 image
MIN_VISIBLE_FRACTION = 0.4
MIN_VISIBLE_SIDE = 8  # pixels, the longer side of the visible box
# Base colours, BGR in 0..1.
METALS = (
    (0.72, 0.70, 0.68),  # zinc
    (0.60, 0.57, 0.55),  # steel
    (0.52, 0.50, 0.47),  # steel, darker
    (0.30, 0.29, 0.29),  # black oxide
    (0.34, 0.62, 0.76),  # brass
    (0.45, 0.70, 0.74),  # yellow passivated
    (0.30, 0.45, 0.70),  # copper
)
RUST = np.array((0.13, 0.25, 0.45), np.float32)
ROUND = 0.9  # fraction of a flat part's long side; one whose short side is longer has no visible direction


@dataclass(frozen=True)
class Pose:
    """How an object lies on the bench.

    angle: of the object's long axis, radians from the image's x axis towards its y axis; 0 for a round object.
    keypoints: float64 [len(KEYPOINTS), 2], x and y in pixels, hidden ones too; NaN where the object has no such point.
    layer: the number of its stamp.
    """

    angle: float
    keypoints: np.ndarray
    layer: int


def _draw_shape(canvas, rng, shape, centre, size, owner=0):
    """Draw a part or a decoy of `size` pixels (its longest side) around `centre` (x, y); returns its Pose."""
    half = size / 2
    lying = shape in LYING
    squash = 1.0 if lying else min(1.0, rng.uniform(0.6, 1.3))
    tilt, spin = rng.uniform(0, 2 * np.pi, 2)
    thickness = 0.0 if lying else half * rng.uniform(0.1, 0.45) * np.sqrt(1 - squash**2)
    reach = int(np.ceil(half * 1.05 + thickness)) + 2
    left, top = round(centre[0]) - reach, round(centre[1]) - reach
    axis = np.arange(-reach, reach + 1, dtype=np.float32) / half
    x, y = axis[None, :], axis[:, None]
    # From the patch to the shape: turn back the tilt, undo the squash along it, turn back the spin.
    along, down = x * np.cos(tilt) + y * np.sin(tilt), (y * np.cos(tilt) - x * np.sin(tilt)) / squash
    u, v = along * np.cos(spin) + down * np.sin(spin), down * np.cos(spin) - along * np.sin(spin)
    distance, relief, keypoints = shape(rng, u.astype(np.float32), v.astype(np.float32))
    coverage = np.clip(0.5 - distance * half * np.sqrt(squash), 0, 1).astype(np.float32)
    colour = _shade(canvas, rng, relief.astype(np.float32) * half, shape is o_ring)
    if thickness >= 1:
        drop = np.array((-np.sin(tilt), np.cos(tilt))) * thickness
        coverage, colour = _extrude(canvas, coverage, distance.astype(np.float32), colour, drop)
    canvas.stamp(coverage, colour, left, top, owner, lift=1 + half * rng.uniform(0.04, 0.16))

    turn = np.array(((np.cos(tilt), -np.sin(tilt)), (np.sin(tilt), np.cos(tilt))))
    to_patch = turn * (1, squash) @ ((np.cos(spin), -np.sin(spin)), (np.sin(spin), np.cos(spin)))
    places = np.array([keypoints.get(name, (np.nan, np.nan)) for name in KEYPOINTS])
    middle = np.array((left, top)) + reach + 0.5  # of the patch's middle pixel
    if lying:
        angle = tilt + spin
    else:
        angle = tilt if squash < ROUND else 0.0
    return Pose(float(angle), places @ to_patch.T * half + middle, canvas.stamps)


def _shade(canvas, rng, relief, rubber):
    """Colours [n, n, 3] of a surface from its relief [n, n] (pixels): paint or metal, wear, rust, light."""
    side = len(relief)
    slope_y, slope_x = np.gradient(relief)
    norm = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = np.clip((canvas.light[2] - slope_x * canvas.light[0] - slope_y * canvas.light[1]) * norm, 0, 1)
    base = np.array(METALS[rng.integers(len(METALS))], np.float32) * rng.uniform(0.75, 1.15)
    if rubber:
        base = np.full(3, rng.uniform(0.05, 0.2), np.float32)
    elif rng.random() < 0.12:
        base = random_colour(rng, 0.08, 0.85)
    y, x = rng.integers(0, len(canvas.texture) - side, 2)
    wear = canvas.texture[y : y + side, x : x + side]
    surface = base * (1 + rng.uniform(0.03, 0.12) * wear)[..., None]
    if rng.random() < 0.3:
        spread = np.clip(wear.T, -2, 2) * 0.5 + rng.uniform(-0.6, 0.5)
        rust = RUST * (1 + 0.2 * wear[..., None])
        surface = surface + (rust - surface) * np.clip(spread, 0, 0.9)[..., None]
    gloss = np.clip((facing - 0.8) * 5, 0, 1) ** 6 * rng.uniform(0, 0.5)
    sheen = 0.08 * np.sin(slope_x * 5 * norm + slope_y * 3 * norm + rng.uniform(0, 6))
    return surface * (0.28 + 0.85 * facing + sheen)[..., None] + gloss[..., None]


def _extrude(canvas, coverage, distance, colour, drop):
    """Give a flat shape side walls: copies of it underneath, shifted step by step along `drop` (x, y pixels).

    Returns its coverage [n, n] and its colours [n, n, 3].
    """
    slope_y, slope_x = np.gradient(distance)
    norm = np.sqrt(slope_x**2 + slope_y**2) + 1e-6
    lit = 0.42 + 0.3 * (slope_x * -canvas.light[0] + slope_y * -canvas.light[1]) / norm
    wall = np.dstack([colour * lit[..., None], coverage])
    steps = int(np.ceil(np.hypot(*drop)))
    body = np.zeros_like(wall)
    for step in range(steps, 0, -1):
        shift = np.float32([[1, 0, drop[0] * step / steps], [0, 1, drop[1] * step / steps]])
        moved = cv2.warpAffine(wall, shift, wall.shape[1::-1])
        body += (moved - body) * moved[..., 3:]
    mixed = body[..., :3] + (colour - body[..., :3]) * coverage[..., None]
    return np.maximum(coverage, body[..., 3]), mixed


def draw_objects(canvas, rng):
    """Draw parts and decoys, one over the other; returns the parts' classes and Poses, in order."""
    height, width = canvas.owner.shape
    count = 0 if rng.random() < 0.04 else int(min(MAX_OBJECTS, 1 + rng.gamma(2.0, 1.8)))
    is_part = rng.permutation(np.arange(count + rng.integers(0, 5)) < count)
    zoom = np.exp(rng.uniform(np.log(48), np.log(160)))  # one camera distance per image, so that sizes are consistent
    kinds, poses, previous = [], [], None
    for part in is_part:
        size = np.clip(zoom * np.exp(rng.uniform(np.log(0.6), np.log(1.6))), MIN_SIZE, MAX_SIZE) * canvas.scale
        centre = rng.uniform((0, 0), (width, height))
        if previous is not None and rng.random() < 0.3:  # a heap: close to the previous object, often under or over it
            angle = rng.uniform(0, 2 * np.pi)
            reach = (previous[1] + size) * rng.uniform(0.25, 0.5)
            centre = previous[0] + np.array((np.cos(angle), np.sin(angle))) * reach
        if part:
            kinds.append(int(rng.integers(len(CLASS_SHAPES))))
            poses.append(_draw_shape(canvas, rng, CLASS_SHAPES[kinds[-1]], centre, size, owner=len(kinds)))
        else:
            _draw_shape(canvas, rng, DECOYS[rng.integers(len(DECOYS))], centre, size)
        previous = centre, size
    return kinds, poses


def visible_objects(canvas):
    """Numbers (from 1 on) and boxes [n, 4] of the visible parts, and the owner map renumbered to them."""
    numbers, boxes, owner = [], [], np.zeros_like(canvas.owner)
    for number, area in canvas.area.items():
        mask = canvas.owner == number
        visible = int(mask.sum())
        if visible == 0 or visible < MIN_VISIBLE_FRACTION * area:
            continue
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        if max(w, h) < MIN_VISIBLE_SIDE:
            continue
        numbers.append(number)
        boxes.append((x, y, x + w, y + h))
        owner[mask] = len(numbers)
    return numbers, np.array(boxes, np.float64).reshape(-1, 4), owner


def seen_keypoints(canvas, pose):
    """Keypoints of an object, float64 [len(KEYPOINTS), 3]: x and y in pixels, and 2 (visible), 1 (hidden) or 0 (none).

    None means that the object has no such point or that it is outside the image; x and y are 0 then.
    """
    height, width = canvas.layer.shape
    seen = np.zeros((len(KEYPOINTS), 3))
    for row, (x, y) in zip(seen, pose.keypoints, strict=True):
        if 0 <= x < width and 0 <= y < height:
            covered = canvas.layer[int(y), int(x)] > pose.layer
            row[:] = x, y, 1 if covered else 2
    return seen
