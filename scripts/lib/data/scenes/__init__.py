"""Draws cluttered workbench images with labelled mechanical parts, from only a seed.

Every shape is a signed distance function on a small patch of pixels: it gives the shape's coverage (so edges
are smooth without supersampling) and, with a relief, its surface normals, which a single light shades. Parts,
decoys (things that look like parts but are not) and strokes are all drawn by one function, `Canvas.stamp`, which
also keeps a map of which object owns each pixel: boxes are read from that map, so they enclose what is visible.

Modules: texture, backgrounds, clutter, shapes and objects say what is drawn, canvas where, camera how it is
photographed, and labels how a part is labelled for a task.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.scenes.backgrounds import background
from lib.data.scenes.camera import photograph
from lib.data.scenes.canvas import Canvas
from lib.data.scenes.clutter import draw_marks, draw_strokes
from lib.data.scenes.labels import DEFAULT_TASK, TASKS
from lib.data.scenes.objects import draw_objects, seen_keypoints, visible_objects
from lib.data.scenes.shapes import KEYPOINTS

CLASSES = ("bolt", "nut", "washer", "gear")


@dataclass(frozen=True)
class Scene:
    """One drawn image and what is in it.

    image: uint8 [height, width, 3], BGR.
    owner: int16 [height, width]; k + 1 where object k is visible, 0 elsewhere.
    classes: class of each object, an index into CLASSES.
    boxes: float64 [objects, 4]; x1, y1, x2, y2 in pixels around the visible part, x2 and y2 exclusive.
    angles: of each object's long axis, radians from the image's x axis towards its y axis; 0 for a round object.
    keypoints: float64 [objects, len(KEYPOINTS), 3]; x and y in pixels and 2 (visible), 1 (hidden) or 0 (none: the part
        has no such point, or it lies outside the image; x and y are 0 then).
    """

    image: np.ndarray
    owner: np.ndarray
    classes: tuple[int, ...]
    boxes: np.ndarray
    angles: tuple[float, ...]
    keypoints: np.ndarray

    def label_lines(self, task=DEFAULT_TASK):
        """The scene's Ultralytics label for one of TASKS: one object per line, lengths as fractions of the image."""
        return [f"{kind} {TASKS[task](self, number)}" for number, kind in enumerate(self.classes)]


def describe(task):
    """The keys of a data.yaml besides the image folders: `names` and, for pose, `kpt_shape` and `flip_idx`."""
    description = {"names": dict(enumerate(CLASSES))}
    if task == "pose":
        # A mirrored part keeps the order of its points: the head stays the head.
        description |= {"kpt_shape": [len(KEYPOINTS), 3], "flip_idx": list(range(len(KEYPOINTS)))}
    return description


def draw_scene(seed, index, width=640, height=480):
    """Draw image `index` of the series `seed`; it depends only on the arguments.

    seed, index: integers >= 0. width, height: pixels, at least 64.
    Returns a Scene. Raises ValueError when an argument is out of range.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    if width < 64 or height < 64:
        raise ValueError(f"an image must be at least 64x64 pixels, got {width}x{height}")
    rng = np.random.default_rng([seed, index])
    canvas = Canvas(background(rng, width, height), rng)
    draw_marks(canvas, rng)
    draw_strokes(canvas, rng, rng.integers(0, 4))
    kinds, poses = draw_objects(canvas, rng)
    draw_strokes(canvas, rng, rng.integers(0, 3))
    numbers, boxes, owner = visible_objects(canvas)
    visible = [poses[number - 1] for number in numbers]
    keypoints = [seen_keypoints(canvas, pose) for pose in visible]
    return Scene(
        photograph(canvas.pixels, rng),
        owner,
        tuple(kinds[number - 1] for number in numbers),
        boxes,
        tuple(pose.angle for pose in visible),
        np.array(keypoints).reshape(-1, len(KEYPOINTS), 3),
    )


def encode_jpeg(scene, seed, index):
    """The scene's image as JPEG bytes, at a quality (60..95) drawn from seed and index."""
    quality = int(np.random.default_rng([seed, index, 1]).integers(60, 96))
    return cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
