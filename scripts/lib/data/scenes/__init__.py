"""Draws cluttered workbench images with labelled mechanical parts, from nothing but a seed.

Every shape is a signed distance function on a small patch of pixels: it gives the shape's coverage (so edges
are smooth without supersampling) and, with a relief, its surface normals, which one light then shades. Parts,
decoys (things that look like parts and are not) and strokes all reach the image through one function,
`Canvas.stamp`, which also keeps the map of which object owns a pixel: boxes are read off that map, so they
are those of what can be seen.

texture, backgrounds, clutter, shapes and objects say what is drawn, canvas where it lies, camera how it is seen.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.scenes.backgrounds import background
from lib.data.scenes.camera import photograph
from lib.data.scenes.canvas import Canvas
from lib.data.scenes.clutter import draw_marks, draw_strokes
from lib.data.scenes.objects import draw_objects, visible_objects

CLASSES = ("bolt", "nut", "washer", "gear")


@dataclass(frozen=True)
class Scene:
    """One drawn image and what is in it.

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
        """The scene's Ultralytics label: `class cx cy w h` an object, as fractions of the image."""
        height, width = self.owner.shape
        lines = []
        for kind, (x1, y1, x2, y2) in zip(self.classes, self.boxes, strict=True):
            centre_x, centre_y = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            part_width, part_height = (x2 - x1) / width, (y2 - y1) / height
            lines.append(f"{kind} {centre_x:.6f} {centre_y:.6f} {part_width:.6f} {part_height:.6f}")
        return lines


def draw_scene(seed, index, width=640, height=480):
    """Draw image `index` of the series `seed`; it depends on nothing but the arguments.

    seed, index: integers >= 0. width, height: pixels, at least 64.
    Returns a Scene. Raises ValueError where an argument is out of range.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    if width < 64 or height < 64:
        raise ValueError(f"an image must be at least 64x64 pixels, got {width}x{height}")
    rng = np.random.default_rng([seed, index])
    canvas = Canvas(background(rng, width, height), rng)
    draw_marks(canvas, rng)
    draw_strokes(canvas, rng, rng.integers(0, 4))
    kinds = draw_objects(canvas, rng)
    draw_strokes(canvas, rng, rng.integers(0, 3))
    classes, boxes, owner = visible_objects(canvas, kinds)
    return Scene(photograph(canvas.pixels, rng), owner, classes, boxes)


def encode_jpeg(scene, seed, index):
    """The scene's image as JPEG bytes, at a quality (60..95) drawn from seed and index."""
    quality = int(np.random.default_rng([seed, index, 1]).integers(60, 96))
    return cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
