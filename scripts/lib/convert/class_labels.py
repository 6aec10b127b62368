"""The labels that a converted classifier is measured against: a folder of images for each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from lib.convert.comparison import ImageComparison
from lib.data.formats import class_folders
from lib.data.formats.source import Hints, first_few
from lib.data.image_paths import image_paths
from lib.step.console import say
from lib.step.errors import UserError

TRAIN, EVALUATED = "train", ("val", "test")  # parts: calibration images are drawn from the first


def are_classes(labels: Path) -> bool:
    """Whether a folder holds folders of images, and no label file beside one of them: a folder for each class."""
    images = image_paths(labels) if labels.is_dir() else []
    in_folders = any(image.parent != labels for image in images)
    return in_folders and not any(image.with_suffix(".txt").exists() for image in images)


def calibration_folder(labels: Path) -> Path:
    """Where to draw calibration images from if the user names no other folder: the part train, or all classes."""
    root = class_folders.find(labels, Hints())
    images = [item.image for item in class_folders.read(root, Hints()).items if item.part == TRAIN]
    return root / images[0].relative_to(root).parts[0] if images else root


@dataclass(frozen=True)
class ClassLabels:
    """The classes of images. names: of all classes, by their numbers. kinds: the class of each image to evaluate on."""

    folder: Path
    names: list[str]
    kinds: dict[Path, int]

    @property
    def images(self) -> list[Path]:
        """The images to evaluate on: those of the part val, or test, or all."""
        return list(self.kinds)

    def demand(self, model: onnx.ModelProto, name: Path) -> None:
        """Raise UserError unless the model, of the file `name`, has one output with a value for each class."""
        shapes = [
            [side.dim_value for side in output.type.tensor_type.shape.dim if side.dim_value != 1]
            for output in model.graph.output
        ]
        if shapes != [[len(self.names)]]:
            given = ", ".join(" x ".join(map(str, shape)) or "1" for shape in shapes)
            raise UserError(
                f"{self.folder} has {len(self.names)} classes, but the outputs of {name} have {given} values; a "
                "classifier needs one output with a value for each class"
            )

    def of(self, comparisons: list[ImageComparison]) -> np.ndarray:
        """The class of each image, int [images]."""
        return np.array([self.kinds[image.path] for image in comparisons])


def read_class_labels(labels: Path, theirs: list[str], model: Path) -> ClassLabels:
    """The classes in a folder of images for each class, for the classifier in the file `model`.

    theirs: the class names in the model, empty if it has none. If they hold all names of folders, they give the
    numbers; else the folders are numbered in alphabetical order, which is printed if the model has other names.
    Raises UserError if only some of the folders have names of the model, and as class_folders.read does.
    """
    root = class_folders.find(labels, Hints())
    source = class_folders.read(root, Hints())
    ours = list(source.names)
    strange = [name for name in ours if name not in theirs]
    if theirs and 0 < len(strange) < len(ours):
        raise UserError(
            f"{labels} has the classes {first_few(strange)}, which {model} lacks; it has {first_few(theirs, 20)}; name "
            "the folders as the model names its classes"
        )
    if theirs and strange:
        say(
            f"warning: {model} calls its classes {first_few(theirs)}, the folders are called {first_few(ours)}; they "
            "are numbered in alphabetical order"
        )
    names = theirs if theirs and not strange else ours
    items = (source if names == ours else class_folders.read(root, Hints(names=tuple(names)))).items
    part = next((part for part in EVALUATED if any(item.part == part for item in items)), None)
    return ClassLabels(labels, names, {item.image: item.label.kind for item in items if part in (None, item.part)})
