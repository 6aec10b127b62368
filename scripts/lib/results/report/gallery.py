"""The report's images with their right and wrong detections, and which classes are confused."""

import base64
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from lib.data.images import read_image
from lib.results.detection_errors import DetectionErrors, Drawing, DrawnImage, Tag
from lib.results.report.page import Card, Confusions, Image, ListedImage, Overlay, PlacedTag
from lib.step.files import require

LONGEST_SIDE = 640  # pixels of an image in the page
JPEG_QUALITY = 78
MOST_BYTES = 1_500_000  # of all images in the page, as text in base64
TAG_HEIGHT = "1.4em"  # as in page.css
MOST_LISTED = 1000  # images in the list
MOST_CLASSES = 12  # in the matrix, besides "other classes" and the background
BACKGROUND = "background"


def cards(errors: DetectionErrors, images: Path) -> list[Card]:
    """The images that are drawn, worst first, from the folder `images`; as many as the page has room for."""
    shown, spent = [], 0
    for number, drawn in enumerate(errors.drawn, start=1):
        image = _small(images / drawn.image)
        spent += len(image.address)
        if spent > MOST_BYTES:
            break
        of_image = errors.of(drawn.image)
        overlays = {"int8": _overlay(drawn, drawn.int8), "fp32": _overlay(drawn, drawn.fp32)}
        shown.append(
            Card(f"image-{number}", of_image, drawn.width, drawn.height, image, overlays, file_of(drawn.image))
        )
    return shown


def listed(errors: DetectionErrors, shown: list[Card]) -> list[ListedImage]:
    """Images, worst first, each with a link to its card or, where it has none, to its file."""
    anchors = {card.errors.image: f"#{card.anchor}" for card in shown}
    return [
        ListedImage(of_image, anchors.get(of_image.image, file_of(of_image.image)))
        for of_image in errors.images[:MOST_LISTED]
    ]


def file_of(image: str) -> str:
    """The address of an image's file, from the folder of the run."""
    return f"dataset/images/{quote(image)}"


def confusions(errors: DetectionErrors) -> Confusions | None:
    """Which class is taken for which, for the classes with most errors; all others count as one class."""
    if not errors.names:
        return None
    counts = np.array(errors.confusion)
    classes = len(errors.names)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    # A single class is not left out: the row of the other classes would take as much room.
    kept = np.arange(classes)
    if classes > MOST_CLASSES + 1:
        kept = np.sort(np.argsort(-wrong[:classes], kind="stable")[:MOST_CLASSES])
    left_out = np.setdiff1d(np.arange(classes), kept)
    groups = [*([c] for c in kept), *([left_out] if len(left_out) else []), [classes]]
    names = [errors.names[c] for c in kept]
    names += [f"{len(left_out)} other classes"] if len(left_out) else []
    rows = [[int(counts[np.ix_(row, column)].sum()) for column in groups] for row in groups]
    return Confusions([*names, BACKGROUND], rows)


def _small(path: Path) -> Image:
    image = read_image(require(path, "image"))
    height, width = image.shape[:2]
    scale = min(1, LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Image(f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}", *size)


def _overlay(drawn: DrawnImage, drawing: Drawing) -> Overlay:
    tags = [PlacedTag(tag.kind, tag.text, _placed(tag, drawn)) for tag in drawing.tags]
    return Overlay(drawing.lines, drawing.dots or {}, tags)


def _placed(tag: Tag, drawn: DrawnImage) -> str:
    """The position of a text in an image, as CSS: above its point, but always within the image, however small it is."""
    x, y = tag.x / drawn.width, tag.y / drawn.height
    # Near the right edge the text ends at its point. Elsewhere its width is that of so many digits (`ch`), about.
    left = f"left:max(0px,min({100 * x:.1f}%,calc(100% - {len(tag.text)}ch)))"
    side = left if x < 0.75 else f"right:{100 * (1 - x):.1f}%"
    return f"{side};bottom:min({100 * (1 - y):.1f}%,calc(100% - {TAG_HEIGHT}))"
