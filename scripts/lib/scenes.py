"""Draws cluttered workbench pictures with labelled mechanical parts, from nothing but a seed.

Every shape is a signed distance function on a small patch of pixels: it gives the shape's coverage (so edges
are smooth without supersampling) and, with a relief, its surface normals, which one light then shades. Parts,
decoys (things that look like parts and are not) and strokes all reach the picture through one function,
`_Canvas.stamp`, which also keeps the map of which object owns a pixel: boxes are read off that map, so they
are those of what can be seen.
"""

from dataclasses import dataclass

import cv2
import numpy as np

CLASSES = ("bolt", "nut", "washer", "gear")

MAX_OBJECTS = 12
MIN_SIZE, MAX_SIZE = 20, 220  # longest side of an object, pixels of a 640x480 picture
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


@dataclass(frozen=True)
class Scene:
    """One drawn picture and what is in it.

    image: uint8 [height, width, 3], BGR.
    owner: int16 [height, width]; k + 1 where object k is what one sees, 0 elsewhere.
    classes: class of each object, an index into CLASSES.
    boxes: float64 [objects, 4]; x1, y1, x2, y2 in pixels around the visible part, x2 and y2 exclusive.
    """

    image: np.ndarray
    owner: np.ndarray
    classes: tuple[int, ...]
    boxes: np.ndarray

    def label_lines(self):
        """The scene's Ultralytics label: `class cx cy w h` an object, as fractions of the picture."""
        height, width = self.owner.shape
        lines = []
        for kind, (x1, y1, x2, y2) in zip(self.classes, self.boxes, strict=True):
            centre_x, centre_y = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            part_width, part_height = (x2 - x1) / width, (y2 - y1) / height
            lines.append(f"{kind} {centre_x:.6f} {centre_y:.6f} {part_width:.6f} {part_height:.6f}")
        return lines


def draw_scene(seed, index, width=640, height=480):
    """Draw picture `index` of the series `seed`; it depends on nothing but the arguments.

    seed, index: integers >= 0. width, height: pixels, at least 64.
    Returns a Scene. Raises ValueError where an argument is out of range.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    if width < 64 or height < 64:
        raise ValueError(f"a picture must be at least 64x64 pixels, got {width}x{height}")
    rng = np.random.default_rng([seed, index])
    canvas = _Canvas(_background(rng, width, height), rng)
    _draw_marks(canvas, rng)
    _draw_strokes(canvas, rng, rng.integers(0, 4))
    kinds = _draw_objects(canvas, rng)
    _draw_strokes(canvas, rng, rng.integers(0, 3))
    classes, boxes, owner = _visible_objects(canvas, kinds)
    return Scene(_photograph(canvas.pixels, rng), owner, classes, boxes)


def encode_jpeg(scene, seed, index):
    """The scene's picture as JPEG bytes, at a quality (60..95) drawn from seed and index."""
    quality = int(np.random.default_rng([seed, index, 1]).integers(60, 96))
    return cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


# ------------------------------------------------------------------------------------------------------------
# Noise and colour


def _noise(rng, height, width, cells_y, cells_x, octaves=3):
    """Fractal value noise, float32 [height, width], roughly of zero mean and unit deviation."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = max(2, int(cells_y * 2**octave)), max(2, int(cells_x * 2**octave))
        grid = rng.random(cells, np.float32) - 0.5
        total += cv2.resize(grid * np.float32(4 * 0.6**octave), (width, height), interpolation=cv2.INTER_LINEAR)
    return total


def _mix(first, second, amount):
    """Colours between two BGR colours; amount is [...] in 0..1, the result [..., 3]."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * np.clip(amount, 0, 1).astype(np.float32)[..., None]


def _random_colour(rng, low=0.1, high=0.9):
    """A BGR colour, float32 [3], halfway to its own grey: benches are not neon."""
    colour = rng.uniform(low, high, 3).astype(np.float32)
    return colour + (colour.mean() - colour) * np.float32(rng.uniform(0.1, 0.8))


# ------------------------------------------------------------------------------------------------------------
# Backgrounds: functions of (rng, side) that give float32 [side, side, 3], BGR in 0..1


def _wood(rng, side):
    grain = _noise(rng, side, side, 40, 2, 3)
    rings = np.sin(_noise(rng, side, side, 6, 1.5, 2) * rng.uniform(3, 9) + grain * 0.6)
    dark = np.array((0.16, 0.30, 0.45), np.float32) * rng.uniform(0.6, 1.3)
    pixels = _mix(dark, dark * 1.5 + 0.05, 0.5 + 0.22 * rings + 0.16 * grain)
    plank = int(rng.integers(90, 260))
    for y in range(int(rng.integers(0, plank)), side, plank):
        pixels[y : y + 2] *= 0.45
        pixels[y : y + plank] *= rng.uniform(0.85, 1.12)
    return pixels


def _brushed_metal(rng, side):
    shade = 0.5 + 0.05 * _noise(rng, side, side, 3, 3, 2) + 0.05 * _noise(rng, side, side, side // 2, 3, 1)
    return _mix((0.1, 0.1, 0.1), _random_colour(rng, 0.75, 0.95), shade + rng.uniform(-0.2, 0.25))


def _cloth(rng, side):
    wave = np.sin(np.arange(side, dtype=np.float32) * (2 * np.pi / rng.uniform(3, 7)))
    weave = wave[:, None] * wave
    folds = _noise(rng, side, side, 3, 3, 2)
    colour = _random_colour(rng, 0.1, 0.7)
    return _mix(colour * 0.4, colour * 1.4, 0.5 + 0.15 * weave + 0.16 * folds)


def _cutting_mat(rng, side):
    colour = np.array([(0.32, 0.38, 0.12), (0.45, 0.25, 0.12), (0.25, 0.25, 0.25)][rng.integers(3)], np.float32)
    pixels = _mix(colour * 0.8, colour * 1.2, 0.5 + 0.25 * _noise(rng, side, side, 12, 12, 4))
    pitch, line = int(rng.integers(24, 70)), _mix(colour, (0.8, 0.9, 0.85), np.float32(rng.uniform(0.3, 0.8)))
    for step, weight in ((pitch, 1), (max(6, pitch // 5), 0.25)):
        pixels[::step] += (line - pixels[::step]) * weight
        pixels[:, ::step] += (line - pixels[:, ::step]) * weight
    return pixels


def _concrete(rng, side):
    shade = 0.5 + 0.12 * _noise(rng, side, side, 4, 4, 6)
    pixels = _mix((0.08, 0.09, 0.1), _random_colour(rng, 0.7, 0.95), shade)
    speckle = rng.random((side, side), np.float32)
    pixels[speckle > 0.985] *= 0.55
    pixels[speckle < 0.01] *= 1.3
    return pixels


def _cardboard(rng, side):
    y = np.arange(side, dtype=np.float32)[:, None]
    flutes = np.sin(y * (2 * np.pi / rng.uniform(6, 16)))
    shade = 0.55 + 0.07 * flutes + 0.1 * _noise(rng, side, side, 5, 20, 4)
    return _mix((0.2, 0.32, 0.42), (0.5, 0.68, 0.8), shade)


def _perforated(rng, side):
    """A sheet with punched holes: round dark spots, everywhere, that no detector may take for parts."""
    pitch = rng.uniform(18, 50)
    offset = np.mod(np.arange(side, dtype=np.float32), pitch) - pitch / 2
    edge = np.sqrt(offset[:, None] ** 2 + offset**2) - pitch * rng.uniform(0.15, 0.3)
    rim = np.clip(2 - np.abs(edge), 0, 1) * np.sign(offset)[:, None]
    sheet = 0.5 + 0.1 * _noise(rng, side, side, 4, 4, 4) + 0.25 * rim
    pixels = _mix((0.1, 0.1, 0.1), _random_colour(rng, 0.5, 0.95), sheet)
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
BACKGROUND_DETAIL = 0.75  # texture pixels a picture pixel: a bench a little out of focus, and faster to draw


def _background(rng, width, height):
    """A bench top, float32 [height, width, 3]: one texture, turned by any angle."""
    side = int(np.ceil(np.hypot(width, height) * BACKGROUND_DETAIL))
    pixels = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, side)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), 1 / BACKGROUND_DETAIL)
    turn[:, 2] -= ((side - width) / 2, (side - height) / 2)
    pixels = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.clip(pixels, 0.02, 1).astype(np.float32, copy=False)


# ------------------------------------------------------------------------------------------------------------
# Shapes: functions of (rng, u, v) that give (distance, relief), float32 of u's shape. Coordinates and both
# results are in units of half the shape's longest side; distance is negative inside, relief is the surface's
# height.


def _bevel(distance, width):
    return np.clip(-distance, 0, width)


def _hexagon_distance(u, v, apothem):
    u, v = np.abs(u), np.abs(v)
    return np.maximum(v, u * 0.8660254 + v * 0.5) - apothem


def _bolt(rng, u, v):
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
    return np.minimum(head, shank), np.where(head < shank, top, barrel)


def _nut(rng, u, v):
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
    return np.maximum(body, hole), relief


def _washer(rng, u, v):
    """A flat washer, or a split one."""
    radius = np.hypot(u, v)
    distance = np.maximum(radius - 1, rng.uniform(0.36, 0.68) - radius)
    if rng.random() < 0.15:
        distance = np.maximum(distance, np.where(u > 0, rng.uniform(0.04, 0.09) - np.abs(v + 0.3 * (u - 0.8)), -1))
    return distance, _bevel(distance, rng.uniform(0.03, 0.1)) + 0.004 * np.sin(radius * rng.uniform(50, 110))


def _gear(rng, u, v):
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
    return distance, relief


def _dowel(rng, u, v):
    """A plain pin: a bolt's barrel without its head and its thread."""
    half = rng.uniform(0.08, 0.2)
    distance = np.maximum(np.abs(v) - half, np.abs(u) - 1)
    return distance, half * np.sqrt(np.clip(1 - (v / half) ** 2, 0.02, 1)) + _bevel(distance, 0.04)


def _disc(rng, u, v):
    """A coin or a cap: a washer without its hole."""
    radius = np.hypot(u, v)
    return radius - 1, _bevel(radius - 1, 0.08) - 0.06 * (radius < rng.uniform(0.5, 0.85))


def _o_ring(rng, u, v):
    """A ring too thin to be a washer."""
    inner = rng.uniform(0.84, 0.92)
    distance = np.abs(np.hypot(u, v) - (1 + inner) / 2) - (1 - inner) / 2
    return distance, np.sqrt(np.clip(-distance * (1 - inner), 0, None))


def _hexagon_plate(rng, u, v):
    """A nut without its hole."""
    distance = _hexagon_distance(u, v, 0.8660254)
    return distance, _bevel(distance, rng.uniform(0.05, 0.2))


def _cross_plate(rng, u, v):
    """A bracket with four arms, less round than any gear."""
    half = rng.uniform(0.25, 0.4)
    u, v = np.abs(u), np.abs(v)
    distance = np.minimum(np.maximum(u - half, v - 0.9), np.maximum(v - half, u - 0.9))
    return np.maximum(distance, half * 0.5 - np.hypot(u, v)), _bevel(distance, 0.06)


PARTS = (_bolt, _nut, _washer, _gear)  # in the order of CLASSES
DECOYS = (_dowel, _disc, _o_ring, _hexagon_plate, _cross_plate)
LYING = (_bolt, _dowel)  # seen from the side, so not squashed and extruded like a plate


# ------------------------------------------------------------------------------------------------------------
# The picture in the making


class _Canvas:
    """The picture in the making, and what is known of it.

    pixels: float32 [height, width, 3], BGR in 0..1. owner: int16 [height, width], the number of the object
    that one sees there. area: an object's number to its whole area, hidden parts included, in pixels.
    scale: of sizes, 1 for 640x480. light: unit vector [3] towards the light. texture: wear, for all objects.
    """

    def __init__(self, pixels, rng):
        self.pixels = pixels
        self.owner = np.zeros(pixels.shape[:2], np.int16)
        self.area = {}
        self.scale = min(pixels.shape[1] / 640, pixels.shape[0] / 480)
        azimuth, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
        self.light = np.array((np.cos(azimuth) * slope, np.sin(azimuth) * slope, 1.0), np.float32)
        self.light /= np.linalg.norm(self.light)
        self.shadow = rng.uniform(0.35, 0.75)
        side = int(1.5 * MAX_SIZE * max(1.0, self.scale))  # more than any object's patch
        self.texture = _noise(rng, side, side, 8, 8, 5)

    def stamp(self, coverage, colour, x, y, owner=0, lift=2.0):
        """Lay something on the picture, with its shadow.

        coverage: float32 [h, w] in 0..1. colour: [h, w, 3] or [3]. x, y: the patch's left upper corner, which
        may lie outside. owner: the object's number from 1 on, 0 for what is no object. lift: height above the
        bench, pixels; 0 for ink.
        """
        if owner:
            self.area[owner] = int((coverage > 0.5).sum())
        if lift > 0:
            self._darken(coverage, x, y, lift)
        here, there = self._overlap(coverage.shape, x, y)
        if here is None:
            return
        alpha = coverage[there][..., None]
        if np.ndim(colour) == 3:
            colour = colour[there]
        self.pixels[here] += (colour - self.pixels[here]) * alpha
        self.owner[here][alpha[..., 0] > 0.5] = owner

    def _darken(self, coverage, x, y, lift):
        reach = int(np.ceil(lift * 2)) + 2
        wide = cv2.copyMakeBorder(coverage, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
        soft = cv2.GaussianBlur(wide, (0, 0), 0.6 + lift * 0.35)
        offset = -self.light[:2] * lift * 1.6
        left, top = x - reach + round(float(offset[0])), y - reach + round(float(offset[1]))
        here, there = self._overlap(soft.shape, left, top)
        if here is not None:
            self.pixels[here] *= 1 - self.shadow * soft[there][..., None]

    def _overlap(self, shape, x, y):
        """Slices into the picture and into a patch of `shape` at x, y; (None, None) if they do not meet."""
        height, width = self.owner.shape
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + shape[1], width), min(y + shape[0], height)
        if left >= right or top >= bottom:
            return None, None
        here = slice(top, bottom), slice(left, right)
        return here, (slice(top - y, bottom - y), slice(left - x, right - x))


def _draw_shape(canvas, rng, shape, centre, size, owner=0):
    """Draw a part or a decoy of `size` pixels (its longest side) around `centre` (x, y)."""
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
    distance, relief = shape(rng, u.astype(np.float32), v.astype(np.float32))
    coverage = np.clip(0.5 - distance * half * np.sqrt(squash), 0, 1).astype(np.float32)
    colour = _shade(canvas, rng, relief.astype(np.float32) * half, shape is _o_ring)
    if thickness >= 1:
        drop = np.array((-np.sin(tilt), np.cos(tilt))) * thickness
        coverage, colour = _extrude(canvas, coverage, distance.astype(np.float32), colour, drop)
    canvas.stamp(coverage, colour, left, top, owner, lift=1 + half * rng.uniform(0.04, 0.16))


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
        base = _random_colour(rng, 0.08, 0.85)
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
    """Give a flat shape side walls: copies of it, shifted along `drop` (x, y pixels) step by step, under it.

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


def _draw_objects(canvas, rng):
    """Draw parts and decoys, one upon the other; returns the parts' classes, in order."""
    height, width = canvas.owner.shape
    count = 0 if rng.random() < 0.04 else int(min(MAX_OBJECTS, 1 + rng.gamma(2.0, 1.8)))
    is_part = rng.permutation(np.arange(count + rng.integers(0, 5)) < count)
    zoom = np.exp(rng.uniform(np.log(48), np.log(160)))  # one camera distance a picture, so sizes go together
    kinds, previous = [], None
    for part in is_part:
        size = np.clip(zoom * np.exp(rng.uniform(np.log(0.6), np.log(1.6))), MIN_SIZE, MAX_SIZE) * canvas.scale
        centre = rng.uniform((0, 0), (width, height))
        if previous is not None and rng.random() < 0.3:  # a heap: beside the last one, often under or over it
            angle = rng.uniform(0, 2 * np.pi)
            reach = (previous[1] + size) * rng.uniform(0.25, 0.5)
            centre = previous[0] + np.array((np.cos(angle), np.sin(angle))) * reach
        if part:
            kinds.append(int(rng.integers(len(PARTS))))
            _draw_shape(canvas, rng, PARTS[kinds[-1]], centre, size, owner=len(kinds))
        else:
            _draw_shape(canvas, rng, DECOYS[rng.integers(len(DECOYS))], centre, size)
        previous = centre, size
    return kinds


def _visible_objects(canvas, kinds):
    """Classes and boxes of the objects that one can see, and the owner map renumbered to them."""
    classes, boxes, owner = [], [], np.zeros_like(canvas.owner)
    for number, kind in enumerate(kinds, start=1):
        mask = canvas.owner == number
        visible = int(mask.sum())
        if visible == 0 or visible < MIN_VISIBLE_FRACTION * canvas.area[number]:
            continue
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        if max(w, h) < MIN_VISIBLE_SIDE:
            continue
        classes.append(kind)
        boxes.append((x, y, x + w, y + h))
        owner[mask] = len(classes)
    return tuple(classes), np.array(boxes, np.float64).reshape(-1, 4), owner


# ------------------------------------------------------------------------------------------------------------
# Clutter that is drawn with strokes


def _stamp_mask(canvas, mask, colour, lift):
    """Stamp a uint8 mask [height, width] of the picture's size, cut to what is drawn in it.

    colour: BGR [3] in 0..1, or uint8 [height, width, 3].
    """
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0:
        return
    if colour.ndim == 3:
        colour = colour[y : y + h, x : x + w].astype(np.float32) / 255
    canvas.stamp(mask[y : y + h, x : x + w].astype(np.float32) / 255, colour, x, y, lift=lift)


def _draw_marks(canvas, rng):
    """Ink and scraps on the bench: circles, dashed rings, hexagons, text, paper, scratches; no parts."""
    height, width = canvas.owner.shape
    for _ in range(rng.integers(0, 8)):
        mask = np.zeros((height, width), np.uint8)
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        radius = int(np.exp(rng.uniform(1.6, 4.6)))
        line = int(rng.integers(1, 3))
        colour, lift = _random_colour(rng, 0.02, 0.98), 0.0
        mark = rng.integers(6)
        if mark == 0:
            cv2.circle(mask, (x, y), radius, 255, line, cv2.LINE_AA)
        elif mark == 1:
            for start in range(0, 360, 30):
                cv2.ellipse(mask, (x, y), (radius, radius), 0, start, start + 17, 255, line + 1, cv2.LINE_AA)
        elif mark == 2:
            cv2.polylines(mask, [_polygon(rng, x, y, radius, 6, 0)], True, 255, line, cv2.LINE_AA)
        elif mark == 3:
            text = "".join(rng.choice(list("ABCDEFHKMNPRSTXZ0123456789-."), rng.integers(2, 9)))
            size = rng.uniform(0.4, 1.6)
            cv2.putText(mask, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, 255, line, cv2.LINE_AA)
        elif mark == 4:
            cv2.fillPoly(mask, [_polygon(rng, x, y, radius * 1.5, rng.integers(3, 7), 0.4)], 255, cv2.LINE_AA)
            lift = 1.5
        else:
            end = (x + int(rng.normal(0, 120)), y + int(rng.normal(0, 120)))
            cv2.line(mask, (x, y), end, int(rng.integers(60, 200)), line, cv2.LINE_AA)
        _stamp_mask(canvas, mask, colour, lift)


def _polygon(rng, x, y, radius, corners, jitter):
    """Corners, int32 [corners, 1, 2], of a polygon around x, y; its radius varies by the share `jitter`."""
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * (2 * np.pi / corners)
    radii = radius * (1 - jitter * rng.random(corners))
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
    return points.round().astype(np.int32)[:, None]


def _draw_strokes(canvas, rng, count):
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
        colour = _random_colour(rng, 0.05, 0.8)
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


# ------------------------------------------------------------------------------------------------------------
# The camera


def _shake(pixels, rng):
    """Blur as a camera does that moves sideways or up."""
    sideways = rng.random() < 0.5
    length = int(rng.integers(2, 6))
    return cv2.blur(pixels, (length, 1) if sideways else (1, length))


def _photograph(pixels, rng):
    """Light the bench unevenly, then take its picture: exposure, tint, lens blur, noise; uint8 [h, w, 3]."""
    height, width = pixels.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.4) * (x * np.cos(angle) + y * np.sin(angle))
    light = 1 + slope - rng.uniform(0, 0.25) * (x * x + y * y)
    if rng.random() < 0.35:  # something outside the picture stands in the light
        shade = np.zeros((height // 4, width // 4), np.float32)
        corner_x, corner_y = int(rng.integers(0, width // 4)), int(rng.integers(0, height // 4))
        cv2.fillPoly(shade, [_polygon(rng, corner_x, corner_y, width // 6, 5, 0.5)], 1.0)
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
