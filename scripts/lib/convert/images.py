"""The images for calibrating a model, letterboxed as files, and those for comparing it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.data.image_paths import image_paths
from lib.data.images import read_image, write_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.data.split import shuffled
from lib.graph.surgery.proof import PROVEN, noise_image
from lib.step import console
from lib.step.errors import UserError
from lib.step.files import require, sha256


@dataclass(frozen=True)
class ImageChoice:
    """The images to calibrate on, and those to compare on."""

    calibration: tuple[Path, ...]  # already letterboxed
    compared: tuple[Path, ...]
    held_out: bool  # whether the images to compare on are not used for calibration
    drawn: tuple[Path, ...] = ()  # the files that those to calibrate on were made of


def draw_images(dataset: Path, size: ImageSize, form: InputForm, count: int, seed: int, folder: Path) -> ImageChoice:
    """Draw `count` images (0: all) from `dataset`, write them, fitted, as PNG files to `folder`; compare on the rest.

    If none is left, the drawn ones are also compared on. Raises UserError when the folder is missing or has no image.
    """
    paths = image_paths(require(dataset, "folder of images"))
    if not paths:
        raise UserError(f"{dataset} contains no image (jpg, jpeg, png, webp) to calibrate on")
    if count > len(paths):
        console.say(f"warning: {dataset} contains {len(paths)} images, not {count}; all of them are used")
    order = shuffled([str(path) for path in paths], seed)
    drawn, others = order[: count or len(order)], order[count or len(order) :]
    different = len({sha256(path) for path in drawn})
    if different < len(drawn):
        console.say(
            f"warning: only {different} of the {len(drawn)} images to calibrate on are different; the others are copies"
        )
    calibration = []
    for number, path in enumerate(tqdm(drawn, "letterbox", file=console.terminal(), disable=None, leave=False)):
        calibration.append(folder / f"{number:06}.png")
        write_image(calibration[-1], letterbox(read_image(path), size, form)[0])
    compared = tuple(map(Path, sorted(others or drawn)))
    return ImageChoice(tuple(calibration), compared, bool(others), tuple(map(Path, drawn)))


def compare_on(choice: ImageChoice, images: list[Path]) -> ImageChoice:
    """The choice with other images to compare on, without those that are drawn for calibration, unless all are."""
    drawn = {path.resolve() for path in choice.drawn}
    others = tuple(path for path in images if path.resolve() not in drawn)
    return replace(choice, compared=others or tuple(images), held_out=bool(others))


def first_images(dataset: Path | None, size: ImageSize, form: InputForm) -> list[np.ndarray]:
    """The first PROVEN images of a folder, fitted, for the proofs; empty without a folder."""
    paths = image_paths(dataset)[:PROVEN] if dataset and dataset.is_dir() else []
    return [letterbox(read_image(path), size, form)[0] for path in paths]


def noise_images(size: ImageSize, count: int, seed: int, folder: Path, depth: int = 3) -> tuple[Path, ...]:
    """`count` images of uniform noise of that size and number of channels, as PNG files in `folder`."""
    rng = np.random.default_rng(seed)
    paths = tuple(folder / f"noise{number:02}.png" for number in range(count))
    for path in paths:
        # Blue and red are swapped, which does not matter for noise, so that scales stay those of earlier versions.
        write_image(path, noise_image(size, rng, depth)[:, :, ::-1])
    return paths
