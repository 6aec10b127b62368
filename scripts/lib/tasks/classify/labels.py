"""Labels of whole images: a file with one line that holds the number of the class and nothing else."""

from pathlib import Path

import numpy as np

from lib.data.checked_labels import CheckedLabel
from lib.detector.instances import Instances
from lib.step.errors import UserError
from lib.step.files import read_text, require


def check_label(path: Path, classes: int) -> CheckedLabel:
    """What a label file holds: one class. Raises UserError, naming the file, for anything else."""
    class_in(path, classes)
    return CheckedLabel(1, 0, None)


def class_in(path: Path, classes: int) -> int:
    """The class (0..classes-1) of the image that a label file is for. Raises UserError, naming it, without one."""
    number = class_number(path)
    if number is None:
        raise UserError(
            f"label {path} is not the number of one class; for the task classify, give a folder of images per class: "
            "dataset: {class_folders: FOLDER}"
        )
    if number >= classes:
        raise UserError(f"label {path}: class {number} is not one of the {classes} classes, 0 to {classes - 1}")
    return number


def class_number(path: Path) -> int | None:
    """The only number in a label file; None where it holds anything else. Raises UserError when it is missing."""
    words = read_text(require(path, "label")).split()
    return int(words[0]) if len(words) == 1 and words[0].isdecimal() else None


def read_label(path: Path, size: tuple[int, int], classes: int) -> Instances:
    """The class as one instance that fills the image of `size` (width, height). Raises as `check_label`."""
    return whole_image(size, class_in(path, classes))


def whole_image(size: tuple[int, int], kind: int) -> Instances:
    """An instance of a class that fills the image of `size` (width, height)."""
    return Instances(np.array([[0, 0, *size]], np.float64), np.ones(1), np.array([kind]))
